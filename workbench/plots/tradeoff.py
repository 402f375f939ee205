"""The trade-off plot: how much control is bought with how much prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from workbench.formats import number
from workbench.plots.labels import PointLabel, place_labels
from workbench.plots.style import (
    LIGHT,
    SMALL,
    Drawing,
    RunViews,
    Theme,
    by_length,
    label_axes,
    lengths_of,
    new_figure,
    padded_limits,
    say_empty,
    series_style,
    style_axes,
    style_legend,
    title_axes,
    views_of,
)

if TYPE_CHECKING:
    import pandas as pd

X, Y = "control_adherence", "prompt_adherence"
CROSSES = (("x", X, "control_low", "control_high"), ("y", Y, "prompt_low", "prompt_high"))


def tradeoff_figure(
    points: pd.DataFrame | RunViews,
    spots: pd.DataFrame | None = None,
    *,
    control_labels: Mapping[str, str] | None = None,
    theme: Theme = LIGHT,
) -> Drawing:
    """Draw prompt adherence over control adherence, one panel for each control type.

    Args:
        points: a run, or what `analysis.tradeoff` returns. Each point is one prompt length at one
            conditioning scale; crosses are its two intervals, and `pareto` marks the front.
        spots: what `analysis.sweet_spot` returns; each is drawn as a star on its curve.
        control_labels: control type -> panel title (default: the control's name).
        theme: colours.

    Lengths without a prompt adherence (no prompt at all) have no place here and are left out.
    """
    if run := views_of(points):
        points, spots, control_labels = run.tradeoff(), run.sweet_spots(), run.labels
    known = cast("pd.DataFrame", points).dropna(subset=[X, Y])
    controls = [str(name) for name in dict.fromkeys(known["control"])] or ["-"]
    names_of_lengths = lengths_of(known)
    lengths = list(names_of_lengths)
    crowded = len(known) > 20 * len(controls)
    labels = control_labels or {}
    names = [labels.get(control, control) for control in controls]
    figure = new_figure(
        (8.2 if crowded else 6.4) * len(controls), 6.6 if crowded else 5.6, theme,
        alt="Trade-off plot: prompt adherence over control adherence, one curve for each prompt "
        f"length, for {', '.join(names)}.",
    )  # fmt: skip
    panels = figure.subplots(1, len(controls), squeeze=False, sharex=True, sharey=True)[0]
    for name, axes in zip(names, panels, strict=True):
        style_axes(axes, theme)
        label_axes(
            axes,
            "Control adherence\n(0 = chance, 1 = ceiling; higher is better →)",
            "Prompt adherence\n(0 = chance, 1 = ceiling; higher is better ↑)",
            theme,
        )
        title_axes(axes, name if name != "-" else "", theme)
        if known.empty:
            say_empty(axes, "No point has both a prompt adherence and a control adherence.", theme)
    if known.empty:
        return figure
    _set_limits(panels[0], known)
    for control, axes in zip(controls, panels, strict=True):
        _draw_bands(axes, theme)
        _draw_curves(axes, known[known["control"] == control], lengths, theme)
    has_front = bool(known["pareto"].any())
    found = _matching_spots(known, spots)
    most = 4 if len(controls) == 1 else 7
    _draw_legend(figure, names_of_lengths, theme, front=has_front, spot=not found.empty, most=most)
    for control, axes in zip(controls, panels, strict=True):
        _draw_spots(axes, found[found["control"] == control], lengths, theme)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # labels are placed on the final layout
    for control, axes in zip(controls, panels, strict=True):
        _label_scales(axes, known[known["control"] == control], found, lengths, theme)
    return figure


def _set_limits(axes: Axes, known: pd.DataFrame) -> None:
    """Limits that hold all points and crosses, and 0 and 1 where they are near."""
    for name, column, low, high in CROSSES:
        values = known[[column]].to_numpy(dtype=float).ravel()
        ends = known[[low, high]].to_numpy(dtype=float).ravel()
        # A source or two make intervals so wide that they would hide the points: they run off.
        ends = np.clip(ends, values.min() - 0.35, values.max() + 0.35)
        near = [0.0] if values.min() < 0.6 else []
        near += [1.0] if values.max() > 0.55 else []
        limits = padded_limits([*values, *ends[np.isfinite(ends)], *near], 0.05)
        if limits is not None:
            (axes.set_xlim if name == "x" else axes.set_ylim)(*limits)
        axes.locator_params(axis=name, nbins=7)  # type: ignore[arg-type]


def _draw_bands(axes: Axes, theme: Theme) -> None:
    """Shade what lies below chance and above the ceiling, and name the two lines."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    style: dict[str, Any] = {"color": theme.muted, "lw": 0.9, "ls": (0, (4, 3)), "zorder": 1.2}
    note: dict[str, Any] = {
        "color": theme.muted,
        "fontsize": SMALL - 1,
        "parse_math": False,
        "zorder": 1.3,
    }
    foot = max(y0, 0.0) if y1 > 0.0 else y0
    for value, name, outward in ((0.0, "chance", -1), (1.0, "ceiling", 1)):
        low = outward < 0
        if x0 <= value <= x1:
            axes.axvline(value, gid=f"{name}-x", **style)
            axes.axvspan(x0 if low else value, value if low else x1, color=theme.band, lw=0,
                         zorder=0.5)  # fmt: skip
            axes.annotate(
                name, (value, foot), (3 * outward, 5), textcoords="offset points",
                rotation=90, ha="right" if low else "left", va="bottom", **note,
            )  # fmt: skip
        if y0 <= value <= y1:
            axes.axhline(value, gid=f"{name}-y", **style)
            axes.axhspan(y0 if low else value, value if low else y1, color=theme.band, lw=0,
                         zorder=0.5)  # fmt: skip
            axes.annotate(
                name, (x0, value), (4, 3 * outward), textcoords="offset points",
                ha="left", va="top" if low else "bottom", **note,
            )  # fmt: skip
    axes.set_xlim(x0, x1)
    axes.set_ylim(y0, y1)


def _draw_curves(axes: Axes, rows: pd.DataFrame, lengths: list[int], theme: Theme) -> None:
    front = rows[rows["pareto"]].sort_values([X, Y])
    if len(front):
        axes.plot(
            front[X], front[Y], color=theme.grid, ls="none", marker="o", ms=17, mew=0, zorder=1.5,
            gid="pareto",
        )  # fmt: skip
    for length, group in by_length(rows):
        style = series_style(lengths.index(length), theme)
        for way, centre, low, high in CROSSES:
            reach = np.abs(group[[low, high]].to_numpy(dtype=float).T - group[centre].to_numpy())
            spread = low.replace("_low", "_spread")
            seeds = spread in group and not np.isfinite(reach).any()
            if seeds:  # one source: no interval, but seeds differ
                reach = np.tile(group[spread].to_numpy(dtype=float), (2, 1))
            bars = axes.errorbar(
                group[X], group[Y], fmt="none", ecolor=style.colour, elinewidth=0.9, alpha=0.38,
                zorder=2, **{f"{way}err": np.nan_to_num(reach)},
            )  # fmt: skip
            if seeds:
                for lines in bars[2]:
                    lines.set_linestyle((0, (1, 2)))
        axes.plot(
            group[X], group[Y], color=style.colour, ls=style.line, lw=1.9, marker=style.marker,
            ms=6.5, mec=theme.paper, mew=0.8, zorder=3, gid=f"length-{length}",
            label=str(group["label"].iloc[0]) if "label" in group else str(length),
        )  # fmt: skip


def _matching_spots(known: pd.DataFrame, spots: pd.DataFrame | None) -> pd.DataFrame:
    """The points of the sweet spots: rows of ``known`` with the spots' control, length, scale."""
    if spots is None or spots.empty:
        return known.iloc[:0]
    keys = ["control", "length", "scale"]
    return known.merge(spots[keys].drop_duplicates(), on=keys, how="inner")


def _draw_spots(axes: Axes, spots: pd.DataFrame, lengths: list[int], theme: Theme) -> None:
    for _, row in spots.iterrows():
        style = series_style(lengths.index(int(row["length"])), theme)
        axes.plot(
            [row[X]], [row[Y]], marker="*", ms=17, color=style.colour, mec=theme.ink, mew=1.1,
            ls="none", zorder=5, gid=f"sweet-spot-{int(row['length'])}",
        )  # fmt: skip


def _draw_legend(
    figure: Figure, lengths: Mapping[int, str], theme: Theme, *, front: bool, spot: bool, most: int
) -> None:
    handles: list[Line2D | Patch] = []
    for index, name in enumerate(lengths.values()):
        style = series_style(index, theme)
        handles.append(
            Line2D([], [], color=style.colour, ls=style.line, lw=1.9, marker=style.marker, ms=6.5,
                   label=name)
        )  # fmt: skip
    if spot:
        handles.append(
            Line2D([], [], color=theme.paper, mec=theme.ink, mew=1.1, marker="*", ms=13, ls="none",
                   label="sweet spot")
        )  # fmt: skip
    if front:
        handles.append(
            Line2D([], [], color=theme.grid, marker="o", ms=13, ls="none", label="Pareto front")
        )
    handles.append(
        Line2D([], [], color=theme.muted, marker="$0.4$", ms=14, mew=0, ls="none",
               label="conditioning scale")
    )  # fmt: skip
    legend = figure.legend(
        handles=handles, loc="outside upper left", ncols=_columns(len(handles), most),
        handlelength=2.6, columnspacing=1.4,
    )  # fmt: skip
    style_legend(legend, theme)


def _columns(count: int, most: int) -> int:
    """Columns for a legend of ``count`` entries in rows of nearly equal length."""
    return math.ceil(count / math.ceil(count / most))


def _label_scales(
    axes: Axes, rows: pd.DataFrame, spots: pd.DataFrame, lengths: list[int], theme: Theme
) -> None:
    """Write the conditioning scale beside every point; ends and sweet spots have first claim."""
    starred = {(r["control"], r["length"], r["scale"]) for _, r in spots.iterrows()}
    labels: list[PointLabel] = []
    lines: list[np.ndarray] = []
    crosses: list[np.ndarray] = []
    for length, group in by_length(rows):
        lines.append(group[[X, Y]].to_numpy(dtype=float))
        colour = series_style(lengths.index(length), theme).colour
        ends = {group["scale"].min(), group["scale"].max()}
        for _, row in group.iterrows():
            star = (row["control"], row["length"], row["scale"]) in starred
            rank = 0 if star else 1 if row["scale"] in ends else 2
            reach = 9.0 if star else 3.8
            labels.append(PointLabel(row[X], row[Y], number(row["scale"]), colour, rank, reach))
            crosses.append(np.array([[row["control_low"], row[Y]], [row["control_high"], row[Y]]]))
            crosses.append(np.array([[row[X], row["prompt_low"]], [row[X], row["prompt_high"]]]))
    place_labels(axes, labels, avoid=lines, avoid_a_little=crosses, fontsize=SMALL - 0.5)
