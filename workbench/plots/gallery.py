"""Pictures in rows and columns, with names on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.plots.style import LIGHT, SMALL, Drawing, Theme, clean_text, new_figure, say_empty

CELL = 1.15
"""Width of a column in inches."""


def gallery_figure(
    rows: Sequence[tuple[str, Sequence[np.ndarray | None]]],
    heads: Sequence[str],
    *,
    theme: Theme = LIGHT,
) -> Drawing:
    """Draw pictures as a table: one row each with its name, one column for every head.

    Pictures keep their proportions; None leaves a place empty. Raises ValueError if a row does not
    have one picture (or None) for every head.

    Args:
        rows: (name, pictures), pictures uint8 H×W×3.
    """
    for name, pictures in rows:
        if len(pictures) != len(heads):
            raise ValueError(f"row {name}: {len(pictures)} pictures for {len(heads)} columns")
    shapes = [[p.shape[0] / p.shape[1] for p in pictures if p is not None] for _, pictures in rows]
    heights = [CELL * max(shape, default=1.0) for shape in shapes] or [CELL]
    left, top = 0.95, 0.3
    figure = new_figure(
        left + CELL * max(len(heads), 1), top + sum(heights) + 0.1, theme,
        alt=f"Pictures in rows ({', '.join(name for name, _ in rows)}) and columns "
        f"({', '.join(heads)}).",
    )  # fmt: skip
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    if not rows or not heads:
        say_empty(figure.add_axes((0, 0, 1, 1), frameon=False), "There is no picture.", theme)
        return figure
    for column, head in enumerate(heads):
        figure.text((left + (column + 0.5) * CELL) / width, 1 - 0.7 * top / height,
                    clean_text(head, 18), ha="center", va="center", fontsize=SMALL,
                    color=theme.ink, parse_math=False)  # fmt: skip
    at = top
    for (name, pictures), tall in zip(rows, heights, strict=True):
        figure.text(0.08 / width, 1 - (at + tall / 2) / height, clean_text(name, 14), va="center",
                    fontsize=SMALL, color=theme.ink, parse_math=False)  # fmt: skip
        for column, picture in enumerate(pictures):
            if picture is None:
                continue
            box = ((left + column * CELL + 0.03) / width, 1 - (at + tall - 0.03) / height,
                   (CELL - 0.06) / width, (tall - 0.06) / height)  # fmt: skip
            axes = figure.add_axes(box)
            axes.imshow(picture, interpolation="antialiased")
            axes.set_axis_off()
        at += tall
    return figure
