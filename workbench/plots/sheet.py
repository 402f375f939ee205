"""The contact sheet: the pictures themselves, laid out like the study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from workbench.formats import number
from workbench.plots.style import (
    BODY,
    LIGHT,
    SMALL,
    Drawing,
    Theme,
    clean_text,
    new_figure,
    say_empty,
)

CELL = 1.0
"""Side of one picture in inches."""
_GAP = 0.05
_LEFT = 1.55
_TOP = 0.72


@dataclass(frozen=True, eq=False)
class SheetRow:
    """One row of the sheet: a source at one prompt length.

    group: what several rows share, for example the source; written once.
    label: what is this row's own, for example ``3 tags``.
    source, control_map: uint8 H×W×3, or None where there is none.
    samples: one picture for every scale of the sheet; None is shown as an empty frame.
    """

    group: str
    label: str
    source: np.ndarray | None
    control_map: np.ndarray | None
    samples: Sequence[np.ndarray | None]


def contact_sheet_figure(
    rows: Sequence[SheetRow],
    scales: Sequence[float],
    *,
    title: str = "",
    theme: Theme = LIGHT,
    cell: float = CELL,
) -> Drawing:
    """Draw a sheet of pictures: source and control map in front, then one column for each scale.

    A source and a map which a row shares with the row above are drawn once. `cell` is the side of a
    picture in inches. Raises ValueError unless a row has one sample (or None) for every scale.
    """
    for row in rows:
        if len(row.samples) != len(scales):
            raise ValueError(
                f"row {row.group} {row.label}: {len(row.samples)} samples for {len(scales)} scales"
            )
    fronts = _fronts(rows)
    columns = len(fronts) + max(len(scales), 2)  # two hold the words above the scales
    tall = max(len(rows), 1)
    breaks = sum(a.group != b.group for a, b in pairwise(rows))
    width = _LEFT + columns * (cell + _GAP) + 0.15 + 0.08
    height = _TOP + tall * (cell + _GAP) + breaks * 0.10 + 0.08
    figure = new_figure(
        width, height, theme,
        alt=f"Contact sheet {title}: source and map in front, then one column for each scale.",
    )  # fmt: skip
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    if not rows:
        say_empty(axes, "There is no picture to show.", theme)
        return figure
    _draw_heads(axes, [*fronts, *map(number, scales)], len(fronts), clean_text(title), cell, theme)
    top, above = _TOP, None
    for row in rows:
        if above is not None and row.group != above.group:
            axes.plot([0.08, width - 0.08], [top + 0.025] * 2, color=theme.grid, lw=0.8)
            top += 0.10
        _draw_row(axes, fronts, row, above, (top, cell), theme)
        top += cell + _GAP
        above = row
    return figure


def _fronts(rows: Sequence[SheetRow]) -> list[str]:
    """Names of the columns in front: source and control map, where any row has one."""
    fronts = {"source": [row.source for row in rows], "control map": [r.control_map for r in rows]}
    return [name for name, pictures in fronts.items() if any(p is not None for p in pictures)]


def _left(column: int, fronts: int, cell: float) -> float:
    """Left edge of a column; the samples stand a little apart from source and map."""
    return _LEFT + column * (cell + _GAP) + (0.15 if column >= fronts else 0)


def _draw_heads(
    axes: Axes, heads: Sequence[str], fronts: int, title: str, cell: float, theme: Theme
) -> None:
    text: dict[str, Any] = {
        "color": theme.ink,
        "fontsize": SMALL,
        "va": "bottom",
        "parse_math": False,
    }
    axes.text(0.08, 0.26, title, **{**text, "fontsize": BODY + 0.5, "fontweight": "bold"})
    for column, head in enumerate(heads):
        axes.text(_left(column, fronts, cell) + cell / 2, _TOP - 0.05, head, ha="center", **text)
    axes.text(
        _left(fronts, fronts, cell),
        _TOP - 0.23,
        "conditioning scale →",
        **{**text, "color": theme.muted},
    )


def _draw_row(
    axes: Axes,
    fronts: Sequence[str],
    row: SheetRow,
    above: SheetRow | None,
    place: tuple[float, float],
    theme: Theme,
) -> None:
    """`place`: top of the row and side of its pictures."""
    top, cell = place
    first = above is None or above.group != row.group
    text: dict[str, Any] = {"va": "center", "parse_math": False}
    if first:
        group = "\n".join(wrap(clean_text(row.group, 34), 17)[:2])
        axes.text(0.08, top + 0.32, group, fontsize=SMALL, color=theme.ink, fontweight="bold",
                  **text)  # fmt: skip
    axes.text(0.08, top + (0.66 if first else 0.5), clean_text(row.label, 20), fontsize=SMALL,
              color=theme.ink, **text)  # fmt: skip
    for column, name in enumerate(fronts):
        picture = row.source if name == "source" else row.control_map
        earlier = None if above is None else above.source if name == "source" else above.control_map
        if first or picture is not earlier:
            _draw_picture(axes, picture, (_left(column, len(fronts), cell), top, cell), theme)
    for column, sample in enumerate(row.samples, start=len(fronts)):
        _draw_picture(axes, sample, (_left(column, len(fronts), cell), top, cell), theme)


def _draw_picture(
    axes: Axes, picture: np.ndarray | None, place: tuple[float, float, float], theme: Theme
) -> None:
    """`place`: left edge, top and side."""
    left, top, cell = place
    if picture is None:
        axes.fill(
            [left, left + cell, left + cell, left], [top, top, top + cell, top + cell],
            facecolor=theme.band, edgecolor=theme.grid, hatch="///", lw=0.6,
        )  # fmt: skip
        return
    limits = axes.get_xlim(), axes.get_ylim()
    extent = (left, left + cell, top + cell, top)
    axes.imshow(picture, extent=extent, interpolation="antialiased", aspect="auto", zorder=2)
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])
