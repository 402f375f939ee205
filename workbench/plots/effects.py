"""What control and prompt length change, type by type: one panel for each question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from workbench.formats import number
from workbench.plots.style import (
    BODY,
    LIGHT,
    SMALL,
    Drawing,
    Theme,
    clean_text,
    label_axes,
    new_figure,
    padded_limits,
    say_empty,
    series_style,
    style_axes,
    style_legend,
)

if TYPE_CHECKING:
    import pandas as pd

ROW = 0.42
"""Inches for one control type."""
PANEL = 2.75
"""Inches for one question."""
COLUMNS = 3
"""Questions side by side; the others stand below."""


@dataclass(frozen=True)
class EffectPanel:
    """One question: rows of `analysis.effects`, with `control` being the type without its base.

    title: may have line breaks. label: of the horizontal axis. percent: changes are shares.
    """

    table: pd.DataFrame
    title: str
    label: str
    percent: bool = False


def effects_figure(
    panels: Sequence[EffectPanel],
    *,
    labels: Mapping[str, str] | None = None,
    theme: Theme = LIGHT,
) -> Drawing:
    """Draw changes with their intervals: rows are control types, panels questions.

    Base models stand below each other in a row, told by marker and colour. A filled marker: the
    change is a clear one. The vertical line is no change. Where the table has to_chance and
    to_ceiling, a band reaches from one to the other: the room there is for a change.

    Args:
        labels: control type -> what it is called (default: its name).
    """
    labels = labels or {}
    controls = list(dict.fromkeys(str(c) for panel in panels for c in panel.table["control"]))
    bases = sorted({str(b) for panel in panels for b in panel.table["base"]} - {""})
    columns = max(1, min(len(panels), COLUMNS))
    lines = max(1, math.ceil(len(panels) / COLUMNS))
    height = 0.8 + lines * (1.2 + ROW * max(len(controls), 3))
    figure = new_figure(
        1.6 + PANEL * max(columns, 2), height, theme,
        alt="Changes by control type, with intervals: rows are control types, panels questions.",
    )  # fmt: skip
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel, controls, bases, theme)
    for axes in grid[max(1, len(panels)) :]:
        axes.set_visible(False)
    if not controls:
        style_axes(grid[0], theme)
        label_axes(grid[0], "Change", "Control type", theme)
        say_empty(grid[0], "Nothing changed along the scale or the prompt length.", theme)
        return figure
    names = [clean_text(labels.get(name, name), 24) for name in controls]
    grid[0].set_yticks(range(len(controls)), names, parse_math=False)
    grid[0].set_ylim(len(controls) - 0.5, -0.5)
    _draw_legend(figure, panels, bases, theme)
    return figure


def _draw_panel(
    axes: Axes, panel: EffectPanel, controls: list[str], bases: list[str], theme: Theme
) -> None:
    style_axes(axes, theme)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    label_axes(axes, panel.label, "", theme)
    axes.set_title(
        "\n".join(clean_text(line) for line in panel.title.split("\n")), loc="left", pad=6,
        fontsize=BODY, color=theme.ink, parse_math=False,
    )  # fmt: skip
    for place in range(0, len(controls), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=theme.band, lw=0, zorder=0.5)
    axes.axvline(0, color=theme.muted, lw=0.9, ls=(0, (4, 3)), zorder=1.2, gid="no change")
    ends, rooms = [0.0], [0.0]
    for row in panel.table.dropna(subset=["change"]).to_dict("records"):
        base = str(row["base"])
        slot = bases.index(base) - (len(bases) - 1) / 2 if base in bases else 0.0
        at = controls.index(str(row["control"])) + slot * 0.62 / max(len(bases), 1)
        style = _style(base, bases, theme)
        name = f"{row['control']}-{base}"
        rooms += _draw_room(axes, row, at, 0.62 / max(len(bases), 1), theme)
        if math.isfinite(row["low"]):
            axes.plot([row["low"], row["high"]], [at, at], color=style[0], lw=2.2, zorder=2,
                      solid_capstyle="butt", gid=f"interval-{name}")  # fmt: skip
            ends += [row["low"], row["high"]]
        clear = row["direction"] in ("rises", "falls")
        axes.plot(
            [row["change"]], [at], marker=style[1], ms=6.5, ls="none", color=style[0], mew=1.6,
            mfc=style[0] if clear else theme.paper, zorder=3, gid=f"change-{name}",
        )  # fmt: skip
        ends.append(row["change"])
    # Room far beyond the changes runs off, or they could not be told apart.
    reach = max(max(ends) - min(ends), 1e-9)
    rooms = [min(max(room, min(ends) - reach), max(ends) + reach) for room in rooms]
    axes.set_xlim(*(padded_limits([*ends, *rooms]) or (-1, 1)))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    shown = (lambda v, _: f"{number(100 * v, 0)} %") if panel.percent else lambda v, _: number(v)
    axes.xaxis.set_major_formatter(FuncFormatter(shown))


def _draw_room(
    axes: Axes, row: Mapping[Any, Any], at: float, height: float, theme: Theme
) -> list[float]:
    """The band from chance to the ceiling of one row, closed at the two; returns its ends."""
    ends = {name: float(row.get(f"to_{name}", math.nan)) for name in ("chance", "ceiling")}
    if not all(math.isfinite(end) for end in ends.values()):
        return []
    left, right = sorted(ends.values())
    name = f"{row['control']}-{row['base']}"
    axes.add_patch(
        Rectangle((left, at - height / 2), right - left, height, fc=theme.grid, ec="none",
                  alpha=0.7, zorder=0.8, gid=f"room-{name}")
    )  # fmt: skip
    for kind, end in ends.items():
        axes.plot([end, end], [at - height / 2, at + height / 2], color=theme.muted,
                  lw=1.4, ls="-" if kind == "ceiling" else (0, (1.5, 1.5)), zorder=1.5,
                  gid=f"{kind}-{name}")  # fmt: skip
    return [left, right]


def _style(base: str, bases: list[str], theme: Theme) -> tuple[str, str]:
    """Colour and marker of a base model; in ink where nothing is said of a single one."""
    if base not in bases:
        return theme.ink, "D"
    style = series_style(bases.index(base), theme)
    return style.colour, style.marker


def _draw_legend(
    figure: Figure, panels: Sequence[EffectPanel], bases: list[str], theme: Theme
) -> None:
    kinds = [*(bases if len(bases) > 1 else [])]
    if len(bases) > 1 and any((panel.table["base"] == "").any() for panel in panels):
        kinds.append("")
    words = {"": "between base models"} | {base: f"base model {base}" for base in bases}
    handles = [
        Line2D([], [], ls="none", ms=6.5, mew=1.6, color=_style(kind, bases, theme)[0],
               marker=_style(kind, bases, theme)[1], label=clean_text(words[kind], 40))
        for kind in kinds
    ]  # fmt: skip
    clear = [panel.table["direction"].isin(["rises", "falls"]) for panel in panels]
    if not all(column.all() for column in clear):
        handles.append(
            Line2D([], [], marker="o", ms=6.5, ls="none", color=theme.muted, mfc=theme.paper,
                   mew=1.6, label="hollow: no clear change")
        )  # fmt: skip
    if any(panel.table["low"].notna().any() for panel in panels):
        handles.append(Line2D([], [], color=theme.ink, lw=2.2, label="95 % interval over sources"))
    if any("to_chance" in p.table and p.table["to_chance"].notna().any() for p in panels):
        handles += [
            Line2D([], [], color=theme.muted, lw=1.4, ls=(0, (1.5, 1.5)), label="chance"),
            Line2D([], [], color=theme.muted, lw=1.4, label="ceiling"),
        ]
    if handles:
        legend = figure.legend(handles=handles, loc="outside upper left", ncols=3)
        style_legend(legend, theme)
    for axes in figure.axes:
        axes.tick_params(axis="x", labelsize=SMALL)
