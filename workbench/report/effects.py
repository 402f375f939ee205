"""What control and a shorter prompt change, control type by control type: figure and table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench import analysis
from workbench.analysis.effects import Question, end_of
from workbench.formats import number
from workbench.plots import effects_figure
from workbench.plots.panels import EFFECT_TITLES, effect_panels
from workbench.report.embed import Picture, drawing
from workbench.report.tables import Table, interval_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EffectFigures:
    """The effects in the page: the picture, and the table behind it."""

    picture: Picture
    table: Table


def draw_effects(frame: pd.DataFrame, label_of: Callable[[str], str]) -> EffectFigures | None:
    """Draw and list the effects; None where fewer than two controls can be set side by side.

    Args:
        frame: the long frame of the run.
        label_of: what a control type is called.
    """
    table = analysis.effects(frame)
    if table["control"].nunique() < 2:
        return None
    bases = [base for base in table["base"].unique() if base]
    names = {str(name): label_of(str(name)) for name in table["control"].unique()}
    panels = effect_panels(table)
    questions = {question.name: question for question in analysis.QUESTIONS}
    picture = drawing(
        effects_figure(panels, labels=names),
        "Changes by control type: along the scale, and when the prompt is cut.",
    )
    rows = tuple(
        _line(row, names, questions[str(row["question"])], len(bases) > 1)
        for row in analysis.records(table)
    )
    heads = ("Of", "Control", "Base model", "From", "To", "Change [95 % interval]", "Sources")
    return EffectFigures(picture, Table(heads, rows, (False, False, False, *[True] * 4)))


def _line(
    row: dict[Any, Any], names: dict[str, str], question: Question, several: bool
) -> tuple[str, ...]:
    """One effect for reading."""
    unit = 100 if question.relative else 1
    mean, low, high = (unit * float(row[name]) for name in ("change", "low", "high"))
    change = interval_text(mean, low, high, 0 if unit == 100 else 2)
    ends = [
        f"{number(float(row[end]))} ({end_of(row, end, question.axis)})"
        for end in ("first", "last")
    ]
    return (
        EFFECT_TITLES[question.name].replace("\n", " "),
        names[str(row["control"])],
        str(row["base"]) or ("between them" if several else "–"),
        *ends,
        "; ".join(t for t in (change + (" %" if unit == 100 else ""), analysis.decided(row)) if t),
        str(row["n_sources"]),
    )
