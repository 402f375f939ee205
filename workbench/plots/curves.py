"""Curves over the conditioning scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from workbench.plots.style import (
    LIGHT,
    SMALL,
    Drawing,
    Theme,
    by_length,
    label_axes,
    lengths_of,
    new_figure,
    padded_limits,
    say_empty,
    scale_ticks,
    series_style,
    style_axes,
    style_legend,
    title_axes,
    with_direction,
)

if TYPE_CHECKING:
    import pandas as pd

SCALE_LABEL = "Conditioning scale"


@dataclass(frozen=True)
class Panel:
    """One panel of curves.

    table: columns length, scale, mean, low, high (as `analysis.curve` returns for one control);
        where no interval is known, a column spread is drawn in its place, dotted.
    label, unit, higher_is_better: what stands on the vertical axis (None: there is no better).
    chance, ceiling: where the two reference lines lie; None or NaN leaves a line out.
    chance_range, ceiling_range: lowest and highest of the sources, where they differ.
    title: above the panel.
    include: a value which the vertical axis must reach, such as 0 for a distance.
    names: what the two reference lines are called.
    """

    table: pd.DataFrame
    label: str
    unit: str = ""
    higher_is_better: bool | None = None
    chance: float | None = None
    ceiling: float | None = None
    title: str = ""
    chance_range: tuple[float, float] | None = None
    ceiling_range: tuple[float, float] | None = None
    include: float | None = None
    names: tuple[str, str] = ("chance", "ceiling")


def curves_figure(panels: Sequence[Panel], *, theme: Theme = LIGHT, columns: int = 2) -> Drawing:
    """Draw metrics over the conditioning scale: one curve with its interval per prompt length.

    All panels share one legend, so a prompt length looks the same in all of them.
    """
    count = max(1, len(panels))
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = new_figure(
        5.2 * columns, 4.0 * rows + 0.35, theme,
        alt="Curves over the conditioning scale, one for each prompt length: "
        f"{', '.join(panel.title or panel.label for panel in panels)}.",
    )  # fmt: skip
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    lengths = lengths_of(*(panel.table for panel in panels))
    handles: dict[str, Line2D] = {}
    for axes, panel in zip(grid, panels, strict=False):
        handles |= _draw_panel(axes, panel, lengths, theme)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    if handles:
        order = [name for name in lengths.values() if name in handles]
        legend = figure.legend(
            [handles[name] for name in order],
            order,
            loc="outside upper left",
            ncols=min(len(order), 5),
            handlelength=2.6,
            columnspacing=1.4,
        )
        style_legend(legend, theme)
    return figure


def _draw_panel(
    axes: Axes, panel: Panel, lengths: Mapping[int, str], theme: Theme
) -> dict[str, Line2D]:
    style_axes(axes, theme)
    label_axes(
        axes, SCALE_LABEL, with_direction(panel.label, panel.higher_is_better, panel.unit), theme
    )
    title_axes(axes, panel.title, theme)
    table = panel.table.dropna(subset=["mean"])
    if table.empty:
        say_empty(axes, "Nothing was measured.", theme)
        return {}
    handles: dict[str, Line2D] = {}
    means = table["mean"].to_numpy(dtype=float)
    for length, group in by_length(table):
        style = series_style([*lengths].index(length), theme)
        x = group["scale"].to_numpy(dtype=float)
        low, high = group["low"].to_numpy(dtype=float), group["high"].to_numpy(dtype=float)
        axes.fill_between(x, low, high, color=style.colour, alpha=0.15, lw=0, zorder=2)
        if "spread" in group and not np.isfinite(low).any():
            mean, spread = (group[name].to_numpy(dtype=float) for name in ("mean", "spread"))
            for end in (mean - spread, mean + spread):
                axes.plot(x, end, color=style.colour, lw=1, ls=(0, (1, 2)), zorder=2, gid="seeds")
        name = lengths[length]
        (handles[name],) = axes.plot(
            x, group["mean"], color=style.colour, ls=style.line, lw=1.9, marker=style.marker, ms=6,
            mec=theme.paper, mew=0.8, zorder=3, label=name, gid=f"length-{length}",
        )  # fmt: skip
    ranges = [panel.chance_range or (), panel.ceiling_range or ()]
    lines = [
        v
        for v in (panel.chance, panel.ceiling, panel.include, *ranges[0], *ranges[1])
        if v is not None and math.isfinite(v)
    ]
    reach = max(0.6 * float(np.ptp(means)), 0.08 * float(np.abs(means).max()))
    ends = table[["low", "high"]].to_numpy(dtype=float).ravel()
    ends = np.clip(ends, means.min() - reach, means.max() + reach)
    limits = padded_limits([*means, *ends, *lines])
    if limits is not None:
        axes.set_ylim(*limits)
    scale_ticks(axes, sorted({float(s) for s in table["scale"]}))
    _draw_references(axes, panel, theme)
    return handles


def _draw_references(axes: Axes, panel: Panel, theme: Theme) -> None:
    """Bands from chance and from the ceiling outwards, a dashed line at each mean, named.

    The dark part of a band is where chance or ceiling lies for one source or another.
    """
    low, high = axes.get_ylim()
    pair = [v for v in (panel.chance, panel.ceiling) if v is not None and math.isfinite(v)]
    rising = panel.higher_is_better is not False if len(pair) < 2 else pair[1] > pair[0]
    for value, name, words, span, upwards in (
        (panel.chance, "chance", panel.names[0], panel.chance_range, not rising),
        (panel.ceiling, "ceiling", panel.names[1], panel.ceiling_range, rising),
    ):
        if value is None or not math.isfinite(value):
            continue
        inner, outer = (value, high) if upwards else (low, value)
        axes.axhspan(inner, outer, color=theme.band, lw=0, zorder=0.5, gid=f"{name}-band")
        if span is not None and span[1] > span[0]:
            axes.axhspan(*span, color=theme.grid, lw=0, zorder=0.6, gid=f"{name}-range")
        axes.axhline(value, color=theme.muted, lw=0.9, ls=(0, (4, 3)), zorder=1.2, gid=name)
        nearer_top = value > (low + high) / 2
        axes.annotate(
            words, (1, value), (-2, 3 if nearer_top else -3), textcoords="offset points",
            xycoords=("axes fraction", "data"), ha="right", va="bottom" if nearer_top else "top",
            color=theme.muted, fontsize=SMALL - 1, parse_math=False,
        )  # fmt: skip
    axes.set_ylim(low, high)
