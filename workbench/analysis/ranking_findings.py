"""Sentences about the ranking of control types: who is obeyed most, and by which metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.analysis.frames import pick, primary_metrics, records
from workbench.analysis.intervals import TOO_FEW, says_nothing
from workbench.analysis.ranking import compare_types
from workbench.analysis.trends import UNCLEAR, UNKNOWN
from workbench.analysis.wording import (
    AGREED,
    ALL_CONTROLS,
    Finding,
    count_sources,
    findable,
    interval,
    p_value,
    plain,
    title,
)

if TYPE_CHECKING:
    import pandas as pd

FIRST, BY_SOME = "comes first", "by some metrics only"
SHOWN_NAMES = 6
"""Of so many metrics by which a type is ahead, or is not, the names are given."""

Rows = list[dict[str, Any]]


def ranking_findings(
    frame: pd.DataFrame, control_metrics: Mapping[str, str] | None
) -> list[Finding]:
    """Which control type comes first at each scale, where there are several.

    A type is called first where it is clearly ahead of all others whichever of their metrics is
    chosen; else the sentence says by which it is and by which not. Of types without any reading to
    rank by there is one sentence.
    """
    ranks, pairs, choices = compare_types(frame, control_metrics=control_metrics)
    several = ranks["base"].nunique() > 1
    found = []
    for place, group in ranks.groupby(["base", "scale"], sort=True):
        if len(group) < 2:
            continue
        mine, tried = (
            records(t[(t["base"] == place[0]) & (t["scale"] == place[1])]) for t in (pairs, choices)
        )
        where = f"at scale {place[1]:g}" + (f" on base model {place[0]}" if several else "")
        found.append(_rank(where, records(group), mine, tried))
    return [*found, *_unranked(frame, ranks, control_metrics)]


def _unranked(
    frame: pd.DataFrame, ranks: pd.DataFrame, control_metrics: Mapping[str, str] | None
) -> list[Finding]:
    """One sentence for each base model on which types, of several, have no adherence to rank by."""
    found = []
    for base, part in frame.groupby("base", sort=True):
        rows = pick(part)
        rows = rows[rows["scale"] > 0]
        metrics = primary_metrics(rows, control_metrics)
        ranked = set(ranks.loc[ranks["base"] == base, "control"])
        missing = [f"{name} by {metric}" for name, metric in metrics.items() if name not in ranked]
        if not missing or len(metrics) < 2:
            continue
        on = f" on base model {base}" if frame["base"].nunique() > 1 else ""
        text = f"not ranked{on}, as nothing could be measured above scale 0: {', '.join(missing)}."
        nan = math.nan
        found.append(
            Finding(
                "ranking", f"{title(ALL_CONTROLS)}: {text}", ALL_CONTROLS, "adherence", UNKNOWN,
                nan, nan, nan, 0,
            )
        )  # fmt: skip
    return found


def _every(lead: str, rivals: list[str], pairs: Rows, choices: Rows) -> tuple[bool, str]:
    """Whether one type is ahead of others whichever of their metrics is chosen, and the words."""
    mine = [p for p in pairs if {p["first"], p["second"]} in [{lead, rival} for rival in rivals]]
    holds = all(p["better_by_every"] == lead for p in mine)
    tried = [c for c in choices if {c["first"], c["second"]} in [{lead, r} for r in rivals]]
    if len(tried) == len(mine):
        return holds, ""
    worst = p_value(max(p["p_every"] for p in mine))
    both = "both" if len(rivals) == 1 else "all"
    if holds:
        return True, f", whichever metric of {both} is chosen ({worst} by the least clear choice)"
    own: dict[str, list[bool]] = {}
    theirs: dict[str, list[bool]] = {}
    for choice in tried:
        sides = ("first", "second") if choice["first"] == lead else ("second", "first")
        ahead = choice["better"] == lead
        own.setdefault(choice[f"{sides[0]}_metric"], []).append(ahead)
        theirs.setdefault(f"{choice[sides[1]]} by {choice[f'{sides[1]}_metric']}", []).append(ahead)
    clear = sum(c["better"] == lead for c in tried)
    if clear == len(tried):
        return False, f", by each choice of their metrics alone, but not by all at once ({worst})"
    text = ", but not by every metric: clearly "
    if any(map(all, own.values())):
        text += f"by {_names(own, True)}, not clearly by {_names(own, False)}"
    elif any(map(all, theirs.values())):
        text += f"against {_names(theirs, True)}, not clearly against {_names(theirs, False)}"
    else:
        text += f"in {clear} of {len(tried)} choices of one metric for each"
    turned = sum(c["better"] not in (lead, "") for c in tried)
    return False, text + (f"; {turned} of {len(tried)} choices turn it round" if turned else "")


def _names(found: Mapping[str, list[bool]], wanted: bool) -> str:
    """Those names under which all is so, or those under which it is not; a few of very many."""
    names = [name for name, ahead in found.items() if all(ahead) == wanted]
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _rank(where: str, ranks: Rows, pairs: Rows, choices: Rows) -> Finding:
    first, second = ranks[:2]
    pair = next(p for p in pairs if {p["first"], p["second"]} == {r["control"] for r in ranks[:2]})
    sign = 1.0 if pair["first"] == first["control"] else -1.0
    ends = sorted((sign * pair["low"], sign * pair["high"]))
    estimate, n = sign * float(pair["difference"]), int(pair["n_sources"])
    names = (
        f"{first['control']} {plain(first['mean'])}, {second['control']} {plain(second['mean'])}"
    )
    direction = UNKNOWN
    if not pair["better"] and says_nothing(*ends):
        text = f"{TOO_FEW} which is obeyed most: the highest means are {names} ({count_sources(n)})"
    elif n == 0:
        text = f"the highest means are {names}; they have no source, seed and prompt in common, so "
        text += "they cannot be compared"
    elif n == 1:
        text = f"the highest means are {names}; one source cannot be generalised, so this is not a "
        text += "finding"
    else:
        figures = _figures(pair, estimate, ends, len(pairs))
        if pair["better"]:
            text, direction = _ahead(first["control"], figures, pair, pairs, choices)
        else:
            text = f"there is no clear first between the two highest, {names} ({figures})"
            direction = UNCLEAR
        if len(pairs) > 1:
            clear, every = (sum(p[b] != "" for p in pairs) for b in ("better", "better_by_every"))
            text += f"; {clear} of {len(pairs)} pairs are clear"
            text += f", {every} whichever metric is chosen" if len(choices) > len(pairs) else ""
    return Finding(
        kind="ranking",
        text=f"{title(ALL_CONTROLS)}: {where} {text}.",
        control=ALL_CONTROLS,
        metric="adherence",
        direction=direction,
        estimate=estimate,
        low=ends[0] if n > 1 else math.nan,
        high=ends[1] if n > 1 else math.nan,
        n_sources=n,
        mde=float(pair["mde"]),
    )


def _ahead(
    first: str, figures: str, pair: Mapping[str, Any], pairs: Rows, choices: Rows
) -> tuple[str, str]:
    """What is said where one of the two highest means is clearly ahead, and its direction."""
    lead = str(pair["better"])
    other = str(pair["second"] if pair["first"] == lead else pair["first"])
    mine = [p for p in pairs if lead in (p["first"], p["second"])]
    rest = {p["second"] if p["first"] == lead else p["first"]: p["better"] for p in mine}
    open_ = [name for name, better in rest.items() if better != lead]
    most = lead == first and not open_
    rivals = list(rest) if most else [other]
    holds, choice = _every(lead, rivals, pairs, choices)
    if most and holds:
        return f"{lead} is obeyed most, before {other} ({figures}){choice}", FIRST
    if lead != first:
        text = f"{lead} is obeyed more than {first} where both have readings"
        rest_ = f"; {first} has the higher mean over all of its own"
    elif len(rivals) > 1:
        text, rest_ = f"{lead} is ahead of all others, next of which is {other}", ""
    else:
        text = f"{lead} is obeyed more than {other}"
        rest_ = f"; {lead} is not clearly ahead of {', '.join(open_)}" if open_ else ""
    if not holds:
        one = len(rivals) == 1
        by = _standing(lead, pair, choices) if one else "the metric that stands for each type"
        text += f" by {by}" if one else f", by {by}"
    return f"{text} ({figures}){choice}{rest_}", UNCLEAR if holds else BY_SOME


def _standing(lead: str, pair: Mapping[str, Any], choices: Rows) -> str:
    """The metrics by which a pair is ranked, that of the leading type first."""
    one = next(c for c in choices if c["first"] == pair["first"] and c["second"] == pair["second"])
    names = [str(one["first_metric"]), str(one["second_metric"])]
    return " against ".join(names if lead == pair["first"] else names[::-1])


def _figures(pair: Mapping[str, Any], estimate: float, ends: list[float], pairs: int) -> str:
    """Difference, interval, corrected p and sources of the two highest means."""
    found = interval(estimate, ends[0], ends[1])
    many = "1 pair" if pairs == 1 else f"{pairs} pairs"
    decides = f"{p_value(pair['p_holm'])} after Holm for {many}"
    # By itself the difference may be clear where, among so many, it is not.
    if pair["better"] or ends[0] * ends[1] <= 0:
        found += f", {decides}"
    else:
        found += f" by itself; {AGREED if pair['p'] == 1 else f'what decides is {decides}'}"
    miss = "" if pair["better"] else findable(pair["mde"], UNCLEAR)
    return f"{found}; {count_sources(int(pair['n_sources']))}{miss}"
