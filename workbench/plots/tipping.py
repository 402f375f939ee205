"""At which scale does the control override each word?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workbench.formats import number
from workbench.plots.curves import SCALE_LABEL
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
    style_legend,
    title_axes,
)

if TYPE_CHECKING:
    import pandas as pd

MARKS = {"tips": "o", "gains": "s", "never": ">", "always": "<"}
WORDS = {
    "tips": "obeyed up to here",
    "gains": "obeyed from here on",
    "never": "obeyed throughout",
    "always": "not obeyed at any scale",
}


def tipping_figure(
    table: pd.DataFrame,
    words: Sequence[str],
    *,
    title: str = "",
    limit: int = 40,
    theme: Theme = LIGHT,
) -> Drawing:
    """Draw the tipping scale of every tag with its interval; the first to give way on top.

    A tag that never tips stands at the right edge, one that is not obeyed at any scale at the left
    edge. Hollow markers: the answer is not clear. Bars that reach an edge go on beyond it.

    Args:
        table: rows of `analysis.tipping_scales` of one control type.
        words: the answer for each row in words (`analysis.tipping_words`), on the right.
        limit: the largest number of tags shown.
    """
    table, words = table.iloc[:limit], list(words)[:limit]
    figure = new_figure(
        7.4, 1.7 + 0.36 * max(len(table), 3), theme,
        alt=f"The scale from which the control overrides each tag, with intervals. {title}",
    )  # fmt: skip
    axes = figure.add_subplot()
    style_axes(axes, theme)
    axes.grid(False, axis="y")
    label_axes(axes, SCALE_LABEL, "Tag (first to give way on top)", theme)
    title_axes(axes, title, theme)
    if table.empty:
        axes.set(xticks=[], yticks=[])
        say_empty(axes, "No tag was read at two scales.", theme)
        return figure
    low, high = float(table["x_first"].min()), float(table["x_last"].max())
    margin = 0.05 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(len(table) - 0.4, -0.6)
    for edge in (low, high):
        axes.axvline(edge, color=theme.grid, lw=0.9, zorder=1)
    used: dict[str, tuple[Any, str]] = {}
    for place, row in enumerate(table.to_dict("records")):
        mine = {str(key): value for key, value in row.items()}
        used[mine["answer"]] = _draw_row(axes, place, mine, theme)
        axes.annotate(
            clean_text(words[place], 44), (1, place), (6, 0), textcoords="offset points",
            xycoords=("axes fraction", "data"), va="center", fontsize=SMALL, color=theme.ink,
            parse_math=False,
        )  # fmt: skip
    axes.set_yticks(
        range(len(table)), [clean_text(tag, 28) for tag in table["tag"]], parse_math=False
    )
    axes.tick_params(axis="y", length=0)
    ticks = sorted({low, high, *(s for s in axes.get_xticks() if low <= s <= high)})
    axes.set_xticks(ticks, [number(s) for s in ticks])
    _draw_legend(figure, used, table, theme)
    return figure


def _draw_row(axes: Axes, place: int, row: dict[str, Any], theme: Theme) -> tuple[Any, str]:
    """One tag: its interval and its marker. Returns the colour and the marker."""
    colour = series_style(
        {"tips": 1, "gains": 2, "never": 0, "always": 3}[row["answer"]], theme
    ).colour
    marker = MARKS[row["answer"]]
    left, right = axes.get_xlim()
    if not math.isnan(row["low"]):
        ends = max(row["low"], left), min(row["high"], right)
        axes.plot(ends, [place, place], color=colour, lw=2.4, alpha=0.55, zorder=2,
                  solid_capstyle="butt", gid=f"interval-{row['tag']}")  # fmt: skip
    at = row["scale"] if row["answer"] in ("tips", "gains") else row["x_last"]
    at = row["x_first"] if row["answer"] == "always" else at
    axes.plot(
        [at], [place], marker=marker, ms=8, ls="none", color=colour, mew=1.8, zorder=3,
        mfc=colour if row["clear"] else theme.paper, gid=f"tip-{row['tag']}",
    )  # fmt: skip
    return colour, marker


def _draw_legend(
    figure: Figure, used: dict[str, tuple[Any, str]], table: pd.DataFrame, theme: Theme
) -> None:
    handles = [
        Line2D([], [], marker=used[name][1], ms=8, ls="none", color=used[name][0], mew=1.8,
               label=words)
        for name, words in WORDS.items()
        if name in used
    ]  # fmt: skip
    if not table["clear"].all():
        handles.append(
            Line2D([], [], marker="o", ms=8, ls="none", color=theme.muted, mfc=theme.paper,
                   mew=1.8, label="hollow: not clear")
        )  # fmt: skip
    legend = figure.legend(handles=handles, loc="outside upper left", ncols=3)
    style_legend(legend, theme)
