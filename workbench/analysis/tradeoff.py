"""Prompt against control: the trade-off points, the Pareto front and the sweet spot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis.frames import PROMPT_METRIC, pick, pick_primary, with_names
from workbench.analysis.intervals import ONE_SOURCE, summarise, t_halves
from workbench.analysis.shared import SharedError, joined_halves, shared_error

if TYPE_CHECKING:
    import pandas as pd

POINT = ["control", "length", "scale"]
TIE = 1e-9
"""Harmonic means no farther apart are equal."""
PAIRED_AT_ONCE = 2_000_000
"""So many pairs of readings are held in memory at once when points are compared."""


def front(
    a: np.ndarray, b: np.ndarray, luck: tuple[SharedError | None, SharedError | None] = (None, None)
) -> np.ndarray:
    """Which points no other point clearly beats: the Pareto front, as far as it can be told.

    One point beats another where it is clearly better in both adherences, or clearly better in one
    and alike in the other. Clearly better: the 95 % interval of the difference, paired over the
    sources that have both points, leaves out 0. Means are clipped to [0, 1] as for the sweet spot,
    with the error from leaving out one source at a time, so points above the ceiling are alike
    whichever source is left out. With one source the means alone decide.

    Args:
        a, b: control and prompt adherence, float (sources, points), NaN where unknown.
        luck: of each, the error by pictures that sources share, point by point (see `shared`).

    Returns:
        bool (points,); a point that no source knows in both is never on the front.
    """
    sources, points = a.shape
    beaten = np.zeros(points, bool)
    step = max(1, PAIRED_AT_ONCE // max(1, sources * points))
    for start in range(0, points, step):
        some = slice(start, start + step)
        (more_a, same_a), (more_b, same_b) = (
            _apart(v, e, some) for v, e in zip((a, b), luck, strict=True)
        )
        beaten |= ((more_a & (more_b | same_b)) | (same_a & more_b)).any(0)
    known = np.isfinite(a).any(0) & np.isfinite(b).any(0)
    return np.asarray(known & ~beaten)


def _apart(
    values: np.ndarray, luck: SharedError | None, some: slice
) -> tuple[np.ndarray, np.ndarray]:
    """Whether point i, one of some, is clearly better than j, and whether they are alike.

    Args:
        values: float (sources, points). luck: the error by shared pictures of every point.

    Returns:
        Both bool (some points, points).
    """
    known = np.isfinite(values)
    both = known[:, some, None] & known[:, None, :]
    n = both.sum(0)
    filled = np.where(known, values, 0.0)

    def clipped(mine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The means over sources, and those without each source, of shared sources."""
        mine = np.where(both, mine, 0.0)
        total = mine.sum(0)
        return (
            np.clip(total / np.maximum(n, 1), 0, 1),
            np.clip((total - mine) / np.maximum(n - 1, 1), 0, 1),
        )

    mean, without = (
        x - y
        for x, y in zip(clipped(filled[:, some, None]), clipped(filled[:, None, :]), strict=True)
    )
    away = np.where(both, without - without.sum(0, where=both) / np.maximum(n, 1), 0.0)
    spread = np.sqrt((away**2).sum(0) / np.maximum(n - 1, 1))
    half = np.where(n > 1, (n - 1) * t_halves(spread, n), 0.0)
    if luck is not None:
        joint = SharedError(
            np.add.outer(luck.variance[some], luck.variance).ravel(),
            np.maximum.outer(luck.freedom[some], luck.freedom).ravel(),
            np.logical_or.outer(luck.shares[some], luck.shares).ravel(),
        )
        half = joined_halves(half.ravel(), n.ravel(), joint).reshape(half.shape)
    same = (n > 0) & (np.abs(mean) <= TIE) & (half <= TIE)
    return (n > 0) & (mean > half + TIE), same


def harmonic_mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """2ab / (a + b) with both clipped to [0, 1]; 0 where either is 0; NaN where either is NaN.

    Clipping at 1 keeps a prompt that beats its ceiling from buying off a lost control.

    >>> harmonic_mean(np.array([0.5, 1.2]), np.array([0.5, 0.0])).tolist()
    [0.5, 0.0]
    """
    a = np.clip(np.asarray(a, dtype=float), 0, 1)
    b = np.clip(np.asarray(b, dtype=float), 0, 1)
    total = a + b
    return np.where(total == 0, 0.0, 2 * a * b / np.where(total == 0, 1.0, total))


def tradeoff(
    frame: pd.DataFrame,
    *,
    prompt_metric: str = PROMPT_METRIC,
    control_metrics: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The points of the trade-off plot, one per control type, prompt length and scale.

    Args:
        frame: long frame, see `frames`.
        prompt_metric: metric whose adherence is prompt adherence.
        control_metrics: control type -> metric, in place of the control's primary one.

    Returns:
        Columns control, length, label (what the length is called), scale; control_adherence,
        control_low, control_high, control_spread; prompt_adherence, prompt_low, prompt_high,
        prompt_spread; harmonic; pareto (bool, among all points of the control type, see `front`);
        n_sources, n_samples; note.
        Intervals are 95 %, over sources. The prompt columns are NaN at length 0.
    """
    names = {"mean": "adherence", "low": "low", "high": "high", "spread": "spread"}
    control = summarise(
        pick_primary(frame, control_metrics, settings=("length",)), "adherence", POINT
    ).rename(columns={k: f"control_{v}" for k, v in names.items()})
    prompt = (
        summarise(pick(frame, prompt_metric), "adherence", POINT)
        .rename(columns={k: f"prompt_{v}" for k, v in names.items()})
        .drop(columns=["n_sources", "n_samples", "note"])
    )
    points = control.merge(prompt, on=POINT, how="outer").sort_values(POINT, ignore_index=True)
    points["harmonic"] = harmonic_mean(
        points["control_adherence"].to_numpy(), points["prompt_adherence"].to_numpy()
    )
    points = with_names(points, frame)
    points["pareto"] = False
    parts = pick_primary(frame, control_metrics, settings=("length",)), pick(frame, prompt_metric)
    for name, group in points.groupby("control"):
        mine = [part[part["control"] == name].dropna(subset=["adherence"]) for part in parts]
        sources = sorted({str(source) for part in mine for source in part["source"]})
        a, b = (_point_table(part, group, sources) for part in mine)
        luck = _point_luck(mine[0], group), _point_luck(mine[1], group)
        points.loc[points["control"] == name, "pareto"] = front(a, b, luck)
    return points


def _point_table(rows: pd.DataFrame, points: pd.DataFrame, sources: list[str]) -> np.ndarray:
    """Adherence of every source at every point, float (sources, points)."""
    means = rows.groupby(["source", "length", "scale"])["adherence"].mean()
    table = means.unstack(["length", "scale"])
    return table.reindex(sources, columns=points.set_index(POINT[1:]).index).to_numpy(dtype=float)


def _point_luck(rows: pd.DataFrame, points: pd.DataFrame) -> SharedError:
    """The error of every point by pictures that sources share."""
    codes = rows.groupby(POINT[1:]).size().index
    found = shared_error(rows, "adherence", POINT[1:], len(codes))
    place = codes.get_indexer(points.set_index(POINT[1:]).index)
    return SharedError(
        *(np.where(place >= 0, part[place], 0) if len(codes) else np.zeros(len(place), part.dtype)
          for part in (found.variance, found.freedom, found.shares))
    )  # fmt: skip


def _per_source(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.pivot_table(index="source", columns="scale", values="adherence", aggfunc="mean")


def sweet_spot(
    frame: pd.DataFrame,
    *,
    prompt_metric: str = PROMPT_METRIC,
    control_metrics: Mapping[str, str] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """The scale with the largest harmonic mean of prompt and control adherence.

    The interval of the scale reaches over the scales that are not clearly worse than the best one:
    Student's t of the difference of harmonic means, with the error from leaving out one source at
    a time, so that prompt and control stay paired. That of the harmonic mean reaches from the
    harmonic mean of the lower ends of both adherences to that of the upper ends: it bends where a
    mean passes 0 or 1, and is looked at where it happens to be the largest, so that intervals from
    its own spread are too narrow.

    Scales that are equally good all belong to the interval. Where the best harmonic mean is 0 (one
    of the two is obeyed nowhere), or all scales are equal, there is no sweet spot and no row.

    Returns:
        One row per control type and length with both adherences known: control, length, label
        (what it is called), scale,
        scale_low, scale_high, harmonic, harmonic_low, harmonic_high, at_edge ("low" or "high" when
        the best scale is the smallest or largest tried, so the true optimum may lie beyond; else
        ""), prompt (its mean adherence there: from 1 on it is at its ceiling, where the harmonic
        mean sees no loss of it), n_sources, note.
    """
    import pandas as pd

    columns = [
        *("control", "length", "scale", "scale_low", "scale_high"),
        *("harmonic", "harmonic_low", "harmonic_high", "at_edge", "prompt"),
        *("n_sources", "note"),
    ]
    control_rows = pick_primary(frame, control_metrics)
    prompt_rows = pick(frame, prompt_metric)
    rows: list[dict[str, object]] = []
    for (name, length), group in control_rows.groupby(["control", "length"], sort=True):
        mask = (prompt_rows["control"] == name) & (prompt_rows["length"] == length)
        a, b = _per_source(group), _per_source(prompt_rows[mask])
        sources, scales = a.index.intersection(b.index), a.columns.intersection(b.columns)
        a, b = a.loc[sources, scales].dropna(), b.loc[sources, scales].dropna()
        sources = a.index.intersection(b.index)
        if len(sources) == 0 or len(scales) == 0:
            continue
        tables = a.loc[sources].to_numpy(), b.loc[sources].to_numpy()
        best = best_scale(*tables, scales.to_numpy(dtype=float), level)
        if best is not None:
            rows.append({"control": name, "length": length} | best)
    return with_names(pd.DataFrame(rows, columns=columns), frame)


def best_scale(
    a: np.ndarray, b: np.ndarray, scales: np.ndarray, level: float = 0.95
) -> dict[str, object] | None:
    """Best scale of two tables of adherence, (sources, scales) each, with its intervals.

    Args:
        a: control adherence. b: prompt adherence.

    Returns:
        The columns of `sweet_spot` from scale on; None if no scale is the best.
    """
    n = len(a)
    centre = harmonic_mean(a.mean(0), b.mean(0))
    k = int(np.argmax(centre))
    if centre[k] <= TIE or (len(scales) > 1 and np.ptp(centre) <= TIE):
        return None
    result: dict[str, object] = {
        "scale": float(scales[k]),
        "harmonic": float(centre[k]),
        "at_edge": "",
        "prompt": float(b[:, k].mean()),
        "n_sources": n,
        "scale_low": math.nan,
        "scale_high": math.nan,
        "harmonic_low": math.nan,
        "harmonic_high": math.nan,
        "note": ONE_SOURCE,
    }
    if len(scales) > 1:
        result["at_edge"] = "low" if k == 0 else "high" if k == len(scales) - 1 else ""
    if n < 2:
        return result
    without = harmonic_mean((a.sum(0) - a) / (n - 1), (b.sum(0) - b) / (n - 1))
    # The standard error of a jackknife is (n - 1) / sqrt(n) standard deviations of its values.
    worse = without[:, [k]] - without
    reach = (n - 1) * t_halves(worse.std(0, ddof=1), np.full(len(scales), n), level)
    possible = scales[centre[k] - centre <= reach + TIE]
    here = np.stack([a[:, k], b[:, k]])
    half = t_halves(here.std(1, ddof=1), np.full(2, n), level, 1.0)
    low, high = (harmonic_mean(*(here.mean(1) + side * half)) for side in (-1, 1))
    return result | {
        "scale_low": float(possible.min()),
        "scale_high": float(possible.max()),
        "harmonic_low": float(low),
        "harmonic_high": float(high),
        "note": "",
    }
