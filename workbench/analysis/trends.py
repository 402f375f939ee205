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

from workbench.analysis.codes import group_codes, group_means, group_spreads
from workbench.analysis.frames import LENGTH_SETTINGS, pick, with_names
from workbench.analysis.intervals import NO_DATA, ONE_SOURCE, says_nothing, summarise, t_halves
from workbench.analysis.power import minimum_detectable
from workbench.analysis.shared import ONE_PICTURE, joined_halves, shared_error, shared_rows

if TYPE_CHECKING:
    import pandas as pd

RISES, FALLS, UNCLEAR, UNKNOWN = "rises", "falls", "no clear effect", "cannot tell"
BY_RHO, BY_AGREEMENT = "rank correlation", "equal to the last digit"
"""Why there is no clear effect though the interval of the change leaves out 0."""
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
        by: what defines a point; ("control", "scale") averages over prompt lengths. With lengths
            a column `label` says what each is called.
    """
    table = summarise(pick(frame, metric, settings=settings), column, list(by))
    return with_names(table, frame) if "length" in by else table


def wilcoxon_p(values: np.ndarray) -> float:
    """Two-sided exact Wilcoxon signed-rank p against 0; NaN below five values.

    Zeros are left out and ties share their mean rank (F. Wilcoxon, "Individual comparisons by
    ranking methods", Biometrics Bull. 1, 1945); p is exact with ties too, over all signs. With
    five values the smallest p possible is 0.0625, with six 0.031.
    """
    from scipy.stats import rankdata

    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if len(values) < MIN_WILCOXON:
        return math.nan
    values = values[values != 0]
    # Mean ranks are whole or half: doubled, they are steps on a line of whole numbers.
    doubled = np.rint(2 * rankdata(np.abs(values).round(12))).astype(int)
    shares = np.ones(1)
    for step in doubled:
        longer = np.zeros(len(shares) + step)
        longer[: len(shares)] += shares
        longer[step:] += shares
        shares = longer / 2
    smaller = min(int(doubled[values > 0].sum()), int(doubled[values < 0].sum()))
    return float(min(1.0, 2 * shares[: smaller + 1].sum()))


def chain_statistics(
    rows: pd.DataFrame, column: str, axis: str, by: Sequence[str] = ()
) -> pd.DataFrame:
    """What a chain does along the axis, averaged over the chains of a source.

    Args:
        rows: rows of the long frame.
        column: "adherence" or "value"; rows without it are left out.
        axis: "scale" or "length".
        by: columns that part the rows into groups.

    Returns:
        One row per group and source, with the `by` columns, source, rho, slope (per unit of the
        axis), first, last, change, spread (standard deviation of the change over seeds) and
        n_chains. Chains of one point are left out. First, last and change are those of the chains
        that reach from one end of the group's axis to the other; NaN for a source without any.
    """
    import pandas as pd

    other = "prompt" if axis == "scale" else "scale"
    keys = [*by, "source", "seed", "base", other]
    data = rows.dropna(subset=[column])
    # Cells at one point of a chain (a prompt left out in several ways) count as their mean.
    point, points = group_codes(data, [*keys, axis])
    y = group_means(data[column].to_numpy(dtype=float), point, len(points))
    ends = _ends(points, axis, by)
    chain, _ = group_codes(points, keys)
    long = np.bincount(chain)[chain] >= 2
    points, y, ends = points[long], y[long], ends[long]
    chain, chains = group_codes(points, keys)
    count = np.bincount(chain)
    x = points[axis].to_numpy(dtype=float)
    last = np.cumsum(count) - 1
    first = last - count + 1  # points of a chain stand together, along the axis
    ranks = pd.DataFrame({"x": x, "y": y.round(12)}).groupby(chain).rank().to_numpy(dtype=float)

    whole = (x[first] == ends[first, 0]) & (x[last] == ends[last, 1])
    start, end = (np.where(whole, y[place], np.nan) for place in (first, last))

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(chain, weights=values, minlength=len(count))

    dx = x - group_means(x, chain, len(count))[chain]
    a, b = (r - ((count + 1) / 2)[chain] for r in (ranks[:, 0], ranks[:, 1]))
    norm = np.sqrt(sums(a * a) * sums(b * b))
    statistics = {
        "rho": np.divide(sums(a * b), norm, out=np.zeros(len(count)), where=norm > 0),
        "slope": sums(dx * y) / sums(dx * dx),
        "first": start,
        "last": end,
        "change": end - start,
    }
    source, sources = group_codes(chains, [*by, "source"])
    means = {k: group_means(v, source, len(sources)) for k, v in statistics.items()}
    seed, seeds = group_codes(chains, [*by, "source", "seed"])
    changes = group_means(statistics["change"], seed, len(seeds))
    means["spread"] = group_spreads(changes, group_codes(seeds, [*by, "source"])[0], len(sources))
    return sources.assign(**means, n_chains=np.bincount(source, minlength=len(sources)))


def _ends(points: pd.DataFrame, axis: str, by: Sequence[str]) -> np.ndarray:
    """For every point: where its group's axis begins and ends, float (N, 2)."""
    x = points[axis].to_numpy(dtype=float)
    group, groups = group_codes(points, by) if by else (np.zeros(len(x), np.int64), [0])
    low, high = np.full(len(groups), np.inf), np.full(len(groups), -np.inf)
    np.minimum.at(low, group, x)
    np.maximum.at(high, group, x)
    return np.stack([low[group], high[group]], axis=1)


def describe(per_source: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Interval and test for every group of the table of `chain_statistics`."""
    group, table = group_codes(per_source, by)
    count = len(table)
    n = np.bincount(group, minlength=count)
    found: dict[str, np.ndarray] = {}
    for name in ("rho", "slope", "change", "first", "last"):
        values = per_source[name].to_numpy(dtype=float)
        found[name] = group_means(values, group, count)
        spread = group_spreads(values, group, count)
        known = np.bincount(group[np.isfinite(values)], minlength=count)
        half = t_halves(spread, known)
        if name in ("rho", "slope", "change"):
            found |= {f"{name}_low": found[name] - half, f"{name}_high": found[name] + half}
        if name == "change":
            found["mde"] = minimum_detectable(spread, np.maximum(known, 1))
            found["n_ends"] = known
    found["spread"] = group_means(per_source["spread"].to_numpy(dtype=float), group, count)
    rho = per_source["rho"].to_numpy(dtype=float)[np.argsort(group, kind="stable")]
    parts = np.split(rho, np.cumsum(n)[:-1]) if count else []
    return table.assign(**found, p=[wilcoxon_p(part) for part in parts], n_sources=n)


def _verdict(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """A direction and, where it is unclear against the interval of the change, why.

    There is a direction where the intervals of rho and change lie on the same side of 0.

    Between two points rho is no more than the sign of the change, which then decides alone. A few
    sources that agree to the last digit, as counts do, are no evidence: an interval without width
    counts from so many on as a Wilcoxon test could tell.
    """
    width = (table["change_high"] - table["change_low"]).to_numpy(dtype=float)
    agreed = (width <= 1e-12) & (table["n_ends"].to_numpy(dtype=float) < MIN_WILCOXON)
    two = table["points"] == 2
    up = (two | (table["rho_low"] > 0)) & (table["change_low"] > 0)
    down = (two | (table["rho_high"] < 0)) & (table["change_high"] < 0)
    direction = np.select(
        [
            (table["rho_low"].isna() | table["change_low"].isna()).to_numpy(),
            agreed,
            up.to_numpy(),
            down.to_numpy(),
        ],
        [UNKNOWN, UNCLEAR, RISES, FALLS],
        UNCLEAR,
    )
    moved = (table["change_low"] > 0) | (table["change_high"] < 0)
    against = moved.to_numpy() & (direction == UNCLEAR)
    return direction, np.select([against & agreed, against], [BY_AGREEMENT, BY_RHO], "")


def _note(n: int, whole: int, one_seed: bool) -> str:
    """Why an interval or a test is missing or weak with so many sources, `whole` with both ends."""
    luck = ONE_PICTURE if one_seed and n > 1 else ""
    return "; ".join(part for part in (_of_sources(n), _of_ends(n, whole), luck) if part)


def _of_ends(n: int, whole: int) -> str:
    if whole == n:
        return ""
    return f"the change is that of {whole} of {n} sources: the others have no reading at one end"


def _of_sources(n: int) -> str:
    if n == 0:
        return NO_DATA
    if n == 1:
        return ONE_SOURCE
    if n < MIN_WILCOXON:
        return f"a Wilcoxon test needs {MIN_WILCOXON} sources, there are {n}"
    if n == MIN_WILCOXON:
        return f"with {n} sources the smallest p that a Wilcoxon test can give is 0.0625"
    return ""


def trend_of(
    rows: pd.DataFrame, *, column: str, axis: str = "scale", by: Sequence[str] = ("control",)
) -> pd.DataFrame:
    """`trend` for rows already picked; `by` may hold any column, "metric" included."""
    by = list(by)
    columns = [
        *by,
        *("rho", "rho_low", "rho_high", "p", "slope", "slope_low", "slope_high"),
        *("first", "last", "change", "change_low", "change_high", "spread", "mde"),
        *("x_first", "x_last", "direction", "why", "n_sources", "n_ends", "note"),
    ]
    if axis == "length":
        rows = rows[rows["scale"] > 0]
    rows = rows.dropna(subset=[column])
    edges = rows.groupby(by)[axis].agg(x_first="min", x_last="max", points="nunique")
    ends = edges.astype(float).reset_index()
    found = ends.merge(describe(chain_statistics(rows, column, axis, by), by), on=by, how="left")
    found["n_sources"] = found["n_sources"].fillna(0).astype(int)
    found["n_ends"] = found["n_ends"].fillna(0).astype(int)
    alone = _join_shared(found, rows, column, axis, by)
    found["direction"], found["why"] = _verdict(found)
    if column == "adherence":
        limits = zip(found["change_low"], found["change_high"], strict=True)
        vague = np.array([says_nothing(low, high) for low, high in limits], dtype=np.bool_)
        found["direction"] = found["direction"].mask(vague, UNKNOWN)
    found["note"] = [
        _note(n, k, one)
        for n, k, one in zip(found["n_sources"], found["n_ends"], alone, strict=True)
    ]
    return found[columns]


def _join_shared(
    found: pd.DataFrame, rows: pd.DataFrame, column: str, axis: str, by: list[str]
) -> np.ndarray:
    """Widen the interval of the change by the luck of shared first pictures, in place.

    Returns:
        bool (G,): pictures are shared, but there is one seed, which tells nothing of their luck.
    """
    if axis != "scale" or not shared_rows(rows).any():
        return np.zeros(len(found), bool)
    first = rows.groupby(by)[axis].transform("min") == rows[axis]
    shared = shared_error(rows[first], column, by, len(found))
    n = found["n_ends"].to_numpy(dtype=int)
    half = (found["change_high"] - found["change"]).to_numpy(dtype=float)
    joined = joined_halves(half, n, shared)
    found["change_low"], found["change_high"] = found["change"] - joined, found["change"] + joined
    wider = np.divide(joined, half, out=np.ones(len(half)), where=half > 0)
    found["mde"] *= wider
    return shared.shares & (shared.freedom == 0)


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
        interval (per unit of the axis); first and last (means at x_first and x_last) and change
        with its interval, all three over the n_ends sources that have readings at both ends, the
        interval with the luck of pictures that sources share at scale 0 (see `shared`); spread
        (standard deviation of the change over seeds); mde (the least change that so many sources,
        spread as these are, show clearly four times in five); direction ("rises" or "falls" where
        the intervals of rho and change both exclude 0 on the same side, with two points that of
        the change; else "no clear effect", or "cannot tell" without an interval, or
        with one of adherence that says nothing, see `intervals`); why (what makes
        an effect unclear whose change leaves out 0: `BY_RHO`, `BY_AGREEMENT`, else ""); n_sources;
        n_ends; note (why a test or an interval is missing, or rests on fewer sources).
    """
    return trend_of(pick(frame, metric, settings=settings), column=column, axis=axis, by=by)
