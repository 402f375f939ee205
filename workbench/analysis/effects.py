"""The same questions asked of every control type: what does control change, what a shorter prompt?

Where a study compares many control types, single sentences no longer answer. The table here sets
each question's effects side by side, and the statements count them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.analysis.bases import POSE, STRUCTURE, WORDS, between_bases
from workbench.analysis.frames import count_tags, length_names, pick, pick_primary, records
from workbench.analysis.trends import FALLS, RISES, UNCLEAR, trend_of
from workbench.analysis.wording import ALL_CONTROLS, Finding, title

if TYPE_CHECKING:
    import pandas as pd

MIN_CONTROLS = 3
"""From so many control types (on one base) on, effects are counted."""
TINY = 1e-6
"""A start as small as this has no shares."""
REFERENCES = ("chance", "ceiling")
COLUMNS = (
    *("question", "control", "base", "metric", "first", "last", "change", "low", "high"),
    *("to_chance", "to_ceiling", "x_first", "x_last", "direction", "why"),
    *("rho", "rho_low", "rho_high", "n_sources"),
)


@dataclass(frozen=True)
class Question:
    """What is asked of every control type.

    name: in the table. axis: "scale" or "length". metric: "" for control adherence. what: the
    quantity in a sentence. relative: changes are shares of the value at the start, as its unit
    differs from control type to control type.
    """

    name: str
    axis: str
    metric: str
    what: str
    relative: bool = False


QUESTIONS = (
    Question(
        "seeds", "scale", "diversity_structure", "structural diversity across seeds", relative=True
    ),
    Question("bases pose", "scale", POSE, WORDS[POSE]),
    Question("bases structure", "scale", STRUCTURE, WORDS[STRUCTURE], relative=True),
    Question("closeness", "length", "clip_source", "CLIP similarity to the source"),
    Question("control", "length", "", "control adherence"),
)
"""The questions that are asked of every control type."""


def effects(frame: pd.DataFrame, control_metrics: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The effect behind every question, control type by control type.

    Along the scale an effect is the change from the smallest to the largest scale; along the
    prompt length, from the longest prompt to the shortest (over all scales above 0), so that it
    says what cutting the prompt does. Relative effects are shares of the mean at the start; their
    intervals take that mean as known, which at scale 0 is the same for all sources.

    Returns:
        One row per question, control and base: question, control (the type, with the settings that
        differ), base ("" between bases), metric, first, last, change, low, high (95 % interval
        over sources), to_chance, to_ceiling (the changes that would lead to what is measured on
        unrelated pictures and on equal ones; NaN where unknown), x_first, x_last (the scales or
        lengths), direction ("rises", "falls", …, of the change), why, rho, rho_low, rho_high (see
        `trends.trend`), n_sources.
    """
    import pandas as pd

    parts = [_answer(question, frame, control_metrics) for question in QUESTIONS]
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


def effect_findings(
    frame: pd.DataFrame, control_metrics: Mapping[str, str] | None = None
) -> list[Finding]:
    """For each question, in how many control types the answer is clear.

    None for few control types, and none for a single source, where no answer is clear.
    """
    table = effects(frame, control_metrics)
    if table["control"].nunique() < MIN_CONTROLS:
        return []
    found = [(question, table[table["question"] == question.name]) for question in QUESTIONS]
    return [_count(question, mine) for question, mine in found if (mine["n_sources"] > 1).any()]


def _rows(
    question: Question, frame: pd.DataFrame, control_metrics: Mapping[str, str] | None
) -> pd.DataFrame:
    """What a question is answered from, with labels that do not name the base model."""
    import pandas as pd

    if question.name.startswith("bases"):
        return between_bases(frame, question.metric)
    parts = [part for _, part in frame.groupby("base", sort=True)] or [frame]
    if question.metric:
        return pd.concat([pick(part, question.metric) for part in parts])
    return pd.concat([pick_primary(part, control_metrics) for part in parts])


def _answer(
    question: Question, frame: pd.DataFrame, control_metrics: Mapping[str, str] | None
) -> pd.DataFrame:
    """The effects of one question, in the direction in which it asks."""
    rows = _rows(question, frame, control_metrics)
    column = "value" if question.metric else "adherence"
    rows = rows.assign(model=rows["base"])
    table = trend_of(rows, column=column, axis=question.axis, by=("control", "model"))
    table = table[table["x_last"] > table["x_first"]]
    table = table.rename(columns={"change_low": "low", "change_high": "high", "model": "base"})
    if question.axis == "length":
        turned = {"first": "last", "last": "first", "low": "high", "high": "low"}
        turned |= {"x_first": "x_last", "x_last": "x_first"}
        turned |= {"rho_low": "rho_high", "rho_high": "rho_low"}
        table = table.rename(columns=turned)
        table[["change", "low", "high", "rho", "rho_low", "rho_high"]] *= -1
        table["direction"] = table["direction"].replace({RISES: FALLS, FALLS: RISES})
    if question.axis == "length":
        called = length_names(frame)
        for end in ("first", "last"):
            table[f"at_{end}"] = [called[int(x)] for x in table[f"x_{end}"]]
    table = _with_references(table, rows, adherence=not question.metric)
    if question.relative:
        start = table["first"].abs().where(table["first"].abs() > TINY)
        shares = ["change", "low", "high", "to_chance", "to_ceiling"]
        table[shares] = table[shares].div(start, axis=0)
    return table.assign(question=question.name, metric=question.metric or "adherence")


def _with_references(table: pd.DataFrame, rows: pd.DataFrame, *, adherence: bool) -> pd.DataFrame:
    """How far it is from the start to chance and to the ceiling, the means over sources."""
    if adherence:
        return table.assign(to_chance=-table["first"], to_ceiling=1.0 - table["first"])
    known = rows.dropna(subset=list(REFERENCES), how="all")
    if known.empty:
        return table.assign(to_chance=math.nan, to_ceiling=math.nan)
    per_source = known.groupby(["control", "model", "source"])[list(REFERENCES)].mean()
    means = per_source.groupby(["control", "model"]).mean()
    places = list(zip(table["control"], table["base"], strict=True))
    away = means.reindex(places)[list(REFERENCES)].to_numpy(float) - table[["first"]].to_numpy()
    return table.assign(to_chance=away[:, 0], to_ceiling=away[:, 1])


def end_of(row: Mapping[str, Any], end: str, axis: str) -> str:
    """Where an effect begins ("first") or ends ("last"): "scale 1.2", "7 tags"."""
    x = row[f"x_{end}"]
    return f"scale {x:g}" if axis == "scale" else str(row.get(f"at_{end}", count_tags(int(x))))


def span_of(table: pd.DataFrame, axis: str) -> str:
    """Between which scales or lengths the effects of a question lie: "scale 0 to 1.6"."""
    ends = {tuple(end_of(row, end, axis) for end in ("first", "last")) for row in records(table)}
    if len(ends) == 1:
        start, end = ends.pop()
        (count, _, unit), (_, _, other) = start.partition(" "), end.partition(" ")
        same = unit.removesuffix("s") == other.removesuffix("s") != ""
        return f"{count if same and axis == 'length' else start} to {end.removeprefix('scale ')}"
    ways = ("smallest", "largest") if axis == "scale" else ("longest", "shortest")
    what = "scale" if axis == "scale" else "prompt"
    return f"the {ways[0]} to the {ways[1]} {what} of each"


def _count(question: Question, table: pd.DataFrame) -> Finding:
    """How many of the control types answer one way, the other, or not clearly."""
    several = table["base"].nunique() > 1
    names = table["control"] + (" on " + table["base"] if several else "")
    sides = {way: list(names[table["direction"] == way]) for way in (RISES, FALLS)}
    more, fewer = sorted(sides, key=lambda way: len(sides[way]), reverse=True)
    noun = "pairs of control type and base model" if several else "control types"
    span = f"from {span_of(table, question.axis)}"
    if not sides[more]:
        text = f"{span}, no clear change of {question.what} in any of {len(table)} {noun}."
    else:
        text = (
            f"{span}, {question.what} clearly {more} in {len(sides[more])} of {len(table)} {noun}"
        )
        text += f" and clearly {fewer} in {len(sides[fewer]) or 'none'}"
        rest = {fewer: sides[fewer], "not clear": list(names[~table["direction"].isin(sides)])}
        text += "".join(f"; {way}: {', '.join(those)}" for way, those in rest.items() if those)
        text += "."
    return Finding(
        kind="effects",
        text=f"{title(ALL_CONTROLS)}: {text}",
        control=ALL_CONTROLS,
        metric=question.metric or "adherence",
        direction=more if 2 * len(sides[more]) > len(table) and not sides[fewer] else UNCLEAR,
        estimate=float(table["change"].mean()),
        low=math.nan,
        high=math.nan,
        n_sources=int(table["n_sources"].max()),
    )
