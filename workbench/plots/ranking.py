"""The ranking of control types: who is obeyed most at each scale, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workbench.formats import number
from workbench.plots.style import (
    BODY,
    LIGHT,
    SMALL,
    Drawing,
    RunViews,
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
    views_of,
    with_direction,
)

if TYPE_CHECKING:
    import pandas as pd

STEP = 0.34
"""Inches for one control type at one scale."""


def ranking_figure(
    ranks: pd.DataFrame | RunViews,
    *,
    labels: Mapping[str, str] | None = None,
    theme: Theme = LIGHT,
) -> Drawing:
    """Draw control adherence of the control types at each scale, the best on the left.

    One panel for each base model. Within a scale the types stand in the order of their means, each
    named below its point, so that no colour has to be looked up. A filled marker: no other rank is
    open after the correction for several comparisons, whichever metric is chosen; a half-filled
    one: none by the metrics that are drawn.

    Args:
        ranks: a run, or the first table of `analysis.ranking`.
        labels: control type -> what it is called (default: its name).
    """
    if run := views_of(ranks):
        ranks, labels = run.ranking(), run.labels
    known = cast("pd.DataFrame", ranks).dropna(subset=["mean"])
    bases = [str(base) for base in dict.fromkeys(known["base"])] or [""]
    controls = sorted({str(name) for name in known["control"]})
    slots = int(known.groupby("base").size().max()) if len(known) else 6
    scales = known["scale"].nunique()
    width = max(5.2, 1.3 + STEP * (slots + 0.8 * scales))
    figure = new_figure(
        width, 4.4 * len(bases) + 0.4, theme,
        alt="Ranking of the control types: control adherence at each scale, the best on the left.",
    )  # fmt: skip
    panels = figure.subplots(len(bases), 1, squeeze=False, sharey=True)[:, 0]
    limits = _limits(known)
    for base, axes in zip(bases, panels, strict=True):
        style_axes(axes, theme)
        axes.grid(False, axis="x")
        label_axes(axes, "", with_direction("Control adherence", True), theme)
        title_axes(axes, f"Base model {base}" if len(bases) > 1 else "", theme, pad=22)
        if known.empty:
            say_empty(axes, "No control adherence was measured above scale 0.", theme)
            axes.set_xlabel("Control type", fontsize=BODY, color=theme.ink)
            continue
        axes.set_ylim(*limits)
        _draw_panel(axes, known[known["base"] == base], controls, labels or {}, theme)
    if len(known):
        _draw_legend(figure, known, theme)
    return figure


def _limits(known: pd.DataFrame) -> tuple[float, float]:
    """Limits that hold chance, ceiling and all points; intervals far beyond them run off."""
    means = known["mean"].to_numpy(dtype=float)
    if not len(means):
        return 0.0, 1.0
    ends = known[["low", "high"]].to_numpy(dtype=float).ravel()
    ends = np.clip(ends[np.isfinite(ends)], means.min() - 0.35, means.max() + 0.35)
    return padded_limits([0.0, 1.0, *means, *ends]) or (0.0, 1.0)


def _draw_panel(
    axes: Axes, rows: pd.DataFrame, controls: list[str], labels: Mapping[str, str], theme: Theme
) -> None:
    places: list[float] = []
    names: list[str] = []
    at = 0.0
    for scale, group in rows.groupby("scale", sort=True):
        start = at
        for _, row in group.sort_values("rank").iterrows():
            style = series_style(controls.index(str(row["control"])), theme)
            if math.isfinite(row["low"]):
                axes.plot([at, at], [row["low"], row["high"]], color=style.colour, lw=2.2,
                          solid_capstyle="butt", zorder=2, gid=f"interval-{number(float(scale))}")  # type: ignore[arg-type]  # fmt: skip
            axes.plot(
                [at], [row["mean"]], marker=style.marker, ms=8, ls="none", zorder=3, mew=1.8,
                color=style.colour, **_fill(_state(row), style.colour, theme),
                gid=f"{row['control']}-{number(float(scale))}",  # type: ignore[arg-type]
            )  # fmt: skip
            places.append(at)
            names.append(clean_text(labels.get(str(row["control"]), str(row["control"])), 28))
            at += 1
        axes.annotate(
            f"scale {number(float(scale))}",  # type: ignore[arg-type]
            ((start + at - 1) / 2, 1), (0, 3), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", va="bottom", fontsize=BODY, color=theme.ink,
            parse_math=False,
        )  # fmt: skip
        if start:
            axes.axvline(start - 0.9, color=theme.grid, lw=0.9, zorder=0.8)
        at += 0.8
    axes.set_xlim(-0.9, at - 0.9)
    axes.set_xticks(places, names, rotation=90, fontsize=SMALL, parse_math=False)
    axes.tick_params(axis="x", length=0)
    low, high = axes.get_ylim()
    for value, name in ((0.0, "chance"), (1.0, "ceiling")):
        if low <= value <= high:
            axes.axhline(value, color=theme.muted, lw=0.9, ls=(0, (4, 3)), zorder=1.2, gid=name)
            inner, outer = (low, value) if name == "chance" else (value, high)
            axes.axhspan(inner, outer, color=theme.band, lw=0, zorder=0.5, gid=f"{name}-band")
            axes.annotate(
                name, (1, value), (3, 0), textcoords="offset points", va="center",
                xycoords=("axes fraction", "data"), color=theme.muted, fontsize=SMALL - 1,
                parse_math=False,
            )  # fmt: skip
    axes.set_ylim(low, high)


def _state(row: Mapping[Any, Any] | pd.Series) -> str:
    """How far a rank is settled: "every" metric says so, "drawn" ones alone, or it is "open"."""
    if row["every_low"] == row["every_high"]:
        return "every"
    return "drawn" if row["rank_low"] == row["rank_high"] else "open"


def _fill(state: str, colour: str, theme: Theme) -> dict[str, Any]:
    """How a marker is filled that says so."""
    return {
        "mfc": theme.paper if state == "open" else colour,
        "markerfacecoloralt": theme.paper,
        "fillstyle": "left" if state == "drawn" else "full",
    }


def _draw_legend(figure: Figure, known: pd.DataFrame, theme: Theme) -> None:
    words = {
        "every": "rank settled",
        "drawn": "rank settled by these metrics only",
        "open": "rank open: not all neighbours are clearly apart",
    }
    states = {_state(row) for row in known.to_dict("records")}
    handles = [
        Line2D([], [], marker="o", ms=8, ls="none", color=theme.ink, mew=1.8, label=text,
               **_fill(state, theme.ink, theme))
        for state, text in words.items()
        if state in states
    ]  # fmt: skip
    if known["low"].notna().any():
        handles.append(Line2D([], [], color=theme.ink, lw=2.2, label="95 % interval over sources"))
    legend = figure.legend(
        handles=handles, loc="outside upper left", ncols=1 if "drawn" in states else 3
    )
    style_legend(legend, theme)
