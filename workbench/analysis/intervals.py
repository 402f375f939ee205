"""Means with intervals over sources: the only place where uncertainty is computed.

Pictures made from one source resemble each other, so a source is one independent observation.
Every interval is Student's t on one mean per source, wider for few sources as `student` says.
Seeds, prompts and bases of a source are averaged first; their spread is shown beside the interval
and never stands in for it. Pictures that sources share add an error of their own, see `shared`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis.codes import group_codes, group_means, group_spreads
from workbench.analysis.shared import joined_halves, shared_error
from workbench.analysis.student import limit

if TYPE_CHECKING:
    import pandas as pd

ONE_SOURCE = "one source only: no interval over sources; the spread is over seeds"
NO_DATA = "nothing was measured"
TOO_FEW = "too few sources to say"
"""What is said of an interval of adherence so wide that it tells nothing."""
SAME = 1e-12
"""Sources whose readings spread no more than this agree to the last digit."""


def says_nothing(low: float, high: float) -> bool:
    """Whether an interval of adherence, or of its change, is too wide to be shown as a figure.

    It holds 0 and reaches from its middle farther than from chance to ceiling, each way.
    """
    return low <= 0 <= high and high - low > 2


def t_halves(
    spread: np.ndarray, n: np.ndarray, level: float = 0.95, unit: np.ndarray | float = 0.0
) -> np.ndarray:
    """Half the width of the interval of the mean of independent values, group by group.

    Args:
        spread: standard deviations over sources, float (G,).
        n: how many sources, int (G,).
        unit: how far apart two kinds of sources may lie, float (G,) or a number. Where sources
            agree to the last digit their spread tells nothing of a kind that is not among them.
            Its share may be as large as 1 - (1 - level)^(1/n), where none is seen in n (C. Clopper
            and E. Pearson, "The use of confidence or fiducial limits", Biometrika 26, 1934), and
            the interval reaches as many units. 0: it has no width.

    Returns:
        float (G,); NaN with fewer than two sources.
    """
    n = np.asarray(n)
    enough = np.maximum(n, 2)
    spread = np.asarray(spread, dtype=float)
    half = limit(enough, level) * spread / np.sqrt(enough)
    half = np.where(spread <= SAME, (1 - (1 - level) ** (1 / enough)) * unit, half)
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
    shared = shared_error(data, column, by, len(table))
    # From chance to ceiling is 1; sources that have one picture between them agree of necessity.
    unit = np.where((column == "adherence") & ~shared.shares, 1.0, 0.0)
    half = t_halves(group_spreads(per_source, group, len(table)), n, level, unit)
    half = joined_halves(half, n, shared, level)
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
