"""Which control type is obeyed most? Ranks by control adherence at each scale, per base model.

Adherence puts every metric on a scale from its chance to its ceiling. That helps to compare control
types but does not make different metrics one: types are ranked by the metric that stands for each,
and a comparison is worth its name only if it holds by the others, too. Types are compared in
pairs, picture by picture: only where both have a reading of the same source, seed and prompt. The
p-values of all pairs of one base model and scale are corrected together after Holm (S. Holm, "A
simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979). A rank is given
with the ranks that the clear pairs leave open.

Whichever metric is chosen: a pair is compared by each choice of one metric of the one type and one
of the other, out of those that judge the whole map (`metrics.spec.Traits`). That the one is ahead
by all of them is claimed where the largest of their p-values bears it out, and not at all where
they lie on different sides: an intersection-union test, which needs no correction for the number
of choices (R. L. Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics
24, 1982). These largest p-values of all pairs are again corrected after Holm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.analysis.frames import (
    control_type,
    pick,
    pick_metrics,
    records,
    rival_metrics,
    specs_of,
)
from workbench.analysis.intervals import NO_DATA, summarise, t_halves
from workbench.analysis.power import minimum_detectable
from workbench.analysis.student import two_sided_p
from workbench.analysis.trends import MIN_WILCOXON

if TYPE_CHECKING:
    import pandas as pd

PLACE = ["base", "scale"]
UNIT = ("source", "seed", "setting", "label", "length", "prompt")
"""What two pictures have in common that are compared."""
RANKS = (
    *(*PLACE, "rank", "control", "mean", "low", "high", "rank_low", "rank_high", "better_than"),
    *("every_low", "every_high", "better_by_every", "spread", "n_sources", "n_samples", "note"),
)
PAIRS = (
    *(*PLACE, "first", "second", "difference", "low", "high", "p", "p_holm", "better"),
    *("p_every", "better_by_every", "mde", "n_sources"),
)
CHOICES = (
    *(*PLACE, "first", "second", "first_metric", "second_metric"),
    *("difference", "low", "high", "p", "better", "n_sources"),
)


class Comparison(NamedTuple):
    """Control types against each other.

    ranks, pairs: as `ranking` returns them.
    choices: one row per base, scale, pair and choice of a metric of each: base, scale, first,
        second (as in the pairs), first_metric, second_metric, difference with low and high, p (not
        corrected), better (the name of the type that is better by this choice, held against the
        level at which the correction left the pairs, or ""), n_sources. The choice that is ranked
        by stands first of each pair.
    """

    ranks: pd.DataFrame
    pairs: pd.DataFrame
    choices: pd.DataFrame


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
        clearly beats, comma-separated), every_low, every_high, better_by_every (the same three of
        the pairs that are clear whichever metric is chosen), spread, n_sources, n_samples, note.
        The pairs, one row per base, scale and pair: first, second (first has the higher mean),
        difference with low and high (paired by source, seed and prompt; not corrected), p (paired
        t-test over sources, NaN below two), p_holm, better (the name of the clearly better type,
        or ""), p_every (p of the choice of metrics that bears `better` out least, corrected),
        better_by_every (the name of the type that is clearly better whichever metric is chosen, or
        ""), mde (see `power`; at the level that the first step of the correction asks for),
        n_sources (shared by both).
    """
    found = compare_types(frame, control_metrics=control_metrics, level=level)
    return found.ranks, found.pairs


def compare_types(
    frame: pd.DataFrame,
    *,
    control_metrics: Mapping[str, str] | None = None,
    level: float = 0.95,
) -> Comparison:
    """As `ranking`, with every choice of the metrics beside it."""
    import pandas as pd

    rows, metrics = _rival_rows(frame, control_metrics)
    rows = rows[rows["scale"] > 0].dropna(subset=["adherence"])
    stands = rows["metric"] == rows["control"].map({name: m[0] for name, m in metrics.items()})
    table = summarise(rows[stands], "adherence", [*PLACE, "control"], level)
    order = table.sort_values([*PLACE, "mean"], ascending=[True, True, False], kind="stable")
    unit = [name for name in UNIT if name in rows]
    columns = ["control", "metric"]
    units = rows.groupby([*PLACE, *unit, *columns])["adherence"].mean().unstack(columns)
    ranks: list[dict[str, object]] = []
    pairs: list[dict[str, object]] = []
    choices: list[pd.DataFrame] = []
    for key, group in order.groupby(PLACE, sort=True):
        place: dict[str, Any] = dict(zip(PLACE, key, strict=True))
        names = [str(name) for name in group["control"]]
        mine = units.xs(key, level=PLACE)
        source, _ = pd.factorize(mine.index.get_level_values("source"))
        there = np.isfinite(mine.to_numpy(dtype=float)).any(axis=0).tolist()
        known = {key for key, is_read in zip(mine.columns, there, strict=True) if is_read}
        readings = [(name, m) for name in names for m in metrics[name] if (name, m) in known]
        values = mine[readings].to_numpy(dtype=float).T
        found, tried = _pairs(values, source, readings, level)
        pairs += [place | pair for pair in found]
        choices.append(tried.assign(**place))
        ranks += [place | row for row in _ranked(records(group), found)]
    return Comparison(
        pd.DataFrame(ranks, columns=list(RANKS)),
        pd.DataFrame(pairs, columns=list(PAIRS)),
        pd.concat(choices, ignore_index=True)[list(CHOICES)]
        if choices
        else pd.DataFrame(columns=list(CHOICES)),
    )


def by_metric(
    frame: pd.DataFrame,
    *,
    control_metrics: Mapping[str, str] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Control adherence by every metric that the control types read, not only by one of each.

    Args:
        frame, control_metrics, level: as for `ranking`.

    Returns:
        One row per base, control, metric and scale above 0, and one with scale NaN for the mean
        over these scales: base, control, metric, role ("stands": the ranking takes it, "rival": it
        judges the whole map too, so that the ranking must hold by it, "part": it asks a part of
        the question, as precision does), scale, mean, low, high (interval over sources), spread,
        n_sources, n_samples, note. A metric without any adherence has one row of NaN, scale
        included, whose note says why.
    """
    import pandas as pd

    rows, metrics = _rival_rows(frame, control_metrics, parts=True)
    rows = rows[rows["scale"] > 0]
    keys = ["base", "control", "metric"]
    seen = rows[keys].drop_duplicates().astype(str)
    parts = [summarise(rows, "adherence", by, level) for by in ([*keys, "scale"], keys)]
    table = pd.concat([part.astype(dict.fromkeys(keys, str)) for part in parts])
    table = seen.merge(table, on=keys, how="left")
    order = {name: [*ms, *(s.name for s in specs_of(name))] for name, ms in metrics.items()}
    told = list(zip(table["control"], table["metric"], strict=True))
    table["role"] = [
        "stands" if m == metrics[c][0] else "rival" if m in metrics[c] else "part" for c, m in told
    ]
    table["place"] = [order[c].index(m) for c, m in told]
    table["type"] = table["control"].map({name: i for i, name in enumerate(order)})
    table["note"] = table["note"].fillna(NO_DATA)
    table[["n_sources", "n_samples"]] = table[["n_sources", "n_samples"]].fillna(0).astype(int)
    if "scale" not in table:
        table["scale"] = math.nan
    table = table.sort_values(["base", "type", "place", "scale"], kind="stable", ignore_index=True)
    return table[
        [*keys, "role", "scale", "mean", "low", "high", "spread", "n_sources", "n_samples", "note"]
    ]


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


def _rival_rows(
    frame: pd.DataFrame, control_metrics: Mapping[str, str] | None, *, parts: bool = False
) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """The rows of all metrics by which types compete, and which these are, by type.

    Args:
        parts: also the rows of the metrics that ask a part of the question.
    """
    import pandas as pd

    # One base model at a time, so that it does not get into the labels of the control types.
    found = [frame.iloc[:0]]
    metrics: dict[str, tuple[str, ...]] = {}
    for _, part in frame.groupby("base", sort=True):
        rows = pick(part)
        mine = rival_metrics(rows, control_metrics)
        metrics |= mine
        if parts:
            mine = {c: (*ms, *(s.name for s in specs_of(c))) for c, ms in mine.items()}
        found.append(pick_metrics(rows, mine))
    return pd.concat(found[1:] or found), metrics


def _ranked(
    group: Sequence[dict[str, object]], pairs: Sequence[Mapping[str, object]]
) -> list[dict[str, object]]:
    """The types of one place in the order of their means, with the ranks left open."""
    ranks = []
    for rank, row in enumerate(group, start=1):
        control = row["control"]
        about = [p for p in pairs if control in (p["first"], p["second"])]
        row = row | {"rank": rank}
        for better, start in (("better", "rank"), ("better_by_every", "every")):
            told = [p for p in about if p[better]]
            beats = [_other(p, control) for p in told if p[better] == control]
            lost = len(told) - len(beats)
            one_only = math.isnan(float(str(row["low"])))
            low, high = min(rank, 1 + lost), max(rank, len(group) - len(beats))
            row |= {
                f"{start}_low": math.nan if one_only else low,
                f"{start}_high": math.nan if one_only else high,
                "better_than" if better == "better" else better: ", ".join(beats),
            }
        ranks.append(row)
    return ranks


def _other(pair: Mapping[str, object], control: object) -> str:
    return str(pair["second"] if pair["first"] == control else pair["first"])


class _Differences(NamedTuple):
    """Of each comparison, float (P,): its mean, half its interval, spread, p; int (P,): sources."""

    mean: np.ndarray
    half: np.ndarray
    spread: np.ndarray
    p: np.ndarray
    n: np.ndarray


def _differences(
    values: np.ndarray, source: np.ndarray, places: np.ndarray, level: float
) -> _Differences:
    """Paired t-tests over sources, many at once.

    A few sources that agree to the last digit are no evidence, as in `trends`: p is 1.

    Args:
        values: (R, U) readings, a column for each source, seed and prompt.
        source: number of each column's source, int (U,). places: rows to compare, int (P, 2).
    """
    away = values[places[:, 0]] - values[places[:, 1]]
    known = np.isfinite(away)
    member = np.eye(int(source.max()) + 1 if len(source) else 0)[source]
    size = known @ member
    total = np.where(known, away, 0.0) @ member
    difference = np.divide(total, size, out=np.zeros(size.shape), where=size > 0)
    has = size > 0
    n = has.sum(1)
    mean = np.divide(difference.sum(1), n, out=np.full(len(n), math.nan), where=n > 0)
    square = np.where(has, (difference - mean[:, None]) ** 2, 0.0).sum(1)
    spread = np.sqrt(np.divide(square, n - 1, out=np.full(len(n), math.nan), where=n > 1))
    error = spread / np.sqrt(np.maximum(n, 1))
    ratio = np.divide(np.abs(mean), error, out=np.full(len(n), math.inf), where=error > 0)
    p = np.where(n > 1, two_sided_p(ratio, n), math.nan)
    agreed = (spread <= 1e-12) & ((n < MIN_WILCOXON) | (np.abs(mean) <= 1e-12))
    p = np.where((n > 1) & agreed, 1.0, p)
    return _Differences(mean, t_halves(spread, n, level), spread, p, n)


def _choices(readings: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """All choices of a reading of one type and one of another, pair by pair.

    Two settings of one type are compared metric by metric.

    Args:
        readings: type and metric; of each type the metric that stands for it comes first.

    Returns:
        Numbers of the two readings, int (C, 2), and of the pair of types, int (C,). The first of
        each pair are the metrics that stand for the types.
    """
    names = list(dict.fromkeys(name for name, _ in readings))
    rows = {name: [i for i, one in enumerate(readings) if one[0] == name] for name in names}
    places, pair_of = [], []
    for number, (a, b) in enumerate(combinations(names, 2)):
        alike = control_type(a) == control_type(b)
        for place, (x, y) in enumerate(product(rows[a], rows[b])):
            if not alike or place == 0 or readings[x][1] == readings[y][1]:
                places.append((x, y))
                pair_of.append(number)
    return np.array(places, dtype=int).reshape(-1, 2), np.array(pair_of, dtype=int)


def _pairs(
    values: np.ndarray, source: np.ndarray, readings: Sequence[tuple[str, str]], level: float
) -> tuple[list[dict[str, object]], pd.DataFrame]:
    """All comparisons of control types at one place, best first, and each choice of metrics.

    Args:
        values: (R, U), a row for each reading, a column for each source, seed and prompt.
        source: number of each column's source. readings: type and metric of each row.
    """
    import pandas as pd

    places, pair_of = _choices(readings)
    if not len(places):
        return [], pd.DataFrame(columns=list(CHOICES))
    found = _differences(values, source, places, level)
    start = np.flatnonzero(np.diff(pair_of, prepend=-1))
    mean, p = found.mean[start], found.p[start]
    corrected = holm(p)
    clear = corrected <= 1 - level
    # A choice that points the other way, or that cannot be told, bears nothing out.
    along = np.sign(found.mean) == np.sign(mean)[pair_of]
    against = np.where(along & np.isfinite(found.p), found.p, 1.0)
    every = holm(np.where(np.isfinite(p), np.maximum.reduceat(against, start), math.nan))
    survives = every <= 1 - level
    mde = minimum_detectable(found.spread[start], found.n[start], level=1 - (1 - level) / len(p))
    names = np.array([name for name, _ in readings], dtype=object)
    first, second = names[places[:, 0]], names[places[:, 1]]
    ahead = np.where(found.mean > 0, first, second)
    # Where Holm's steps ended: the level at which the first pair that is not clear was held.
    end = (1 - level) / max(1, int(np.isfinite(p).sum()) - int(clear.sum()))
    low, high = found.mean - found.half, found.mean + found.half
    tried = pd.DataFrame(
        {
            "first": first,
            "second": second,
            "first_metric": [readings[x][1] for x in places[:, 0]],
            "second_metric": [readings[y][1] for y in places[:, 1]],
            "difference": found.mean,
            "low": low,
            "high": high,
            "p": found.p,
            "better": np.where(found.p <= end, ahead, ""),
            "n_sources": found.n,
        }
    )
    pairs: list[dict[str, object]] = [
        {
            "first": first[k],
            "second": second[k],
            "difference": float(mean[i]),
            "low": float(low[k]),
            "high": float(high[k]),
            "p": float(p[i]),
            "p_holm": float(corrected[i]),
            "better": ahead[k] if clear[i] else "",
            "p_every": float(every[i]),
            "better_by_every": ahead[k] if survives[i] else "",
            "mde": float(mde[i]),
            "n_sources": int(found.n[k]),
        }
        for i, k in enumerate(start)
    ]
    return pairs, tried
