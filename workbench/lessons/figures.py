"""The figures of the lessons."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from workbench.lessons.convergence import Moment
from workbench.lessons.network import Block, Network
from workbench.lessons.residuals import Residual
from workbench.plots.style import (
    LIGHT,
    SMALL,
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


def learning_figure(
    log: pd.DataFrame,
    pictures: Mapping[str, np.ndarray] | None = None,
    moment: Moment | None = None,
    theme: Theme = LIGHT,
) -> Drawing:
    """Draw how a ControlNet learns: loss, adherence with its moment, and one picture.

    log: columns step, and loss or adherence or both. pictures: uint8 H×W×3, by name. moment:
        marked where there is one.
    """
    shown, kinds = dict(pictures or {}), [n for n in ("loss", "adherence") if n in log]
    words = "" if moment is None else " " + moment.text
    figure = new_figure(
        3.3 * len(kinds) + 1.6 * len(shown), 2.7, theme,
        alt=f"Over the training steps: {' and '.join(kinds)}.{words}",
    )  # fmt: skip
    wide = [3.3] * len(kinds) + [1.6] * len(shown)
    every = figure.subplots(1, len(wide), width_ratios=wide, squeeze=False)[0]
    for place, (name, axes) in enumerate(zip(kinds, every, strict=False)):
        rows = log.dropna(subset=[name])
        axes.plot(rows["step"], rows[name], color=series_style(place, theme).colour, lw=1.8,
                  marker="o", ms=3)  # fmt: skip
        style_axes(axes, theme)
        title_axes(axes, name.capitalize(), theme)
        label_axes(axes, "training step", "", theme)
        if name == "loss":
            axes.set_ylim(bottom=0)
        elif len(rows):
            axes.set_ylim(min(-0.05, rows[name].min() - 0.03), max(1.05, rows[name].max() + 0.03))
    if moment is not None and moment.found and "adherence" in kinds:
        axes = every[kinds.index("adherence")]
        axes.axvspan(moment.low, moment.high, color=theme.band, zorder=0, gid="moment")
    for axes, (name, picture) in zip(every[len(kinds) :], shown.items(), strict=True):
        axes.imshow(picture, interpolation="antialiased")
        axes.set_axis_off()
        axes.set_title(name, fontsize=SMALL, color=theme.ink)
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


def network_figure(net: Network, theme: Theme = LIGHT) -> Drawing:
    """Draw a network and its ControlNet, one box for each block, from top (input) to bottom.

    Encoder, copy and decoder of a UNet stand side by side: what is on one line has one size, and
    along the line goes the skip connection. Z are the zero convolutions. A transformer has one
    column of blocks, into each of which its ControlNet adds.
    """
    rows = len(net.of("encoder")) + 1 if net.of("encoder") else len(net.of("decoder"))
    tall = 0.36 if net.of("encoder") else 0.19
    figure = new_figure(
        9.6, 1.2 + rows * tall, theme,
        alt=f"{net.label}: {len(net.of('copy'))} blocks are copied"
        + (", and the middle; each adds to a skip connection." if net.of("encoder") else "."),
    )  # fmt: skip
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, 10)
    axes.set_ylim(rows + 0.2, -1)
    title_axes(axes, net.label, theme)
    pen = _Pen(axes, theme)
    if net.of("encoder"):
        _draw_unet(pen, net)
    else:
        _draw_transformer(pen, net)
    return figure


@dataclass(frozen=True)
class _Pen:
    axes: Axes
    theme: Theme

    def box(self, block: Block, left: float, top: float, *, tall: float = 0.8) -> None:
        copied = block.part.startswith("copy")
        self.axes.add_patch(
            FancyBboxPatch(
                (left, top + 0.1), 2.4, tall, boxstyle="round,pad=0,rounding_size=0.12", lw=1.2,
                facecolor=self.theme.band, edgecolor=self.colour(copied), zorder=3,
                ls="-" if copied else (0, (4, 1.5)),
            )
        )  # fmt: skip
        shape = "×".join(map(str, block.shape))
        self.write(f"{block.name}   {shape}", left + 1.2, top + 0.1 + tall / 2)

    def write(self, text: str, x: float, y: float, *, size: float = SMALL - 2) -> None:
        self.axes.text(x, y, text, ha="center", va="center", fontsize=size, color=self.theme.ink,
                       parse_math=False, zorder=5)  # fmt: skip

    def line(self, x: float, y: float, to_x: float, to_y: float, *, control: bool = False) -> None:
        self.axes.annotate(
            "", (to_x, to_y), (x, y), zorder=1,
            arrowprops={"arrowstyle": "-|>", "lw": 1.1, "color": self.colour(control),
                        "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip

    def skip(self, y: float) -> None:
        """From the encoder, behind the copy, into the sum."""
        self.axes.plot([2.5, 6.6, 6.6], [y - 0.28, y - 0.28, y], lw=1.1, zorder=1,
                       color=self.colour(False))  # fmt: skip

    def knob(self, text: str, x: float, y: float, *, control: bool) -> None:
        self.axes.text(
            x, y, text, ha="center", va="center", fontsize=SMALL - 2, color=self.theme.ink,
            parse_math=False, zorder=6,
            bbox={"boxstyle": "circle,pad=0.12", "fc": self.theme.paper,
                  "ec": self.colour(control)},
        )  # fmt: skip

    def colour(self, control: bool) -> str:
        return series_style(1 if control else 0, self.theme).colour


def _draw_unet(pen: _Pen, net: Network) -> None:
    encoder, decoder, copied = net.of("encoder"), net.of("decoder"), net.of("copy")
    heads = ("encoder, locked", "copy, trainable, sees the map", "decoder, locked")
    for x, head in zip((1.3, 4.3, 8.5), heads, strict=True):
        pen.write(head, x, -0.45, size=SMALL)
    for row, (block, copy) in enumerate(zip(encoder, copied, strict=True)):
        partner = decoder[-1 - row]
        y = row + 0.5
        pen.skip(y)
        pen.line(5.5, y, 6.6, y, control=True)
        pen.line(6.6, y, 7.3, y)
        pen.box(block, 0.1, row)
        pen.box(copy, 3.1, row)
        pen.box(partner, 7.3, row)
        pen.knob("Z", 6.0, y, control=True)
        pen.knob("+", 6.6, y, control=False)
    row = len(encoder)
    pen.skip(row + 0.5)
    pen.line(5.5, row + 0.5, 6.6, row + 0.5, control=True)
    pen.line(6.6, row + 0.5, 8.5, row - 0.1)
    pen.box(net.of("middle")[0], 0.1, row)
    pen.box(net.of("copy's middle")[0], 3.1, row)
    pen.knob("Z", 6.0, row + 0.5, control=True)
    pen.knob("+", 6.6, row + 0.5, control=False)


def _draw_transformer(pen: _Pen, net: Network) -> None:
    blocks, copied = net.of("decoder"), net.of("copy")
    pen.write("ControlNet, trainable", 2.3, -0.45, size=SMALL)
    pen.write("transformer, locked", 7.5, -0.45, size=SMALL)
    each = len(blocks) / len(copied)
    for row, block in enumerate(blocks):
        pen.box(block, 6.3, row)
    for place, copy in enumerate(copied):
        top = place * each + (each - 1) / 2
        pen.box(copy, 1.1, top)
        pen.knob("Z", 4.3, top + 0.5, control=True)
        pen.line(3.5, top + 0.5, 4.3, top + 0.5, control=True)
        for to in range(round(place * each), round((place + 1) * each)):
            pen.line(4.3, top + 0.5, 6.3, to + 0.5, control=True)


def residuals_figure(found: Sequence[Residual], theme: Theme = LIGHT) -> Drawing:
    """Draw what a ControlNet adds in one step: bars over depth, and for each a map of the picture.

    Each map has its own range, from 0 (dark) to its largest value.
    """
    names = [residual.block for residual in found]
    figure = new_figure(
        1.35 * len(found) + 0.6, 4.0, theme,
        alt="What each block of the ControlNet adds: "
        + ", ".join(f"{r.block} {r.strength:.2f}" for r in found) + ".",
    )  # fmt: skip
    grid = figure.add_gridspec(2, len(found), height_ratios=(1.25, 1))
    bars = style_axes(figure.add_subplot(grid[0, :]), theme)
    bars.bar(range(len(found)), [r.strength for r in found], 0.6,
             color=series_style(1, theme).colour)  # fmt: skip
    bars.set_xticks(range(len(found)), names)
    bars.set_xlim(-0.5, len(found) - 0.5)
    label_axes(bars, "block, from shallow to deep", "what is added ÷\nwhat it is added to", theme)
    for place, residual in enumerate(found):
        axes = figure.add_subplot(grid[1, place])
        axes.imshow(residual.map, cmap="magma", vmin=0)
        axes.set_axis_off()
        side = "×".join(map(str, residual.shape[1:]))
        axes.set_title(side, fontsize=SMALL - 1, color=theme.muted)
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
