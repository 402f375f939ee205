"""The figures of the report, control type by control type."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from workbench import analysis
from workbench.controls import ControlError, get_control
from workbench.controls.base import LegendEntry
from workbench.measuring.specs import metric_spec
from workbench.metrics.spec import MetricSpec
from workbench.plots import (
    Panel,
    Theme,
    contact_sheet_figure,
    curves_figure,
    length_heatmap,
    tag_heatmap,
    tradeoff_figure,
)
from workbench.report.embed import Picture, drawing, photograph
from workbench.report.sheets import Sheet
from workbench.report.tables import Table, point_table
from workbench.report.tipping import draw_tipping

if TYPE_CHECKING:
    import pandas as pd

ADHERENCE_LIMITS = (0.0, 1.0)
DIVERSITY = (
    ("diversity_looks", "Diversity of looks", "CLIP distance between seeds", "1 − cosine"),
    ("diversity_structure", "Diversity of structure", "Distance of control maps between seeds", ""),
)
"""Metric, title, and what stands on the axis with its unit."""
APART = ("unrelated pictures", "the same picture")
"""What chance and ceiling of a difference are."""


@dataclass(frozen=True)
class SheetPicture:
    """A contact sheet in the page, what it leaves out (a sentence or ""), its maps' colours."""

    control: str
    picture: Picture
    caption: str
    legend: tuple[LegendEntry, ...] = ()


@dataclass(frozen=True)
class ControlFigures:
    """Everything drawn about one control type; None and empty where there is nothing to draw."""

    name: str
    label: str
    tradeoff: Picture
    sheets: tuple[SheetPicture, ...]
    curves: Picture
    more_curves: Picture | None
    heatmaps: tuple[Picture, ...]
    tags: Picture | None
    tipping: Picture | None
    tipping_table: Table
    diversity: Picture | None
    table: Table


def draw_control(
    frame: pd.DataFrame,
    control: str,
    label: str,
    points: pd.DataFrame,
    spots: pd.DataFrame,
    summary: pd.DataFrame,
    pages: Sequence[SheetPicture],
    both: bool,
) -> ControlFigures:
    """Draw all figures of one control type; ``both``: also for dark screens."""
    rows = frame[frame["control"] == control]
    primary = analysis.primary_metrics(rows)[control]
    embed = partial(drawing, both=both)
    mine = points[points["control"] == control]
    names = {control: label}
    tipping, tipping_table = draw_tipping(rows, label, both)
    return ControlFigures(
        name=control,
        label=label,
        tradeoff=embed(
            lambda theme: tradeoff_figure(mine, spots, control_labels=names, theme=theme),
            f"Trade-off plot for {label}: prompt adherence over control adherence.",
        ),
        sheets=tuple(page for page in pages if page.control == control),
        curves=embed(
            lambda theme: curves_figure(_main_panels(rows, primary), theme=theme),
            f"Curves over the conditioning scale for {label}.",
        ),
        more_curves=_more_curves(rows, control, primary, label, both),
        heatmaps=_heatmaps(rows, primary, label, both),
        tags=_tags(rows, label, both),
        tipping=tipping,
        tipping_table=tipping_table,
        diversity=_diversity(rows, label, both),
        table=point_table(summary[summary["control"] == control], spec_of(primary).label, primary),
    )


def draw_sheets(
    pages: Sequence[Sheet], labels: Mapping[str, str], budget: int, both: bool
) -> list[SheetPicture]:
    """Embed contact sheets so that together they stay within about ``budget`` bytes."""
    drawn = []
    limit = budget // (max(1, len(pages)) * (2 if both else 1))
    for page in pages:
        label = labels.get(page.control, page.control)
        title = f"{label}, seed {page.seed}"
        caption = ""
        if page.left_out:
            caption = f"{page.left_out} more rows of the study are not shown."
        alt = f"Contact sheet for {title}: rows are sources and prompt lengths, columns scales."
        picture = photograph(partial(_sheet, page, title), alt, limit=limit, both=both)
        drawn.append(SheetPicture(page.control, picture, caption, page.legend))
    return drawn


def spec_of(metric: str) -> MetricSpec:
    """The name plate of a metric; a metric nobody declared gets its name, higher being better."""
    try:
        return metric_spec(metric)
    except KeyError:
        name = metric if metric.isidentifier() else "metric"
        return MetricSpec(name=name, label=metric, higher_is_better=True)


def _sheet(page: Sheet, title: str, theme: Theme) -> Figure:
    return contact_sheet_figure(page.rows, page.scales, title=title, theme=theme)


def _value_panel(rows: pd.DataFrame, metric: str, title: str = "") -> Panel:
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


def _main_panels(rows: pd.DataFrame, primary: str) -> list[Panel]:
    """Control, prompt, full prompt, closeness: those that were measured."""
    adherence = analysis.curve(rows, analysis.PROMPT_METRIC)
    panels = [
        _value_panel(rows, primary, "Control"),
        Panel(adherence, "Prompt adherence", "", True, 0.0, 1.0, "Prompt"),
        _value_panel(rows, "clip_full", "Full prompt"),
        _value_panel(rows, "clip_source", "Closeness to the source"),
    ]
    return [panel for panel in panels if len(panel.table)] or panels[:1]


def _more_curves(
    rows: pd.DataFrame, control: str, primary: str, label: str, both: bool
) -> Picture | None:
    """The further metrics of the control type, which the literature reports."""
    kind = analysis.control_type(control)
    try:
        names = [spec.name for spec in get_control(kind).metrics if spec.name != primary]
    except ControlError:
        return None
    panels = [panel for panel in (_value_panel(rows, name) for name in names) if len(panel.table)]
    if not panels:
        return None
    return drawing(
        lambda theme: curves_figure(panels, theme=theme),
        f"Further metrics of {label} over the conditioning scale.",
        both=both,
    )


def _heatmaps(rows: pd.DataFrame, primary: str, label: str, both: bool) -> tuple[Picture, ...]:
    drawn = []
    for metric, what in (
        (primary, "Control adherence"),
        (analysis.PROMPT_METRIC, "Prompt adherence"),
    ):
        table = analysis.curve(rows, metric)
        if table.empty or table["length"].nunique() * table["scale"].nunique() < 2:
            continue
        draw = partial(_heatmap, table, what, f"{label}: {what.lower()}")
        alt = f"Heat map of {what.lower()} for {label}: rows are prompt lengths, columns scales."
        drawn.append(drawing(draw, alt, both=both))
    return tuple(drawn)


def _heatmap(table: pd.DataFrame, what: str, title: str, theme: Theme) -> Figure:
    return length_heatmap(
        table, label=what, higher_is_better=True, limits=ADHERENCE_LIMITS, chance=0.0, ceiling=1.0,
        title=title, theme=theme,
    )  # fmt: skip


def _tags(rows: pd.DataFrame, label: str, both: bool) -> Picture | None:
    table = analysis.per_tag(rows)
    if table.empty or table["scale"].nunique() < 2:
        return None
    slopes, references = analysis.tag_slopes(rows), analysis.tag_references(rows)
    return drawing(
        lambda theme: tag_heatmap(table, slopes, references, title=label, theme=theme),
        f"Heat map of tag scores for {label}: rows are tags, columns scales.",
        both=both,
    )


def _diversity(rows: pd.DataFrame, label: str, both: bool) -> Picture | None:
    panels = [
        replace(
            _value_panel(rows, metric, title),
            label=axis, unit=unit, higher_is_better=None, include=0.0, names=APART,
        )
        for metric, title, axis, unit in DIVERSITY
    ]  # fmt: skip
    panels = [panel for panel in panels if len(panel.table)]
    if not panels:
        return None
    return drawing(
        lambda theme: curves_figure(panels, theme=theme),
        f"Diversity across seeds over the conditioning scale for {label}.",
        both=both,
    )


def _mean(values: pd.Series) -> float:
    kept = values.dropna()
    return float(kept.mean()) if len(kept) else math.nan


def _range(rows: pd.DataFrame, column: str) -> tuple[float, float] | None:
    """The lowest and the highest of the sources' means; None where nothing is known."""
    means = rows.groupby("source")[column].mean().dropna()
    return (float(means.min()), float(means.max())) if len(means) else None
