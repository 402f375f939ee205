"""How ControlNets came to obey: adherence over the steps of their training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.axes import Axes

from workbench.formats import number
from workbench.plots.style import (
    LIGHT,
    SMALL,
    Drawing,
    Theme,
    clean_text,
    label_axes,
    new_figure,
    say_empty,
    series_style,
    style_axes,
    title_axes,
    with_direction,
)

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = 3


def learning_figure(
    table: pd.DataFrame, *, labels: Mapping[str, str] | None = None, theme: Theme = LIGHT
) -> Drawing:
    """Draw one panel for each control type, all on the same axes.

    Where a training was made in several goes, each has a line of its own: it may have begun with
    other weights or have been looked at under another guidance scale, so that the lines need not
    meet. A dotted line marks where one begins, and with which weights.

    Args:
        table: as `training.curves.learning_table` returns it.
        labels: control type -> what it is called (default: its name).
    """
    controls = list(dict.fromkeys(table["control"]))
    rows = max(1, math.ceil(len(controls) / COLUMNS))
    columns = min(COLUMNS, max(1, len(controls)))
    figure = new_figure(
        3.5 * columns + 0.4, 2.5 * rows + 0.3, theme,
        alt="Learning curves: adherence over training steps, one panel for each control type.",
    )  # fmt: skip
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    if not controls:
        say_empty(style_axes(grid[0], theme), "There are no curves.", theme)
        return figure
    for control, axes in zip(controls, grid, strict=False):
        style_axes(axes, theme)
        title_axes(axes, (labels or {}).get(str(control), str(control)), theme)
        _draw_goes(axes, table[table["control"] == control], theme)
    low = float(table["adherence"].min())
    grid[0].set_ylim(min(-0.12, low - 0.03), 1.12)
    for axes in grid[len(controls) :]:
        axes.set_visible(False)
    for place in range(len(controls)):
        down = place + columns >= len(controls)
        grid[place].tick_params(labelbottom=down)
        left = with_direction("Adherence", True) if place % columns == 0 else ""
        label_axes(grid[place], "Training step" if down else "", left, theme)
    return figure


def _draw_goes(axes: Axes, rows: pd.DataFrame, theme: Theme) -> None:
    for value, name, end in ((0.0, "chance", -9.0), (1.0, "ceiling", 9.0)):
        axes.axhline(value, color=theme.muted, lw=0.9, ls=(0, (4, 3)), zorder=1, gid=name)
        axes.axhspan(*sorted((value, end)), color=theme.band, lw=0, zorder=0.5, gid=f"{name}-band")
        axes.annotate(
            name, (0, value), (3, 1 if end > 0 else -1), textcoords="offset points",
            xycoords=("axes fraction", "data"), va="bottom" if end > 0 else "top",
            fontsize=SMALL - 2, color=theme.muted, parse_math=False,
        )  # fmt: skip
    style = series_style(0, theme)
    for go, part in rows.groupby("go", sort=True):
        first = part.iloc[0]
        axes.plot(part["step"], part["adherence"], color=style.colour, lw=1.8, marker="o", ms=3,
                  gid=f"go-{go}")  # fmt: skip
        if go:
            axes.axvline(first["step"], color=theme.muted, lw=0.9, ls=":", zorder=1)
        if go != rows[rows["start"] == first["start"]]["go"].iloc[0]:
            continue  # a second improvement is one like the first, and the names would collide
        axes.annotate(
            clean_text(_beginning(str(first["start"]), str(first["control"])), 24),
            (first["step"], 0.03 if not go else 0.13), (3, 0), textcoords="offset points",
            fontsize=SMALL - 2, color=theme.muted, parse_math=False,
        )  # fmt: skip
    guidances = dict.fromkeys(float(value) for value in rows["guidance_scale"])
    notes = [
        *([] if rows["shipped"].all() else ["not the shipped weights"]),
        ", then ".join(dict.fromkeys(clean_text(str(name), 40) for name in rows["metric"])),
        "guidance " + ", then ".join(number(value) for value in guidances),
    ]
    axes.annotate(
        "\n".join(notes), (1, 0.02), (-2, 0), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="right", va="bottom",
        fontsize=SMALL - 2, color=theme.muted, parse_math=False,
    )  # fmt: skip


def _beginning(start: str, control: str) -> str:
    if start == control:
        return "improved"
    return f"from {start}" if start else "from nothing"
