"""Sentences about prompt length × scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.analysis.frames import records
from workbench.analysis.interaction import MODEL
from workbench.analysis.lengths import lengths_in_words, unit_of
from workbench.analysis.trends import UNCLEAR, UNKNOWN
from workbench.analysis.wording import (
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


def interaction_findings(table: pd.DataFrame) -> list[Finding]:
    """Whether prompt length changes what the scale does, for control and for prompt adherence.

    Args:
        table: as `interaction.interactions` returns it.
    """
    return [_interaction(row) for row in records(table) if row["n_sources"]]


def _interaction(row: dict[str, Any]) -> Finding:
    what = f"{row['what']} adherence"
    low, high, n = float(row["low"]), float(row["high"]), int(row["n_sources"])
    step = unit_of(row["long"])
    slope = f"change of its slope per {step} and unit of scale"
    how = MODEL if row["method"] == MODEL else f"{row['method']}, as {row['reason']}"
    if row["direction"] == UNKNOWN:
        text = (
            f"with each further {step} the slope of {what} over the scale changes by "
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
    first, last = (lengths_in_words([row[end]]) for end in ("short", "long"))
    ends = f"slope {signed(short)} with {first}, {signed(long)} with {last}"
    if short * long <= 0:
        ways = ("rises", "falls") if short > long else ("falls", "rises")
        return (
            f"{what} {ways[0]} with the scale for short prompts and {ways[1]} for long ones; {ends}"
        )
    way = "rises" if short > 0 else "falls"
    how = "more" if abs(long) > abs(short) else "less"
    return f"{what} {way} {how} steeply with the scale, the longer the prompt; {ends}"
