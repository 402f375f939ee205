"""Means with intervals over sources: the only place where uncertainty is computed.

Pictures made from one source resemble each other, so a source is one independent observation.
Every interval is Student's t on one mean per source. Seeds, prompts and bases of a source are
averaged first; their spread is shown beside the interval and never stands in for it. Pictures that
sources share add an error of their own, see `shared`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis.codes import group_codes, group_means, group_spreads
from workbench.analysis.shared import joined_halves, shared_error

if TYPE_CHECKING:
    import pandas as pd

ONE_SOURCE = "one source only: no interval over sources; the spread is over seeds"
NO_DATA = "nothing was measured"
TOO_FEW = "too few sources to say"
"""What is said of an interval of adherence so wide that it tells nothing."""


def says_nothing(low: float, high: float) -> bool:
    """Whether an interval of adherence, or of its change, is too wide to be shown as a figure.

    It holds 0 and reaches from its middle farther than from chance to ceiling, each way.
    """
    return low <= 0 <= high and high - low > 2


def t_halves(spread: np.ndarray, n: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Half the width of the Student-t interval of the mean of independent values, group by group.

    Args:
        spread: standard deviations over sources, float (G,).
        n: how many sources, int (G,).

    Returns:
        float (G,); NaN with fewer than two sources.
    """
    from scipy.stats import t

    n = np.asarray(n)
    enough = np.where(n >= 2, n, 2)
    half = t.ppf(0.5 + level / 2, enough - 1) * np.asarray(spread, dtype=float) / np.sqrt(enough)
    return np.where(n >= 2, half, math.nan)


def summarise(
    frame: pd.DataFrame, column: str, by: Sequence[str], level: float = 0.95
) -> pd.DataFrame:
    """Mean of a column and its interval over sources, for every group.

    Args:
        frame: long frame with at least `source`, `seed`, `column` and the `by` columns.
        column: what to average, usually "adherence" or "value".
        by: columns that define a group.

    Returns:
        One row per group, sorted by `by`: the `by` columns, mean, low, high (NaN with fewer than
        two sources), spread (standard deviation over seeds within a source, averaged over
        sources), n_sources, n_samples, note (why there is no interval, or "").
    """
    data = frame.dropna(subset=[column])
    by = list(by)
    values = data[column].to_numpy(dtype=float)
    seed, seeds = group_codes(data, [*by, "source", "seed"])
    per_seed = group_means(values, seed, len(seeds))
    source, sources = group_codes(seeds, [*by, "source"])
    per_source = group_means(per_seed, source, len(sources))
    group, table = group_codes(sources, by)
    within = group_spreads(per_seed, source, len(sources))
    known = np.isfinite(within)
    n = np.bincount(group, minlength=len(table))
    half = t_halves(group_spreads(per_source, group, len(table)), n, level)
    half = joined_halves(half, n, shared_error(data, column, by, len(table)), level)
    mean = group_means(per_source, group, len(table))
    return table.assign(
        mean=mean,
        low=mean - half,
        high=mean + half,
        spread=group_means(within[known], group[known], len(table)),
        n_sources=n,
        n_samples=np.bincount(group[source[seed]], minlength=len(table)),
        note=np.where(np.isfinite(half), "", ONE_SOURCE).astype(object),
    )
