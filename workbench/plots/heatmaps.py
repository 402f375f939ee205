"""Heat maps over the conditioning scale: prompt lengths, or single tags."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, TwoSlopeNorm
from matplotlib.patches import Rectangle

from workbench.formats import number
from workbench.plots.curves import SCALE_LABEL, Panel
from workbench.plots.style import (
    BODY,
    LIGHT,
    SMALL,
    Drawing,
    Theme,
    clean_text,
    direction,
    label_axes,
    lengths_of,
    new_figure,
    say_empty,
    style_axes,
    title_axes,
    with_direction,
)

if TYPE_CHECKING:
    import pandas as pd

FELL, ROSE = "▼", "▲"


@dataclass(frozen=True, eq=False)
class Cells:
    """What a heat map shows.

    values: one for each cell, NaN where nothing was measured. heads name the columns, names the
    rows, bar_label the colours. texts: what stands in the cells, if not the values. references:
    chance and ceiling, if known.
    """

    values: np.ndarray
    heads: Sequence[str]
    names: Sequence[str]
    bar_label: str
    norm: Normalize
    colours: Colormap | None = None
    texts: Sequence[Sequence[str]] = ()
    references: tuple[float | None, float | None] = (None, None)


def length_heatmap(
    panel: Panel, *, limits: tuple[float, float] | None = None, theme: Theme = LIGHT
) -> Drawing:
    """Draw the mean of a metric for every prompt length (rows) and scale (columns).

    Args:
        panel: its table has columns length, scale, mean (as `analysis.curve` returns for one
            control type). Chance and ceiling are named beside the colours; cells beyond them are
            dotted.
        limits: ends of the colour scale, for figures to be compared; None takes the data's.
    """
    table = panel.table
    data = table.dropna(subset=["mean"])
    named = lengths_of(table)
    lengths = [*named][::-1]
    scales = sorted({float(s) for s in table["scale"]})
    figure = new_figure(
        1.9 + 0.8 * max(len(scales), 4), 1.5 + 0.5 * max(len(lengths), 3), theme,
        alt=f"Heat map of {panel.label}: rows are prompt lengths, columns scales. {panel.title}",
    )  # fmt: skip
    axes = figure.add_subplot()
    _prepare(axes, theme, title=panel.title, y="Prompt length")
    if data.empty:
        say_empty(axes, "Nothing was measured.", theme)
        return figure
    values = _pivot(data, "length", lengths, scales, "mean")
    low, high = limits or (float(np.nanmin(values)), float(np.nanmax(values)))
    norm = Normalize(low, high if high > low else low + 1e-9)
    cells = Cells(
        values, [number(s) for s in scales], [named[n] for n in lengths],
        with_direction(panel.label, panel.higher_is_better, panel.unit), norm,
        references=(panel.chance, panel.ceiling),
    )  # fmt: skip
    draw_cells(axes, cells, theme)
    return figure


def tag_heatmap(
    table: pd.DataFrame,
    slopes: pd.DataFrame | None = None,
    references: pd.DataFrame | None = None,
    *,
    label: str = "score of the tag",
    title: str = "",
    limit: int = 40,
    theme: Theme = LIGHT,
) -> Drawing:
    """Draw which words the control overrides: how the score of each tag moves with the scale.

    Cells show the score; their colour is its change from the smallest scale. The tag which loses
    most stands on top, and a triangle marks tags whose slope clearly falls (▼) or rises (▲).

    Args:
        table: columns tag, scale, mean (as `analysis.per_tag` returns for one control type).
        slopes: columns tag, slope, direction (as `analysis.tag_slopes` returns); gives order and
            marks. Without it tags are ordered by their change from the first to the last scale.
        references: columns tag, chance, ceiling (as `analysis.tag_references` returns); they get
            columns of their own, coloured as if the score changed to them.
        limit: the largest number of tags shown.
    """
    data = table.dropna(subset=["mean"])
    scales = sorted({float(s) for s in data["scale"]})
    tags = _tag_order(data, slopes)[:limit]
    extra = [] if references is None or references.empty else ["chance", "ceiling"]
    width = 2.9 + 0.8 * (max(len(scales), 4) + len(extra))
    figure = new_figure(
        width, 1.5 + 0.42 * max(len(tags), 3), theme,
        alt=f"Heat map of the {label}: rows are tags, columns scales. {title}",
    )  # fmt: skip
    axes = figure.add_subplot()
    _prepare(axes, theme, title=title, y="Tag (most overridden first)")
    if not tags:
        say_empty(axes, "No tag was scored.", theme)
        return figure
    values = _pivot(data, "tag", tags, scales, "mean")
    reach = float(np.nanmax(np.abs(values - values[:, :1]), initial=0.05))
    if references is not None and extra:
        known = references.set_index("tag")[extra].reindex(tags)
        values = np.concatenate([values, known.to_numpy(dtype=float)], axis=1)
    change = values - values[:, :1]
    marks = {}
    if slopes is not None and len(slopes):
        sign = {"falls": FELL, "rises": ROSE}
        marks = {str(r["tag"]): sign.get(str(r["direction"]), "") for _, r in slopes.iterrows()}
    names = [f"{clean_text(tag, 28)} {marks.get(tag, '') or '   '}" for tag in tags]
    words = f"Change since scale {number(scales[0])}\n({direction(True)})"
    heads = [*(number(scale) for scale in scales), *extra]
    norm = TwoSlopeNorm(0.0, -reach, reach)
    cells = Cells(change, heads, names, words, norm, _diverging(theme), texts=cell_texts(values))
    draw_cells(axes, cells, theme)
    if extra:
        axes.axvline(len(scales) - 0.5, color=theme.paper, lw=8, gid="references")
    axes.set_xlabel(
        f"{SCALE_LABEL}\nnumbers: {clean_text(label)} at that scale;  "
        f"{FELL} clearly falls,  {ROSE} clearly rises",
        fontsize=BODY, color=theme.ink, parse_math=False,
    )  # fmt: skip
    return figure


def _diverging(theme: Theme) -> Colormap:
    """Orange for loss, purple for gain; the middle is as light or dark as the paper."""
    if theme.name == "light":
        return colormaps["PuOr"]
    stops = ["#F08A24", "#8A4B12", theme.grid, "#5D4E9C", "#A999E8"]
    return LinearSegmentedColormap.from_list("loss-gain-dark", stops)


def _tag_order(data: pd.DataFrame, slopes: pd.DataFrame | None) -> list[str]:
    """Tags, the one that loses most first; ties keep the order of the table."""
    tags = [str(tag) for tag in dict.fromkeys(data["tag"])]
    if slopes is not None and len(slopes):
        loss = {str(r["tag"]): float(r["slope"]) for _, r in slopes.iterrows()}
    else:
        loss = {}
        for tag, group in data.groupby("tag"):
            means = group.sort_values("scale")["mean"].to_numpy(dtype=float)
            loss[str(tag)] = float(means[-1] - means[0])
    return sorted(tags, key=lambda tag: loss.get(tag, math.inf))


def _prepare(axes: Axes, theme: Theme, *, title: str, y: str) -> None:
    style_axes(axes, theme, grid=False)
    label_axes(axes, SCALE_LABEL, y, theme)
    title_axes(axes, title, theme)


def _pivot(
    data: pd.DataFrame, key: str, rows: Sequence[object], scales: Sequence[float], column: str
) -> np.ndarray:
    """Means as a rows × scales array, NaN where nothing was measured."""
    table = data.pivot_table(index=key, columns="scale", values=column, aggfunc="mean")
    return table.reindex(index=list(rows), columns=list(scales)).to_numpy(dtype=float)


def cell_texts(values: np.ndarray) -> list[list[str]]:
    """Figures for the cells of a heat map, all with the same decimals; a dash for NaN."""
    size = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    return [
        ["–" if not math.isfinite(v) else f"{v:.{digits}f}".replace("-", "−") for v in row]
        for row in values
    ]


def draw_cells(axes: Axes, cells: Cells, theme: Theme) -> None:
    """Cells with their figures in ink that contrasts, hatched where nothing was measured."""
    values, norm, colours = cells.values, cells.norm, cells.colours or colormaps["cividis"]
    heads, names, references = cells.heads, cells.names, cells.references
    texts = cells.texts or cell_texts(values)
    axes.patch.set_hatch("////")
    axes.patch.set_edgecolor(theme.grid)
    image = axes.imshow(
        np.ma.masked_invalid(values), cmap=colours, norm=norm, aspect="auto", origin="upper"
    )
    for i, row in enumerate(texts):
        for j, text in enumerate(row):
            red, green, blue, _ = colours(norm(values[i, j])) if text != "–" else (1, 1, 1, 1)
            bright = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
            ink = theme.muted if text == "–" else "#111111" if bright > 0.22 else "#ffffff"
            axes.text(j, i, text, ha="center", va="center", fontsize=SMALL, color=ink,
                      parse_math=False)  # fmt: skip
            beyond = _beyond(float(values[i, j]), references)
            if beyond:
                axes.add_patch(
                    Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, hatch="..", ec=ink, lw=0,
                              alpha=0.45, gid=f"beyond {beyond}")
                )  # fmt: skip
    axes.set_xticks(range(len(heads)), list(heads), parse_math=False)
    axes.set_yticks(range(len(names)), list(names), parse_math=False)
    axes.tick_params(length=0)
    for edge in np.arange(0.5, len(heads) - 0.5):
        axes.axvline(edge, color=theme.paper, lw=1.5)
    for edge in np.arange(0.5, len(names) - 0.5):
        axes.axhline(edge, color=theme.paper, lw=1.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(colors=theme.muted, labelcolor=theme.ink, labelsize=SMALL, length=2)
    bar.set_label(cells.bar_label, fontsize=SMALL, color=theme.ink, parse_math=False)
    _name_references(bar, references, norm)


def _beyond(value: float, references: tuple[float | None, float | None]) -> str:
    """ "chance" for a value that is no better than it, "ceiling" for one no worse, else ""."""
    chance, ceiling = (math.nan if r is None else r for r in references)
    down = -1.0 if ceiling < chance else 1.0
    if down * value <= down * chance:
        return "chance"
    return "ceiling" if down * value >= down * ceiling else ""


def _name_references(
    bar: Colorbar, references: tuple[float | None, float | None], norm: Normalize
) -> None:
    """Chance and ceiling by name among the ticks of the colours."""
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 0.0)
    named = {
        value: name
        for value, name in zip(references, ("chance", "ceiling"), strict=True)
        if value is not None and low <= value <= high
    }
    if not named:
        return
    near = 0.06 * (high - low)
    plain = [
        tick for tick in bar.get_ticks()
        if low <= tick <= high and all(abs(tick - value) > near for value in named)
    ]  # fmt: skip
    ticks = sorted([*plain, *named])
    bar.set_ticks(
        ticks, labels=[f"{number(t)} {named[t]}" if t in named else number(t) for t in ticks]
    )
    for value in named:
        bar.ax.axhline(value, color=bar.ax.yaxis.label.get_color(), lw=1.6)
