"""Who is driving: influences of text and control over the steps, and over the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

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
    title_axes,
)

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = 3
_GROUP = ["control", "label", "scale"]
_SERIES = ("text", "control", "interaction")
_NAMES = (*_SERIES, "base")
_ROWS: tuple[tuple[str, dict[str, str], bool | None], ...] = (
    ("Influence on the prediction\n[RMS per element]", {n: n for n in _SERIES}, False),
    (
        "Influence on the step taken\n[RMS per element]",
        {"text": "guided text", "control": "guided control", "interaction": "guided interaction"},
        True,
    ),
    ("Share of the step taken", {name: f"share of {name}" for name in _NAMES}, None),
)
"""Label, name of a curve -> its metric, and which of the two comparisons is marked."""
_STRIP = 0.965
_HEAT = "magma"


def influence_curves(
    curves: pd.DataFrame, driving: Mapping[bool, pd.DataFrame], *, theme: Theme = LIGHT
) -> Drawing:
    """Draw who is driving over the steps, in three panels one below the other.

    They show how far the prediction moves without the text, without the control; the same of the
    prediction under guidance, which the step follows; and the shares of all parts in it. There is a
    column for each control, form of the prompt and scale. Bands are 95 % intervals over sources;
    the bar on top of a panel says who is clearly ahead.

    Args:
        curves: as `influences.curves` returns it.
        driving: as `influences.driving` returns it, before guidance (False) and under it (True).
    """
    groups = list(curves.groupby(_GROUP, sort=True))
    across = min(COLUMNS, max(1, len(groups)))
    down = max(1, math.ceil(len(groups) / across))
    figure = new_figure(
        4.4 * across + 0.5, 7.2 * down + 0.4, theme,
        alt="Influence of text, control and their interaction over the denoising steps, before and "
        "under guidance, and their shares in the guided prediction: "
        f"{', '.join(_name(key) for key, _ in groups)}.",
    )  # fmt: skip
    grid = figure.subplots(len(_ROWS) * down, across, squeeze=False, sharex=True, sharey="row")
    if not groups:
        say_empty(style_axes(grid[0, 0], theme), "Nobody looked at any picture.", theme)
    for place in range(across * down):
        top, column = len(_ROWS) * (place // across), place % across
        panels = grid[top : top + len(_ROWS), column]
        if place >= len(groups):
            for axes in panels[0 if groups else 1 :]:
                axes.set_visible(False)
            continue
        key, mine = groups[place]
        for axes, (label, metrics, guided) in zip(panels, _ROWS, strict=True):
            style_axes(axes, theme)
            for name, metric in metrics.items():
                _draw_series(axes, mine[mine["metric"] == metric], name, theme)
            last = axes is panels[-1]
            label_axes(axes, "Denoising step" if last else "", label if not column else "", theme)
            axes.tick_params(labelbottom=last)
            if guided is not None:
                ahead = driving[guided]
                _draw_ahead(axes, ahead[(ahead[_GROUP] == list(key)).all(axis=1)], theme)
        title_axes(panels[0], _name(key), theme)
        panels[-1].axhline(0, color=theme.muted, lw=0.8, zorder=1)
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    for place, row in enumerate(grid):
        _limit(row, signed=_ROWS[place % len(_ROWS)][2] is None)
    if groups:
        legend = figure.legend(
            handles=[_handle(name, theme) for name in _NAMES], loc="outside upper left",
            ncols=len(_NAMES), handlelength=2.6,
        )  # fmt: skip
        style_legend(legend, theme)
    return figure


def influence_maps(
    picture: np.ndarray,
    maps: Mapping[int, Mapping[str, np.ndarray]],
    control_map: np.ndarray | None = None,
    *,
    title: str = "",
    theme: Theme = LIGHT,
) -> Drawing:
    """Draw where text, control and interaction pull, one column a step, beside the picture.

    All maps of a figure share one scale of colours.

    Args:
        picture: at the end of the way, uint8 H×W×3.
        maps: step -> "text", "control", "interaction" -> float h×w.
        control_map: what the ControlNet saw, uint8 H×W×3.
    """
    steps = sorted(maps)
    figure = new_figure(
        1.75 * (len(steps) + 1) + 1.3, 1.75 * len(_SERIES) + 0.7, theme,
        alt=f"Where text, control and interaction pull in a picture ({title}), at steps "
        f"{', '.join(map(str, steps))}.",
    )  # fmt: skip
    grid = figure.subplots(len(_SERIES), len(steps) + 1, squeeze=False)
    figure.suptitle(
        clean_text(title), x=0.01, ha="left", fontsize=BODY + 0.5, fontweight="bold",
        color=theme.ink, parse_math=False,
    )  # fmt: skip
    most = max((float(grid.max()) for step in maps.values() for grid in step.values()), default=0.0)
    shown = None
    for row, name in enumerate(_SERIES):
        for column, step in enumerate(steps, start=1):
            axes = grid[row, column]
            shown = axes.imshow(maps[step][name], cmap=_HEAT, vmin=0, vmax=most or 1.0)
            _bare(axes, f"step {step}" if row == 0 else "", theme)
        grid[row, 1 if steps else 0].set_ylabel(name.capitalize(), fontsize=BODY, color=theme.ink)
    grid[0, 0].imshow(picture)
    _bare(grid[0, 0], "picture", theme)
    if control_map is not None:
        grid[1, 0].imshow(control_map)
        _bare(grid[1, 0], "control map", theme)
    for row in range(1 if control_map is None else 2, len(_SERIES)):
        grid[row, 0].set_visible(False)
    if shown is not None:
        bar = figure.colorbar(shown, ax=grid[:, -1], shrink=0.9)
        bar.ax.tick_params(colors=theme.muted, labelcolor=theme.ink, labelsize=SMALL)
        bar.set_label("RMS over channels", fontsize=SMALL, color=theme.ink)
        bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def attention_maps(
    picture: np.ndarray,
    words: Mapping[str, np.ndarray],
    *,
    title: str = "",
    theme: Theme = LIGHT,
) -> Drawing:
    """Draw where each word of a prompt looks: above with the control, below without it.

    The two maps of a word share one scale of colours, from 0 to the larger of their maxima; words
    have scales of their own.

    Args:
        picture: at the end of the way, uint8 H×W×3.
        words: word -> float (2, h, w), with the control and without it.
    """
    figure = new_figure(
        1.6 * (len(words) + 1) + 0.3, 4.0, theme,
        alt=f"Where the words look in a picture ({title}), with the control and without it: "
        f"{', '.join(words)}.",
    )  # fmt: skip
    grid = figure.subplots(2, len(words) + 1, squeeze=False)
    figure.suptitle(
        clean_text(title), x=0.01, ha="left", fontsize=BODY + 0.5, fontweight="bold",
        color=theme.ink, parse_math=False,
    )  # fmt: skip
    for column, (word, both) in enumerate(words.items(), start=1):
        for row, heat in enumerate(both):
            shown = clean_text(word, 18) if row == 0 else ""
            grid[row, column].imshow(heat, cmap=_HEAT, vmin=0, vmax=float(both.max()) or 1.0)
            _bare(grid[row, column], shown, theme)
    for row, name in enumerate(("with control", "without")):
        grid[row, 1 if words else 0].set_ylabel(name, fontsize=BODY, color=theme.ink)
    grid[0, 0].imshow(picture)
    _bare(grid[0, 0], "picture", theme)
    grid[1, 0].set_visible(False)
    return figure


def _draw_series(axes: Axes, rows: pd.DataFrame, name: str, theme: Theme) -> None:
    mine, look = rows.sort_values("step"), _look(name, theme)
    low, high = (mine[end].to_numpy(dtype=float) for end in ("low", "high"))
    axes.fill_between(mine["step"], low, high, color=look["color"], alpha=0.15, lw=0, zorder=2)
    axes.plot(
        mine["step"], mine["mean"], ms=4, mec=theme.paper, mew=0.6, zorder=3, gid=name, **look
    )


def _draw_ahead(axes: Axes, ahead: pd.DataFrame, theme: Theme) -> None:
    """The bar that says who is clearly ahead at which step."""
    for name in ("text", "control"):
        for step in ahead.loc[ahead["driver"] == name, "step"]:
            axes.plot(
                [step - 0.5, step + 0.5], [_STRIP, _STRIP], transform=axes.get_xaxis_transform(),
                color=_look(name, theme)["color"], lw=5, solid_capstyle="butt", gid=f"ahead-{name}",
            )  # fmt: skip
    if not (ahead["driver"] != "").any():
        axes.text(
            0.99, _STRIP, "neither is clearly ahead", transform=axes.transAxes, ha="right",
            va="center", fontsize=SMALL - 1, color=theme.muted, parse_math=False,
        )  # fmt: skip


def _limit(row: np.ndarray, *, signed: bool) -> None:
    """Limits of the panels of one row: all means, and bands as far as they leave those room.

    signed: whether values below 0 mean anything; a root mean square has none.
    """
    lines = [line for axes in row for line in axes.lines if line.get_gid() in _NAMES]
    ends = padded_limits(float(y) for line in lines for y in np.asarray(line.get_ydata(), float))
    if ends is not None:
        low, high = ends
        reach = 0.6 * (high - low)
        top = min(max(axes.dataLim.y1 for axes in row), high + reach)
        bottom = max(min(axes.dataLim.y0 for axes in row), low - reach)
        bottom = min(bottom, 0.0) if signed else 0.0
        row[0].set_ylim(bottom, top + 0.12 * (top - bottom))


def _look(name: str, theme: Theme) -> dict[str, Any]:
    if name == "base":
        return {"color": theme.muted, "ls": ":", "lw": 1.5}
    style = series_style(_NAMES.index(name), theme)
    return {"color": style.colour, "ls": style.line, "marker": style.marker, "lw": 1.9}


def _handle(name: str, theme: Theme) -> Line2D:
    words = {"base": "neither (base)"}
    return Line2D([], [], label=words.get(name, name), **_look(name, theme))


def _name(key: tuple[object, ...]) -> str:
    control, label, scale = map(str, key)
    return f"{control[:1].upper()}{control[1:]}, {label}, scale {number(float(scale))}"


def _bare(axes: Axes, title: str, theme: Theme) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(title, fontsize=SMALL, color=theme.ink, parse_math=False)
