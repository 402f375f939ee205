"""Panels of figures from the long frame of a run: what to draw of one control type, or of all."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench import analysis
from workbench.analysis.effects import Question, span_of
from workbench.controls import ControlError, get_control
from workbench.measuring.specs import metric_spec
from workbench.metrics.spec import MetricSpec
from workbench.plots.curves import Panel
from workbench.plots.effects import EffectPanel

if TYPE_CHECKING:
    import pandas as pd

DIVERSITY = (
    ("diversity_looks", "Diversity of looks", "CLIP distance between seeds", "1 − cosine"),
    ("diversity_structure", "Diversity of structure", "Distance of control maps between seeds", ""),
)
"""Metric, title, and what stands on the axis with its unit."""
APART = ("unrelated pictures", "the same picture")
"""What chance and ceiling of a difference are."""
EFFECT_TITLES = {
    "seeds": "Structural diversity\nacross seeds",
    "bases pose": "Pose difference\nbetween base models",
    "bases structure": "Structural difference\nbetween base models",
    "closeness": "CLIP similarity\nto the source",
    "control": "Control adherence",
}


def spec_of(metric: str) -> MetricSpec:
    """The name plate of a metric; a metric nobody declared gets its name, higher being better."""
    try:
        return metric_spec(metric)
    except KeyError:
        name = metric if metric.isidentifier() else "metric"
        return MetricSpec(name=name, label=metric, higher_is_better=True)


def value_panel(rows: pd.DataFrame, metric: str, title: str = "") -> Panel:
    """A panel of raw values with chance and ceiling: their mean, and their range over sources."""
    spec = spec_of(metric)
    mine = analysis.pick(rows, metric)
    return Panel(
        analysis.curve(rows, metric, column="value"),
        spec.label,
        spec.unit,
        spec.higher_is_better,
        _mean(mine["chance"]),
        _mean(mine["ceiling"]),
        title,
        _range(mine, "chance"),
        _range(mine, "ceiling"),
    )


def main_panels(rows: pd.DataFrame, primary: str) -> list[Panel]:
    """Control, prompt, full prompt, closeness: those that were measured."""
    adherence = analysis.curve(rows, analysis.PROMPT_METRIC)
    panels = [
        value_panel(rows, primary, "Control"),
        Panel(adherence, "Prompt adherence", "", True, 0.0, 1.0, "Prompt"),
        value_panel(rows, "clip_full", "Full prompt"),
        value_panel(rows, "clip_source", "Closeness to the source"),
    ]
    return [panel for panel in panels if len(panel.table)] or panels[:1]


def further_panels(rows: pd.DataFrame, control: str, primary: str) -> list[Panel]:
    """The further metrics of one control type, which the literature reports."""
    try:
        metrics = get_control(analysis.control_type(control)).metrics
    except ControlError:
        return []
    names = [spec.name for spec in metrics if spec.name != primary]
    if analysis.metric_name(rows, analysis.PROMPT_METRIC) != "clip_used":
        names.append("clip_used")
    panels = (value_panel(rows, name) for name in names)
    return [panel for panel in panels if len(panel.table)]


def diversity_panels(rows: pd.DataFrame) -> list[Panel]:
    """How much pictures of different seeds differ, in looks and in structure."""
    panels = [
        replace(
            value_panel(rows, metric, title),
            label=axis, unit=unit, higher_is_better=None, include=0.0, names=APART,
        )
        for metric, title, axis, unit in DIVERSITY
    ]  # fmt: skip
    return [panel for panel in panels if len(panel.table)]


def effect_panels(table: pd.DataFrame) -> list[EffectPanel]:
    """One panel for each question that `analysis.effects` answers."""
    panels, questions = [], {question.name: question for question in analysis.QUESTIONS}
    for name, mine in table.groupby("question", sort=False):
        asked = questions[str(name)]
        title = EFFECT_TITLES[asked.name]
        panels.append(EffectPanel(mine, title, _span(mine, asked), asked.relative))
    return panels


def _span(table: pd.DataFrame, question: Question) -> str:
    """The label of a panel's axis: which change, between which ends."""
    span = f"from {span_of(table, question.axis)}"
    return f"Change {span}" + ("\n[% of the value at the start]" if question.relative else "")


def _mean(values: pd.Series) -> float:
    kept = values.dropna()
    return float(kept.mean()) if len(kept) else math.nan


def _range(rows: pd.DataFrame, column: str) -> tuple[float, float] | None:
    """The lowest and the highest of the sources' means; None where nothing is known."""
    means = rows.groupby("source")[column].mean().dropna()
    return (float(means.min()), float(means.max())) if len(means) else None
