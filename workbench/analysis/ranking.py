"""Which control type is obeyed most? Ranks by control adherence at each scale, per base model.

Adherence is comparable across control types. Types are compared in pairs, picture by picture: only
where both have a reading of the same source, seed and prompt. The p-values of all pairs of one base
model and scale are corrected together after Holm (S. Holm, "A simple sequentially rejective
multiple test procedure", Scand. J. Statist. 6, 1979). A rank is given with the ranks that the clear
pairs leave open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis.codes import group_means
from workbench.analysis.frames import pick_primary, records
from workbench.analysis.intervals import summarise, t_halves
from workbench.analysis.power import minimum_detectable

if TYPE_CHECKING:
    import pandas as pd

PLACE = ["base", "scale"]
UNIT = ("source", "seed", "setting", "label", "length", "prompt")
"""What two pictures have in common that are compared."""
RANKS = (
    *(*PLACE, "rank", "control", "mean", "low", "high", "rank_low", "rank_high", "better_than"),
    *("spread", "n_sources", "n_samples", "note"),
)
PAIRS = (
    *(*PLACE, "first", "second", "difference", "low", "high", "p", "p_holm", "better"),
    *("mde", "n_sources"),
)


def ranking(
    frame: pd.DataFrame,
    *,
    control_metrics: Mapping[str, str] | None = None,
    level: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Control types ranked by control adherence, and all their comparisons in pairs.

    Scale 0 is left out: there the control has no say. Prompt lengths and seeds of a source are
    averaged. Any text may stand for a control type.

    Args:
        frame: long frame, see `frames`.
        control_metrics: control type -> metric, in place of the control's primary one.
        level: of the intervals; pairs are clear where the corrected p is at most 1 - level.

    Returns:
        The ranks, one row per base, scale and control, the best first: base, scale, rank (1 =
        highest mean), control, mean, low, high (interval over sources), rank_low, rank_high (best
        and worst rank which the clear pairs leave open; the rank itself is always among them, as
        means may rest on sources that others lack), better_than (names of the types it
        clearly beats, comma-separated), spread, n_sources, n_samples, note.
        The pairs, one row per base, scale and pair: first, second (first has the higher mean),
        difference with low and high (paired by source, seed and prompt; not corrected), p (paired
        t-test over sources, NaN below two), p_holm, better (the name of the clearly better type,
        or ""), mde (see `power`; at the level that the first step of the correction asks for),
        n_sources (shared by both).
    """
    import pandas as pd

    # One base model at a time, so that it does not get into the labels of the control types.
    parts = [pick_primary(part, control_metrics) for _, part in frame.groupby("base", sort=True)]
    rows = pd.concat(parts) if parts else frame.iloc[:0]
    rows = rows[rows["scale"] > 0].dropna(subset=["adherence"])
    keys = [*PLACE, "control"]
    table = summarise(rows, "adherence", keys, level)
    order = table.sort_values([*PLACE, "mean"], ascending=[True, True, False], kind="stable")
    unit = [name for name in UNIT if name in rows]
    units = rows.groupby([*PLACE, *unit, "control"])["adherence"].mean().unstack("control")
    pairs: list[dict[str, object]] = []
    ranks: list[dict[str, object]] = []
    for key, group in order.groupby(PLACE, sort=True):
        place = dict(zip(PLACE, key, strict=True))
        names = [str(name) for name in group["control"]]
        mine = units.xs(key, level=PLACE)
        source, _ = pd.factorize(mine.index.get_level_values("source"))
        here = mine[names].to_numpy(dtype=float).T
        found = _pairs(here, source, names, level)
        pairs += [place | pair for pair in found]
        for rank, row in enumerate(records(group), start=1):
            told = [p for p in found if row["control"] in (p["first"], p["second"]) and p["better"]]
            beats = [_other(p, row["control"]) for p in told if p["better"] == row["control"]]
            lost = len(told) - len(beats)
            one_only = math.isnan(row["low"])
            ranks.append(
                row
                | {
                    "rank": rank,
                    "rank_low": min(rank, 1 + lost) if not one_only else math.nan,
                    "rank_high": max(rank, len(names) - len(beats)) if not one_only else math.nan,
                    "better_than": ", ".join(str(name) for name in beats),
                }
            )
    return pd.DataFrame(ranks, columns=list(RANKS)), pd.DataFrame(pairs, columns=list(PAIRS))


def holm(p: np.ndarray) -> np.ndarray:
    """p-values corrected together after Holm; NaN stays NaN and does not count.

    The k-th smallest of m is multiplied by m - k + 1; none becomes smaller than one before it.
    `multipletests` of statsmodels gives the same, but collects all garbage at every call.
    """
    p = np.asarray(p, dtype=float)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    raised = p[order] * np.arange(len(order), 0, -1)
    result = np.full(len(p), math.nan)
    result[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return result


def _other(pair: Mapping[str, object], control: object) -> str:
    return str(pair["second"] if pair["first"] == control else pair["first"])


def _pairs(
    values: np.ndarray, source: np.ndarray, names: list[str], level: float
) -> list[dict[str, object]]:
    """All comparisons of control types, best first.

    Args:
        values: one row for each type, a column for each source, seed and prompt.
        source: the number of each column's source.
    """
    from scipy.stats import t

    pairs = list(combinations(names, 2))
    if not pairs:
        return []
    places = np.array(list(combinations(range(len(names)), 2)))
    a, b = values[places[:, 0]], values[places[:, 1]]
    away = a - b
    count = int(source.max()) + 1 if len(source) else 0
    difference = np.stack([group_means(row, source, count) for row in away])
    n = np.isfinite(difference).sum(1)
    shown = np.where(np.isfinite(difference), difference, 0.0)
    mean = np.divide(shown.sum(1), n, out=np.full(len(n), math.nan), where=n > 0)
    square = np.where(np.isfinite(difference), (difference - mean[:, None]) ** 2, 0.0).sum(1)
    spread = np.sqrt(np.divide(square, n - 1, out=np.full(len(n), math.nan), where=n > 1))
    half = t_halves(spread, n, level)
    error = spread / np.sqrt(np.maximum(n, 1))
    ratio = np.divide(np.abs(mean), error, out=np.full(len(n), math.inf), where=error > 0)
    p = np.where(n > 1, 2 * t.sf(ratio, np.maximum(n - 1, 1)), math.nan)
    p = np.where((n > 1) & (error == 0) & (mean == 0), 1.0, p)
    corrected = holm(p)
    mde = minimum_detectable(spread, n, level=1 - (1 - level) / len(pairs))
    result: list[dict[str, object]] = []
    for i, (first, second) in enumerate(pairs):
        clear = corrected[i] <= 1 - level
        winner = first if mean[i] > 0 else second
        result.append(
            {
                "first": first,
                "second": second,
                "difference": float(mean[i]),
                "low": float(mean[i] - half[i]),
                "high": float(mean[i] + half[i]),
                "p": float(p[i]),
                "p_holm": float(corrected[i]),
                "better": winner if clear else "",
                "mde": float(mde[i]),
                "n_sources": int(n[i]),
            }
        )
    return result
