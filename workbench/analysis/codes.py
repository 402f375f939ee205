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
    """Mean of the values in each of `count` groups, NaN for an empty one; float (count,)."""
    total = np.bincount(group, weights=values, minlength=count)
    size = np.bincount(group, minlength=count)
    return np.divide(total, size, out=np.full(count, np.nan), where=size > 0)


def group_spreads(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """Standard deviation (n - 1) in each group, NaN with fewer than two values; float (count,)."""
    away = values - group_means(values, group, count)[group]
    size = np.bincount(group, minlength=count)
    squares = np.bincount(group, weights=away**2, minlength=count)
    return np.sqrt(np.divide(squares, size - 1, out=np.full(count, np.nan), where=size > 1))
