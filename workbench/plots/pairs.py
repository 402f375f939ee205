"""Heat maps of a pair of controls: what each combination of the two scales does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.colors import Normalize

from workbench.formats import number
from workbench.plots.curves import SCALE_LABEL
from workbench.plots.heatmaps import Cells, draw_cells
from workbench.plots.style import (
    BODY,
    LIGHT,
    Drawing,
    Theme,
    clean_text,
    label_axes,
    new_figure,
    say_empty,
    style_axes,
    title_axes,
    with_direction,
)

if TYPE_CHECKING:
    import pandas as pd

LIMITS = (0.0, 1.0)
"""Chance and ceiling."""


def pair_heatmap(
    points: pd.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    title: str = "",
    theme: Theme = LIGHT,
) -> Drawing:
    """Draw the three adherences of a pair, one panel each: rows and columns are the two scales.

    Args:
        points: rows of `analysis.pair_points` of one pair and one prompt length.
        labels: control type -> what it is called (default: its name).
        title: above all panels, for example the prompt length.

    The colours run from chance (0) to ceiling (1) in all panels, so that they can be compared;
    cells beyond are dotted.
    """
    figure = new_figure(
        5.0, 3.0, theme,
        alt="Heat maps of a pair of controls: rows are scales of one, columns scales of the other. "
        f"{title}",
    )  # fmt: skip
    if points.empty:
        axes = figure.add_subplot(frameon=False, xticks=[], yticks=[])
        say_empty(axes, "There is no pair of controls.", theme)
        return figure
    labels = labels or {}
    first, second = (str(points[side].iloc[0]) for side in ("first", "second"))
    called = {"first": labels.get(first, first), "second": labels.get(second, second)}
    down = sorted({float(scale) for scale in points["first_scale"]}, reverse=True)
    across = sorted({float(scale) for scale in points["second_scale"]})
    figure.set_size_inches(3 * (1.9 + 0.62 * max(len(across), 3)), 1.6 + 0.5 * max(len(down), 3))
    if title:
        figure.suptitle(
            clean_text(title), x=0.01, ha="left", fontsize=BODY, color=theme.muted, parse_math=False
        )
    grid = figure.subplots(1, 3)
    panels = {**called, "prompt": "the prompt"}
    for axes, (side, name) in zip(grid, panels.items(), strict=True):
        style_axes(axes, theme, grid=False)
        label_axes(
            axes,
            f"{SCALE_LABEL} of {called['second']}",
            f"{SCALE_LABEL} of\n{called['first']}" if side == "first" else "",
            theme,
        )
        title_axes(axes, f"Adherence to {name}", theme)
        cells = points.set_index(["first_scale", "second_scale"])[f"{side}_adherence"]
        table = cells.unstack()
        values = table.reindex(index=down, columns=across).to_numpy(dtype=float)
        heads, names = ([number(scale) for scale in scales] for scales in (across, down))
        label = with_direction("adherence", True)
        norm = Normalize(*LIMITS)
        draw_cells(axes, Cells(values, heads, names, label, norm, references=LIMITS), theme)
    return figure
