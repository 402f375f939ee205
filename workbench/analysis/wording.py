"""Figures as text, and one trend as one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.analysis.intervals import TOO_FEW
from workbench.analysis.shared import ONE_PICTURE
from workbench.analysis.trends import BY_AGREEMENT, BY_RHO, FALLS, MIN_WILCOXON, RISES, UNCLEAR
from workbench.formats import ends, fixed, plain, signed

ALL_CONTROLS = "all control types"
"""The control of a finding that compares control types."""

LEVEL = 0.05
"""At most so large is the p-value of a claim."""
AGREED = "so few sources that agree to the last digit are no evidence"
"""Why an interval without width bears nothing out."""


@dataclass(frozen=True)
class Finding:
    """One statement and the figures behind it.

    Attributes:
        kind: "control", "prompt", "tags", "length", "interaction", "closeness", "diversity",
            "sweet spot", "ranking", "pair", "effects" (counted over control types) or "bases"
            (between base models).
        text: the sentence, plain text.
        control: control type or pair (its label) it speaks of, `ALL_CONTROLS` for a ranking
            and for counts.
        metric: metric name; for kind "tags" the tag's metric, "silhouette" or "tipping".
        direction: "rises", "falls", "no clear effect", "cannot tell"; "tips" for tipping scales,
            "comes first" for a ranking with a clear first, "by some metrics only" for one whose
            first depends on the choice of the metric, "" for a sweet spot.
        estimate, low, high: the figure and its 95 % interval (NaN when there is none).
        n_sources: how many sources carry the interval.
        mde: the minimum detectable effect, in the unit of the estimate (NaN when there is none).
    """

    kind: str
    text: str
    control: str
    metric: str
    direction: str
    estimate: float
    low: float
    high: float
    n_sources: int
    mde: float = math.nan


def count_sources(n: int) -> str:
    """How many sources, in words: "1 source", "4 sources"."""
    return "1 source" if n == 1 else f"{n} sources"


def findable(mde: float, direction: str) -> str:
    """The effect that the study could have missed, as the end of the figures in brackets.

    "" where an effect was found, as it says nothing about one that was, or where it is unknown.
    """
    if direction != UNCLEAR or not math.isfinite(mde):
        return ""
    return f"; an effect of {plain(mde)} is found in four of five such studies"


def p_value(p: float) -> str:
    """A p-value in words: "p = 0.031", "p < 0.001"; 0.0503 is not rounded to 0.05."""
    return "p < 0.001" if p < 0.0005 else f"p = {p_digits(p)}"


def p_digits(p: float) -> str:
    """A p-value with three decimals, or as many as show on which side of 0.05 it lies."""
    digits = 3
    while digits < 9 and (float(f"{p:.{digits}f}") <= LEVEL) != (p <= LEVEL):
        digits += 1
    return fixed(p, digits)


def interval(estimate: float, low: float, high: float, name: str = "difference") -> str:
    """A figure with its interval in words."""
    start, end = ends(low, high)
    return f"{name} {signed(estimate)}, 95 % interval {start} to {end}"


def title(control: str) -> str:
    """A control type at the start of a sentence."""
    return control[:1].upper() + control[1:]


def decided(row: Mapping[str, Any]) -> str:
    """What makes an effect unclear though the interval of its change leaves out 0; else ""."""
    if row["why"] == BY_RHO:
        low, high = max(row["rho_low"], -1.0), min(row["rho_high"], 1.0)
        return f"what decides is the {interval(row['rho'], low, high, 'mean Spearman rho')}"
    if row["why"] == BY_AGREEMENT:
        return AGREED
    return ""


def evidence(row: Mapping[str, Any]) -> str:
    """The figures behind a trend: change, interval, rho, p where there is one, what decides."""
    rho = f"mean Spearman rho {signed(row['rho'])}"
    if row["why"]:
        rho = f"but {decided(row)}"
    if math.isfinite(row["p"]):
        rho += f", Wilcoxon {p_value(row['p'])}"
    n, ends = int(row["n_sources"]), int(row["n_ends"])
    of = count_sources(n) if ends == n else f"both ends in {ends} of {count_sources(n)}"
    if row["direction"] in (RISES, FALLS) and 1 < ends < MIN_WILCOXON:
        of += f", which by chance all move one way in one of {2 ** (ends - 1)} studies"
    luck = f"; {ONE_PICTURE}" if ONE_PICTURE in row["note"] else ""
    return (
        f"{interval(row['change'], row['change_low'], row['change_high'])}; {rho}; "
        f"{of}{luck}{'' if row['why'] else findable(row['mde'], row['direction'])}"
    )


def sentence(what: str, axis: str, row: Mapping[str, Any]) -> str:
    """A trend in words: what moves, e.g. "control adherence", along an axis, e.g. "scale".

    Where the row has `at_first` and `at_last`, these are what the ends are called ("2 tags").
    """
    first, last = (f"{row[f'x_{end}']:g}" for end in ("first", "last"))
    start, stop = f"at {axis} {first}", f"at {axis} {last}"
    if "at_first" in row:
        first, last = f"{row['at_first']}", f"{row['at_last']}"
        start, stop = f"with {first}", f"with {last}"
    span = f"from {plain(row['first'])} {start} to {plain(row['last'])} {stop}"
    if row["direction"] in (RISES, FALLS):
        return f"{what} {row['direction']} with the {axis}, {span} ({evidence(row)})."
    if row["direction"] == UNCLEAR:
        return f"no clear effect of the {axis} on {what} ({evidence(row)})."
    if row["n_ends"] > 1:
        return (
            f"{TOO_FEW} what the {axis} does to {what} ({signed(row['change'])} from {axis} "
            f"{first} to {last}, known no better than to the whole way from "
            f"chance to ceiling; {count_sources(row['n_ends'])})."
        )
    if row["n_sources"] > 1:
        return (
            f"{what} cannot be compared between {axis} {first} and {last}: "
            f"{row['n_ends']} of {count_sources(row['n_sources'])} have a reading at both."
        )
    seeds = ""
    if math.isfinite(row["spread"]):
        seeds = f" (the difference varies by {plain(row['spread'])} over seeds)"
    return f"{what} goes {span}{seeds}; one source cannot be generalised, so this is not a finding."


def trend_finding(
    kind: str, control: str, metric: str, what: str, axis: str, row: Mapping[str, Any]
) -> Finding:
    """A row of `trends.trend` as a finding."""
    return Finding(
        kind=kind,
        text=f"{title(control)}: {sentence(what, axis, row)}",
        control=control,
        metric=metric,
        direction=str(row["direction"]),
        estimate=float(row["change"]),
        low=float(row["change_low"]),
        high=float(row["change_high"]),
        n_sources=int(row["n_sources"]),
        mde=float(row["mde"]),
    )
