"""Sentences about prompt length × scale, and about the ranking of control types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.analysis.frames import records
from workbench.analysis.interaction import MODEL, interactions
from workbench.analysis.intervals import TOO_FEW, says_nothing
from workbench.analysis.ranking import ranking
from workbench.analysis.trends import UNCLEAR, UNKNOWN
from workbench.analysis.wording import (
    ALL_CONTROLS,
    Finding,
    count_sources,
    findable,
    interval,
    p_value,
    plain,
    signed,
    title,
)

if TYPE_CHECKING:
    import pandas as pd

FIRST = "comes first"


def interaction_findings(
    frame: pd.DataFrame, prompt_metric: str, control_metrics: Mapping[str, str] | None
) -> list[Finding]:
    """Whether prompt length changes what the scale does, for control and for prompt adherence."""
    table = interactions(frame, prompt_metric=prompt_metric, control_metrics=control_metrics)
    return [_interaction(row) for row in records(table) if row["n_sources"]]


def _interaction(row: dict[str, Any]) -> Finding:
    what = f"{row['what']} adherence"
    low, high, n = float(row["low"]), float(row["high"]), int(row["n_sources"])
    slope = "change of its slope per tag and unit of scale"
    how = MODEL if row["method"] == MODEL else f"{row['method']}, as {row['reason']}"
    if row["direction"] == UNKNOWN:
        text = (
            f"with each further tag the slope of {what} over the scale changes by "
            f"{plain(row['interaction'])}; one source cannot be generalised, so this is not a "
            "finding."
        )
    else:
        figures = (
            f"{interval(row['interaction'], low, high, slope)}, {p_value(row['p'])}; {how}; "
            f"{count_sources(n)}{findable(row['mde'], row['direction'])}"
        )
        if row["direction"] == UNCLEAR:
            text = f"no clear sign that prompt length changes what the scale does to {what} "
        else:
            text = f"{_turning(what, row)} "
        text += f"({figures})."
    return Finding(
        kind="interaction",
        text=f"{title(row['control'])}: {text}",
        control=row["control"],
        metric=f"length × scale: {row['what']}",
        direction=row["direction"],
        estimate=float(row["interaction"]),
        low=low,
        high=high,
        n_sources=n,
        mde=float(row["mde"]),
    )


def _turning(what: str, row: Mapping[str, Any]) -> str:
    """What a longer prompt does to the slope of adherence over the scale."""
    short, long = float(row["slope_short"]), float(row["slope_long"])
    lengths = f"{row['shortest']:g} tags, {signed(long)} with {row['longest']:g}"
    ends = f"slope {signed(short)} with {lengths}"
    if short * long <= 0:
        ways = ("rises", "falls") if short > long else ("falls", "rises")
        return (
            f"{what} {ways[0]} with the scale for short prompts and {ways[1]} for long ones; {ends}"
        )
    way = "rises" if short > 0 else "falls"
    how = "more" if abs(long) > abs(short) else "less"
    return f"{what} {way} {how} steeply with the scale, the longer the prompt; {ends}"


def ranking_findings(
    frame: pd.DataFrame, control_metrics: Mapping[str, str] | None
) -> list[Finding]:
    """Which control type comes first at each scale, where there are several."""
    ranks, pairs = ranking(frame, control_metrics=control_metrics)
    several = ranks["base"].nunique() > 1
    found = []
    for place, group in ranks.groupby(["base", "scale"], sort=True):
        if len(group) < 2:
            continue
        mine = pairs[(pairs["base"] == place[0]) & (pairs["scale"] == place[1])]
        where = f"at scale {place[1]:g}" + (f" on base model {place[0]}" if several else "")
        found.append(_rank(where, records(group), records(mine)))
    return found


def _order(
    first: str, second: str, names: str, pair: Mapping[str, Any], pairs: list[dict[str, Any]]
) -> tuple[str, str]:
    """What the comparisons say of the two highest means, before and after the figures."""
    if pair["better"] == second:
        return (
            f"{second} is obeyed more than {first} where both have readings",
            f", though {first} has the higher mean over all of its own",
        )
    if not pair["better"]:
        return f"there is no clear first between the two highest, {names}", ""
    mine = [p for p in pairs if first in (p["first"], p["second"]) and p["better"] != first]
    if not mine:
        return f"{first} is obeyed most, before {second}", ""
    others = [p["second"] if p["first"] == first else p["first"] for p in mine]
    return (
        f"{first} is obeyed more than {second}",
        f", but is not clearly ahead of {', '.join(others)}",
    )


def _rank(where: str, ranks: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> Finding:
    first, second = ranks[:2]
    pair = next(p for p in pairs if {p["first"], p["second"]} == {r["control"] for r in ranks[:2]})
    sign = 1.0 if pair["first"] == first["control"] else -1.0
    ends = sorted((sign * pair["low"], sign * pair["high"]))
    estimate, n = sign * float(pair["difference"]), int(pair["n_sources"])
    names = (
        f"{first['control']} {plain(first['mean'])}, {second['control']} {plain(second['mean'])}"
    )
    if not pair["better"] and says_nothing(*ends):
        text = f"{where} {TOO_FEW} which is obeyed most: the highest means are {names} "
        text += f"({count_sources(n)})."
        direction = UNKNOWN
    elif n < 2:
        text = f"{where} the highest means are {names}; "
        text += "one source cannot be generalised, so this is not a finding."
        direction = UNKNOWN
    else:
        # By itself the difference may be clear where, among so many, it is not.
        alone = not pair["better"] and ends[0] * ends[1] > 0
        figures = (
            f"{interval(estimate, ends[0], ends[1])}"
            f"{' by itself; what decides is' if alone else ','} {p_value(pair['p_holm'])} "
            "after Holm for "
            f"{len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'}; "
            f"{count_sources(n)}{'' if pair['better'] else findable(pair['mde'], UNCLEAR)}"
        )
        clear = first["rank_high"] == 1
        before, after = _order(first["control"], second["control"], names, pair, pairs)
        text = f"{where} {before} ({figures}){after}"
        if len(pairs) > 1:
            text += f"; {sum(p['better'] != '' for p in pairs)} of {len(pairs)} pairs are clear"
        text += "."
        direction = FIRST if clear else UNCLEAR
    return Finding(
        kind="ranking",
        text=f"{title(ALL_CONTROLS)}: {text}",
        control=ALL_CONTROLS,
        metric="adherence",
        direction=direction,
        estimate=estimate,
        low=ends[0] if n > 1 else math.nan,
        high=ends[1] if n > 1 else math.nan,
        n_sources=n,
        mde=float(pair["mde"]),
    )
