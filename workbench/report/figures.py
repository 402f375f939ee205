"""The figures of the report, control type by control type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench import analysis
from workbench.controls.base import LegendEntry
from workbench.plots import (
    Panel,
    contact_sheet_figure,
    curves_figure,
    length_heatmap,
    tag_heatmap,
    tradeoff_figure,
)
from workbench.plots.panels import diversity_panels, main_panels, spec_of
from workbench.report.embed import Picture, drawing, photograph
from workbench.report.sheets import Sheet
from workbench.report.tables import Table, point_table
from workbench.report.tipping import draw_tipping

if TYPE_CHECKING:
    import pandas as pd

ADHERENCE_LIMITS = (0.0, 1.0)
SHEET_BYTES = 110_000


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
    heatmaps: tuple[Picture, ...]
    tags: Picture | None
    tipping: Picture | None
    tipping_table: Table
    diversity: Picture | None
    table: Table


@dataclass(frozen=True)
class Balance:
    """The trade-off of a run as tables: its points, the best of them, and all for reading."""

    points: pd.DataFrame
    spots: pd.DataFrame
    summary: pd.DataFrame


def draw_control(
    frame: pd.DataFrame,
    control: str,
    label: str,
    balance: Balance,
    pages: Sequence[SheetPicture],
) -> ControlFigures:
    """Draw all figures of one control type."""
    rows = frame[frame["control"] == control]
    primary = analysis.primary_metrics(rows)[control]
    points, summary = (
        table[table["control"] == control] for table in (balance.points, balance.summary)
    )
    names = {control: label}
    tipping, tipping_table = draw_tipping(rows, label)
    return ControlFigures(
        name=control,
        label=label,
        tradeoff=drawing(
            tradeoff_figure(points, balance.spots, control_labels=names),
            f"Trade-off plot for {label}: prompt adherence over control adherence.",
        ),
        sheets=tuple(page for page in pages if page.control == control),
        curves=drawing(
            curves_figure(main_panels(rows, primary)),
            f"Curves over the conditioning scale for {label}.",
        ),
        heatmaps=_heatmaps(rows, primary, label),
        tags=_tags(rows, label),
        tipping=tipping,
        tipping_table=tipping_table,
        diversity=_diversity(rows, label),
        table=point_table(summary, spec_of(primary).label, primary),
    )


def draw_sheets(
    pages: Sequence[Sheet], labels: Mapping[str, str], budget: int
) -> list[SheetPicture]:
    """Embed contact sheets so that together they stay within about ``budget`` bytes."""
    drawn = []
    limit = min(SHEET_BYTES, budget // max(1, len(pages)))
    for page in pages:
        label = labels.get(page.control, page.control)
        title = f"{label}, seed {page.seed}"
        hidden = [
            f"{number} more {what} of the study are not shown."
            for number, what in ((page.left_out, "rows"), (page.scales_left_out, "scales"))
            if number
        ]
        caption = " ".join(hidden)
        alt = f"Contact sheet for {title}: rows are sources and prompt lengths, columns scales."
        sheet = contact_sheet_figure(page.rows, page.scales, title=title)
        picture = photograph(sheet, alt, limit=limit)
        drawn.append(SheetPicture(page.control, picture, caption, page.legend))
    return drawn


def _heatmaps(rows: pd.DataFrame, primary: str, label: str) -> tuple[Picture, ...]:
    drawn = []
    for metric, what in (
        (primary, "Control adherence"),
        (analysis.PROMPT_METRIC, "Prompt adherence"),
    ):
        table = analysis.curve(rows, metric)
        if table.empty or table["length"].nunique() * table["scale"].nunique() < 2:
            continue
        panel = Panel(table, what, "", True, 0.0, 1.0, f"{label}: {what.lower()}")
        alt = f"Heat map of {what.lower()} for {label}: rows are prompt lengths, columns scales."
        drawn.append(drawing(length_heatmap(panel, limits=ADHERENCE_LIMITS), alt))
    return tuple(drawn)


def _tags(rows: pd.DataFrame, label: str) -> Picture | None:
    table = analysis.per_tag(rows)
    if table.empty or table["scale"].nunique() < 2:
        return None
    slopes, references = analysis.tag_slopes(rows), analysis.tag_references(rows)
    return drawing(
        tag_heatmap(table, slopes, references, title=label),
        f"Heat map of tag scores for {label}: rows are tags, columns scales.",
    )


def _diversity(rows: pd.DataFrame, label: str) -> Picture | None:
    panels = diversity_panels(rows)
    if not panels:
        return None
    return drawing(
        curves_figure(panels),
        f"Diversity across seeds over the conditioning scale for {label}.",
    )
