"""The figures of the lessons."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd

from workbench.plots.style import (
    LIGHT,
    Drawing,
    Theme,
    label_axes,
    new_figure,
    series_style,
    style_axes,
    style_legend,
    title_axes,
)

PARTS = {
    "locked": "locked block Θ",
    "copy": "trainable copy Θc",
    "z1": "zero convolution Θz1",
    "z2": "zero convolution Θz2",
}
"""What figures call the parts of a `ControlledBlock`."""


def training_figure(table: pd.DataFrame, theme: Theme = LIGHT) -> Drawing:
    """Draw how far the parts of a block move, and its loss: `table` is what `train` returns."""
    figure = new_figure(
        9, 3.4, theme,
        alt="Left: how far the weights of each part have moved over the training steps; the "
        "locked block stays at 0. Right: the loss falls.",
    )  # fmt: skip
    left, right = figure.subplots(1, 2)
    for place, (name, label) in enumerate(PARTS.items()):
        style = series_style(place, theme)
        left.plot(table.index, table[name], color=style.colour, ls=style.line, lw=1.8, ms=4,
                  marker=style.marker, markevery=max(1, len(table) // 8), label=label)  # fmt: skip
    right.plot(table.index, table["loss"], color=series_style(0, theme).colour, lw=1.8)
    right.set_ylim(bottom=0)
    for axes, title, y in ((left, "Weights", "distance from the start"), (right, "Loss", "loss")):
        style_axes(axes, theme)
        title_axes(axes, title, theme)
        label_axes(axes, "training step", y, theme)
    style_legend(left.legend(), theme)
    return figure


def pictures_figure(pictures: Mapping[str, np.ndarray], theme: Theme = LIGHT) -> Drawing:
    """Draw pictures (uint8 H×W×3) side by side, each below its name."""
    side = 2.4
    figure = new_figure(
        side * max(len(pictures), 1), side + 0.35, theme, alt=f"Pictures: {', '.join(pictures)}."
    )
    for axes, (name, picture) in zip(
        figure.subplots(1, len(pictures), squeeze=False)[0], pictures.items(), strict=True
    ):
        axes.imshow(picture, interpolation="antialiased")
        axes.set_axis_off()
        title_axes(axes, name, theme)
    return figure


class Source(str):
    """Code that a notebook shows in colours."""

    def _repr_markdown_(self) -> str:
        return f"```python\n{self}\n```"


def source(thing: object) -> Source:
    """The code of a function or class, as the last line of a cell, without its docstrings."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))  # type: ignore[arg-type]
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    return Source(ast.unparse(tree))
