"""Means with intervals over sources: the only place where uncertainty is computed.

Pictures made from one source resemble each other, so a source is one independent observation.
Every interval is Student's t on one mean per source. Seeds, prompts and bases of a source are
averaged first; their spread is shown beside the interval and never stands in for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ONE_SOURCE = "one source only: no interval over sources; the spread is over seeds"
NO_DATA = "nothing was measured"


@dataclass(frozen=True)
class Interval:
    """A mean and its two-sided interval; `low` and `high` are NaN when n < 2."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def sign(self) -> int:
        """+1 or -1 when the whole interval lies on one side of 0, else 0."""
        if not self.known:
            return 0
        return int(self.low > 0) - int(self.high < 0)


def t_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Interval:
    """Student-t interval of the mean of independent values.

    Args:
        values: one number per source; NaN is left out.
        level: coverage, between 0 and 1.

    Returns:
        mean with low and high; without at least two values low and high are NaN.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: {level} is not between 0 and 1")
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array)]
    n = len(array)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(array.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    from scipy.stats import t

    half = float(t.ppf(0.5 + level / 2, n - 1)) * float(array.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


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
    import pandas as pd

    columns = [*by, "mean", "low", "high", "spread", "n_sources", "n_samples", "note"]
    data = frame.dropna(subset=[column])
    rows: list[dict[str, object]] = []
    for key, group in data.groupby(list(by), sort=True):
        per_seed = group.groupby(["source", "seed"])[column].mean()
        per_source = per_seed.groupby("source").mean()
        spread = per_seed.groupby("source").std(ddof=1).mean()
        interval = t_interval(per_source.to_numpy(), level)
        rows.append(
            dict(zip(by, key, strict=True))
            | {
                "mean": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "spread": float(spread),
                "n_sources": interval.n,
                "n_samples": len(group),
                "note": "" if interval.known else ONE_SOURCE,
            }
        )
    return pd.DataFrame(rows, columns=columns)
