"""The figures of rankings and tipping scales show what the tables say, and nothing more.

Artists are read back from the figures: a point in the wrong place, a wrong order or a marker that
claims more than the table fails here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from workbench import analysis, plots
from workbench.plots import DARK, LIGHT, Panel, Theme

Frames = Callable[..., pd.DataFrame]
TIPS = pd.DataFrame(
    [
        ("long hair", "tips", 0.6, 0.3, 0.9, True),
        ("$a_{b$", "tips", 1.2, 0.8, math.inf, False),
        ("snow", "never", math.nan, math.nan, math.nan, True),
        ("rain", "always", math.nan, -math.inf, 0.4, False),
        ("night", "gains", 0.8, 0.5, 1.1, True),
    ],
    columns=["tag", "answer", "scale", "low", "high", "clear"],
).assign(x_first=0.0, x_last=1.6, n_sources=5)


def line(axes: Axes, gid: str) -> tuple[list[float], list[float]]:
    (found,) = [item for item in axes.lines if item.get_gid() == gid]
    x, y = np.asarray(found.get_xdata()), np.asarray(found.get_ydata())
    return x.tolist(), y.tolist()


def filled(axes: Axes, gid: str, theme: Theme = LIGHT) -> bool:
    (found,) = [item for item in axes.lines if item.get_gid() == gid]
    return to_rgb(found.get_markerfacecolor()) != to_rgb(theme.paper)


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_visible()]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_ranking_puts_the_best_of_each_scale_on_the_left(
    demo_frame: pd.DataFrame, theme: Theme
) -> None:
    ranks, _ = analysis.ranking(demo_frame)
    figure = plots.ranking_figure(ranks, labels={"depth": "Depth map"}, theme=theme)
    (axes,) = panels(figure)
    places = []
    for row in ranks.to_dict("records"):
        name = f"{row['control']}-{row['scale']:g}"
        x, y = line(axes, name)
        assert y == [row["mean"]]
        places.append((row["scale"], x[0]))
        assert filled(axes, name, theme) == (row["rank_low"] == row["rank_high"])
    assert places == sorted(places)  # the table is in the order of scale and rank
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["Depth map" if c == "depth" else c for c in ranks["control"]]
    ends = [i.get_ydata() for i in axes.lines if str(i.get_gid()).startswith("interval")]
    assert np.allclose(np.array(ends), ranks[["low", "high"]].to_numpy())
    low, high = axes.get_ylim()
    assert low < 0 < high  # chance is always in view
    assert line(axes, "chance")[1] == [0.0, 0.0]
    assert "higher is better" in axes.get_ylabel()
    assert plots.to_svg(figure)


def test_ranking_has_a_panel_for_each_base_model(demo_frame: pd.DataFrame) -> None:
    frame = pd.concat([demo_frame, demo_frame.assign(base="ink")])
    ranks, _ = analysis.ranking(frame)
    found = panels(plots.ranking_figure(ranks))
    assert [axes.get_title(loc="left").strip() for axes in found] == [
        "Base model ink", "Base model render",
    ]  # fmt: skip


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_a_rank_that_only_the_drawn_metrics_settle_is_half_filled(
    demo_frame: pd.DataFrame, theme: Theme
) -> None:
    depth = demo_frame[demo_frame["metric"] == "depth_pearson"]
    other = depth.assign(metric="depth_si_rmse", adherence=depth["adherence"] - 0.3)
    ranks, _ = analysis.ranking(pd.concat([demo_frame, other]))
    figure = plots.ranking_figure(ranks, theme=theme)
    (axes,) = panels(figure)
    half = []
    for row in ranks.to_dict("records"):
        name = f"{row['control']}-{row['scale']:g}"
        (marker,) = [item for item in axes.lines if item.get_gid() == name]
        half.append(marker.get_fillstyle() != "full")
        assert filled(axes, name, theme) == (row["rank_low"] == row["rank_high"])
        assert half[-1] == (filled(axes, name, theme) and row["every_low"] != row["every_high"])
    assert any(half)
    words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "rank settled by these metrics only" in words


def test_ranking_of_one_source_claims_no_rank(synthetic_frame: Frames) -> None:
    ranks, _ = analysis.ranking(synthetic_frame(sources=1))
    (axes,) = panels(plots.ranking_figure(ranks))
    assert not any(str(item.get_gid()).startswith("interval") for item in axes.lines)
    assert not filled(axes, "depth-0.8") and not filled(axes, "canny-0.8")


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_tipping_marks_stand_at_their_scales(theme: Theme) -> None:
    words = [analysis.tipping_words(dict(row)) for _, row in TIPS.iterrows()]
    figure = plots.tipping_figure(TIPS, words, title="Depth", theme=theme)
    (axes,) = panels(figure)
    where = {"long hair": 0.6, "$a_{b$": 1.2, "snow": 1.6, "rain": 0.0, "night": 0.8}
    for place, row in enumerate(TIPS.to_dict("records")):
        assert line(axes, f"tip-{row['tag']}") == ([where[row["tag"]]], [place])
        assert filled(axes, f"tip-{row['tag']}", theme) == row["clear"]
    assert line(axes, "interval-long hair")[0] == [0.3, 0.9]
    left, right = axes.get_xlim()
    assert line(axes, "interval-$a_{b$")[0] == [0.8, right]
    assert line(axes, "interval-rain")[0] == [left, 0.4]
    assert not [item for item in axes.lines if item.get_gid() == "interval-snow"]
    low, high = axes.get_ylim()
    assert low > high  # the first to give way is on top
    shown = [text.get_text() for text in axes.texts]
    assert shown == words
    assert plots.to_png(figure, dpi=50)


def test_empty_tables_say_so(demo_frame: pd.DataFrame) -> None:
    ranks, _ = analysis.ranking(demo_frame)
    for figure in (plots.ranking_figure(ranks.iloc[:0]), plots.tipping_figure(TIPS.iloc[:0], [])):
        (axes,) = panels(figure)
        assert len(axes.texts) == 1
        assert plots.to_png(figure, dpi=40)


@pytest.mark.parametrize("rising", [True, False])
def test_bands_lie_beyond_chance_and_ceiling(demo_frame: pd.DataFrame, rising: bool) -> None:
    """Grey where nothing can be told: below chance and above the ceiling, or the other way."""
    table = analysis.curve(demo_frame, "depth_pearson", column="value")
    table = table[table["control"] == "depth"]
    chance, ceiling = (0.12, 0.97) if rising else (0.97, 0.12)
    spans = {"chance": (chance - 0.02, chance + 0.03), "ceiling": (ceiling - 0.01, ceiling)}
    panel = Panel(table, "x", "", rising, chance, ceiling, "", spans["chance"], spans["ceiling"])
    (axes,) = panels(plots.curves_figure([panel]))
    low, high = axes.get_ylim()
    bands = {p.get_gid(): p.get_extents().transformed(axes.transData.inverted())
             for p in axes.patches}  # fmt: skip
    outer = {"chance": (low, chance), "ceiling": (ceiling, high)}
    if not rising:
        outer = {"chance": (chance, high), "ceiling": (low, ceiling)}
    for name, expected in outer.items():
        assert (bands[f"{name}-band"].y0, bands[f"{name}-band"].y1) == pytest.approx(expected)
        assert (bands[f"{name}-range"].y0, bands[f"{name}-range"].y1) == pytest.approx(spans[name])
    assert low <= spans["chance"][0] and spans["ceiling"][1] <= high


def test_unknown_references_leave_no_band(demo_frame: pd.DataFrame) -> None:
    table = analysis.curve(demo_frame, "clip_source", column="value")
    panel = Panel(table[table["control"] == "depth"], "x", "", True, math.nan, None)
    (axes,) = panels(plots.curves_figure([panel]))
    assert not axes.patches


def test_one_source_shows_its_spread_over_seeds(synthetic_frame: Frames) -> None:
    frame = synthetic_frame(sources=1, controls=("canny",), lengths=(3,))
    table = analysis.curve(frame, "canny_f1", column="value").sort_values("scale")
    (axes,) = panels(plots.curves_figure([Panel(table, "F1")]))
    seeds = [item for item in axes.lines if item.get_gid() == "seeds"]
    assert np.allclose(np.asarray(seeds[0].get_ydata()), table["mean"] - table["spread"])
    assert np.allclose(np.asarray(seeds[1].get_ydata()), table["mean"] + table["spread"])
    points = analysis.tradeoff(frame)
    (axes,) = panels(plots.tradeoff_figure(points))
    bars = [seg for c in axes.collections for seg in getattr(c, "get_segments", list)()]
    widths = sorted(float(b[0] - a[0]) for a, b in bars if a[1] == b[1])
    assert widths == pytest.approx(sorted(2 * points["control_spread"]))


def test_several_sources_show_intervals_and_no_spread(demo_frame: pd.DataFrame) -> None:
    table = analysis.curve(demo_frame, "canny_f1", column="value")
    (axes,) = panels(plots.curves_figure([Panel(table[table["control"] == "canny"], "F1")]))
    assert not [item for item in axes.lines if item.get_gid() == "seeds"]
