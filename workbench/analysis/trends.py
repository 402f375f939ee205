"""Does a figure rise or fall along the scale or the prompt length?

A chain is one source, seed, base and prompt followed along the axis, so every comparison is
paired. Chains give Spearman's rho, a least-squares slope and the change from the first to the
last point; these are averaged within a source, and the sources carry the interval and the test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis.frames import LENGTH_SETTINGS, pick
from workbench.analysis.intervals import NO_DATA, ONE_SOURCE, summarise, t_interval

if TYPE_CHECKING:
    import pandas as pd

RISES, FALLS, UNCLEAR, UNKNOWN = "rises", "falls", "no clear effect", "cannot tell"
MIN_WILCOXON = 5


def curve(
    frame: pd.DataFrame,
    metric: str,
    *,
    column: str = "adherence",
    by: Sequence[str] = ("control", "length", "scale"),
    settings: Sequence[str] | None = LENGTH_SETTINGS,
) -> pd.DataFrame:
    """A metric over the scale: mean, low, high, spread, n_sources, n_samples, note per group.

    Args:
        column: "adherence", or "value" for the raw metric (diversity has only a value).
        by: what defines a point; ("control", "scale") averages over prompt lengths.
    """
    return summarise(pick(frame, metric, settings=settings), column, list(by))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation with mid-ranks; 0 when y is constant, NaN below two points."""
    from scipy.stats import rankdata

    if len(x) < 2:
        return math.nan
    a, b = rankdata(x), rankdata(y)
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm > 0 else 0.0


def wilcoxon_p(values: np.ndarray) -> float:
    """Two-sided exact Wilcoxon signed-rank p against 0; NaN below five values.

    With five values the smallest p possible is 0.0625, with six 0.031.
    """
    from scipy.stats import wilcoxon

    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if len(values) < MIN_WILCOXON:
        return math.nan
    if not np.any(values):
        return 1.0
    return float(wilcoxon(values).pvalue)


def chain_statistics(rows: pd.DataFrame, column: str, axis: str) -> pd.DataFrame:
    """One row per source: rho, slope (per unit of the axis), first, last, change, n_chains."""
    other = "prompt" if axis == "scale" else "scale"
    import pandas as pd

    keys = ["source", "seed", "base", other]
    # Cells at one point of a chain (a prompt left out in several ways) count as their mean.
    points = rows.dropna(subset=[column]).groupby([*keys, axis])[column].mean().reset_index()
    found: list[dict[str, object]] = []
    for key, chain in points.groupby(keys):
        x = chain[axis].to_numpy(dtype=float)
        y = chain[column].to_numpy(dtype=float)
        if len(x) < 2:
            continue
        centred = x - x.mean()
        found.append(
            {
                "source": key[0],
                "rho": spearman(x, y),
                "slope": float(centred @ y) / float(centred @ centred),
                "first": float(y[0]),
                "last": float(y[-1]),
                "change": float(y[-1] - y[0]),
                "n_chains": 1,
            }
        )
    if not found:
        return pd.DataFrame(columns=["rho", "slope", "first", "last", "change", "n_chains"])
    sums = pd.DataFrame(found).groupby("source")
    result = sums[["rho", "slope", "first", "last", "change"]].mean()
    result["n_chains"] = sums["n_chains"].sum()
    return result


def describe(per_source: pd.DataFrame) -> dict[str, object]:
    """Interval, test and verdict for the per-source statistics of `chain_statistics`.

    The verdict is "rises" or "falls" only when the intervals of rho and of the change from first
    to last both exclude 0 on the same side.
    """
    n = len(per_source)
    result: dict[str, object] = {}
    for name in ("rho", "slope", "change"):
        interval = t_interval(per_source[name].to_numpy(dtype=float))
        result |= {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
    rho = t_interval(per_source["rho"].to_numpy(dtype=float))
    change = t_interval(per_source["change"].to_numpy(dtype=float))
    if not rho.known:
        direction = UNKNOWN
    elif rho.sign == change.sign and rho.sign != 0:
        direction = RISES if rho.sign > 0 else FALLS
    else:
        direction = UNCLEAR
    if n == 0:
        note = NO_DATA
    elif n == 1:
        note = ONE_SOURCE
    elif n < MIN_WILCOXON:
        note = f"a Wilcoxon test needs {MIN_WILCOXON} sources, there are {n}"
    elif n == MIN_WILCOXON:
        note = f"with {n} sources the smallest p that a Wilcoxon test can give is 0.0625"
    else:
        note = ""
    return result | {
        "first": float(per_source["first"].mean()) if n else math.nan,
        "last": float(per_source["last"].mean()) if n else math.nan,
        "p": wilcoxon_p(per_source["rho"].to_numpy(dtype=float)),
        "n_sources": n,
        "direction": direction,
        "note": note,
    }


def trend_of(
    rows: pd.DataFrame, *, column: str, axis: str = "scale", by: Sequence[str] = ("control",)
) -> pd.DataFrame:
    """`trend` for rows already picked; `by` may hold any column, "metric" included."""
    import pandas as pd

    columns = [
        *by,
        *("rho", "rho_low", "rho_high", "p", "slope", "slope_low", "slope_high"),
        *("first", "last", "change", "change_low", "change_high"),
        *("x_first", "x_last", "direction", "n_sources", "note"),
    ]
    if axis == "length":
        rows = rows[rows["scale"] > 0]
    rows = rows.dropna(subset=[column])
    found: list[dict[str, object]] = []
    for key, group in rows.groupby(list(by), sort=True):
        ends = {"x_first": float(group[axis].min()), "x_last": float(group[axis].max())}
        statistics = describe(chain_statistics(group, column, axis))
        found.append(dict(zip(by, key, strict=True)) | ends | statistics)
    return pd.DataFrame(found, columns=columns)


def trend(
    frame: pd.DataFrame,
    metric: str,
    *,
    column: str = "adherence",
    axis: str = "scale",
    by: Sequence[str] = ("control",),
    settings: Sequence[str] | None = LENGTH_SETTINGS,
) -> pd.DataFrame:
    """How a metric moves along the scale or along the prompt length.

    Args:
        metric: exact name.
        column: "adherence" or "value".
        axis: "scale", or "length" (only cells with scale > 0, paired by scale and seed).
        by: groups; add "length" to get one row per prompt length.

    Returns:
        One row per group: the `by` columns; rho with rho_low, rho_high (mean Spearman over
        sources, t interval); p (Wilcoxon over sources; NaN below five sources); slope with its
        interval (per unit of the axis); first and last (means at x_first and x_last); change with
        its interval; direction ("rises", "falls", "no clear effect", "cannot tell"); n_sources;
        note (why a test or an interval is missing).
    """
    return trend_of(pick(frame, metric, settings=settings), column=column, axis=axis, by=by)
