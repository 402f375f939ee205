"""Groups of rows as whole numbers: the fast way to average in several steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def group_codes(table: pd.DataFrame, keys: Sequence[str]) -> tuple[np.ndarray, pd.DataFrame]:
    """Number the groups of rows that agree in `keys`, in sorted order of the keys.

    Returns:
        the group of every row, int (rows,); and the keys of every group, one row each.
    """
    import pandas as pd

    number = np.zeros(len(table), dtype=np.int64)
    if table.empty:  # without a type of their own, so that they merge with any
        return number, pd.DataFrame({key: pd.Series(dtype=object) for key in keys})
    for key in keys:
        code, values = pd.factorize(table[key], sort=True)
        number = number * max(1, len(values)) + code
    _, first, group = np.unique(number, return_index=True, return_inverse=True)
    return group, table.iloc[first][list(keys)].reset_index(drop=True)


def group_means(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """Mean of the known values in each of `count` groups, NaN where there is none; (count,)."""
    known = np.isfinite(values)
    total = np.bincount(group[known], weights=values[known], minlength=count)
    size = np.bincount(group[known], minlength=count)
    return np.divide(total, size, out=np.full(count, np.nan), where=size > 0)


def group_spreads(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """Standard deviation (n - 1) of the known values in each group, NaN with fewer than two."""
    away = values - group_means(values, group, count)[group]
    known = np.isfinite(away)
    size = np.bincount(group[known], minlength=count)
    squares = np.bincount(group[known], weights=away[known] ** 2, minlength=count)
    return np.sqrt(np.divide(squares, size - 1, out=np.full(count, np.nan), where=size > 1))
