"""Protects what every plot of a metric owes: where chance and the ceiling lie."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench import analysis, plots
from workbench.plots import EffectPanel, Panel

Frames = Callable[..., pd.DataFrame]
TABLE = pd.DataFrame(
    {
        "length": [2, 2, 5, 5],
        "scale": [0.0, 1.0, 0.0, 1.0],
        "mean": [-0.1, 0.5, 0.0, 1.2],
    }
)


def gids(figure: Figure) -> set[str]:
    return {str(item.get_gid()) for item in figure.findobj() if item.get_gid()}


def words(figure: Figure) -> str:
    texts = figure.findobj(lambda item: hasattr(item, "get_text"))
    return " ".join(text.get_text() for text in texts)


def cells_beyond(axes: Axes) -> dict[str, list[tuple[int, int]]]:
    """Column and row of every dotted cell, by what it lies beyond."""
    found: dict[str, list[tuple[int, int]]] = {}
    for patch in axes.patches:
        x, y = patch.get_xy()  # type: ignore[attr-defined]
        found.setdefault(str(patch.get_gid()), []).append((round(x + 0.5), round(y + 0.5)))
    return found


def test_cells_beyond_chance_and_ceiling_are_dotted_and_the_colours_name_both() -> None:
    figure = plots.length_heatmap(
        Panel(TABLE, "x", higher_is_better=True, chance=0.0, ceiling=1.0), limits=(0, 1)
    )
    axes, bar = figure.axes
    assert cells_beyond(axes) == {
        "beyond chance": [(0, 0), (0, 1)],  # −0.1 and exactly 0, both at scale 0
        "beyond ceiling": [(1, 0)],
    }
    ticks = [label.get_text() for label in bar.get_yticklabels()]
    assert ticks[0] == "0 chance" and ticks[-1] == "1 ceiling"
    assert not cells_beyond(plots.length_heatmap(Panel(TABLE, "x")).axes[0])


def test_where_lower_is_better_chance_is_above() -> None:
    figure = plots.length_heatmap(
        Panel(TABLE, "x", higher_is_better=False, chance=0.5, ceiling=0.0), limits=(0, 1)
    )
    beyond = cells_beyond(figure.axes[0])
    assert sorted(beyond["beyond chance"]) == [(1, 0), (1, 1)]
    assert sorted(beyond["beyond ceiling"]) == [(0, 0), (0, 1)]


def test_the_heat_map_of_a_pair_names_both_in_every_panel() -> None:
    points = pd.DataFrame(
        {
            "first": "canny", "second": "depth", "first_scale": [0.0, 1.0],
            "second_scale": [0.5, 0.5], "first_adherence": [-0.2, 0.4],
            "second_adherence": [0.3, 1.1], "prompt_adherence": [0.5, 0.6],
        }
    )  # fmt: skip
    figure = plots.pair_heatmap(points)
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert len(bars) == 3
    for bar in bars:
        ticks = [label.get_text() for label in bar.get_yticklabels()]
        assert ticks[0] == "0 chance" and ticks[-1] == "1 ceiling"
    assert {"beyond chance", "beyond ceiling"} <= gids(figure)


def test_tags_have_columns_for_chance_and_ceiling(demo_frame: pd.DataFrame) -> None:
    frame = demo_frame.assign(chance=0.2, ceiling=0.7 + 0.01 * demo_frame["scale"])
    tags, references = analysis.per_tag(frame), analysis.tag_references(frame)
    tags, references = (t[t["control"] == "depth"] for t in (tags, references))
    axes = plots.tag_heatmap(tags, None, references).axes[0]
    heads = [label.get_text() for label in axes.get_xticklabels()]
    assert heads[-2:] == ["chance", "ceiling"] and len(heads) == tags["scale"].nunique() + 2
    shown = np.ma.asarray(axes.images[0].get_array())
    for row, label in zip(shown, axes.get_yticklabels(), strict=True):
        tag = label.get_text().strip(" ▼▲")
        first = tags[tags["tag"] == tag].sort_values("scale")["mean"].iloc[0]
        known = references.set_index("tag").loc[tag, ["chance", "ceiling"]].to_numpy(dtype=float)
        np.testing.assert_allclose(row[-2:].filled(np.nan), known - first)


def test_references_of_tags_are_means_over_sources(demo_frame: pd.DataFrame) -> None:
    measured = np.random.default_rng(0).uniform(size=(2, len(demo_frame)))
    frame = demo_frame.assign(chance=measured[0], ceiling=measured[1])
    found = analysis.tag_references(frame).set_index(["control", "tag"])
    rows = frame[(frame["metric"] == "tag:snow") & (frame["control"] == "canny")]
    rows = rows[rows["prompt"].str.contains("snow")]
    for name in ("chance", "ceiling"):
        expected = rows.groupby("source")[name].mean().mean()
        assert found.loc[("canny", "snow"), name] == pytest.approx(expected)


EFFECT = pd.DataFrame(
    [("depth", "ink", -0.5, -0.7, -0.3, "falls", 0.2, -0.8)],
    columns=["control", "base", "change", "low", "high", "direction", "to_chance", "to_ceiling"],
)


def test_an_effect_lies_in_the_room_between_chance_and_ceiling() -> None:
    figure = plots.effects_figure([EffectPanel(EFFECT, "Diversity", "x")])
    (axes,) = [axes for axes in figure.axes if axes.get_visible()]
    (room,) = [patch for patch in axes.patches if patch.get_gid() == "room-depth-ink"]
    assert room.get_x() == pytest.approx(-0.8)  # type: ignore[attr-defined]
    assert room.get_width() == pytest.approx(1.0)  # type: ignore[attr-defined]
    ends = {line.get_gid(): line.get_xdata()[0] for line in axes.lines}  # type: ignore[index]
    assert (ends["chance-depth-ink"], ends["ceiling-depth-ink"]) == (0.2, -0.8)
    low, high = axes.get_xlim()
    assert low < -0.8 and high > 0.2
    unknown = EFFECT.assign(to_chance=math.nan)
    assert "room-depth-ink" not in gids(plots.effects_figure([EffectPanel(unknown, "x", "x")]))


def test_room_far_away_does_not_squeeze_the_effects() -> None:
    wide = EFFECT.assign(to_chance=40.0)
    low, high = plots.effects_figure([EffectPanel(wide, "x", "x")]).axes[0].get_xlim()
    assert high - low < 3


def test_ranking_curves_and_learning_have_bands(synthetic_frame: Frames) -> None:
    frame = synthetic_frame(scales=(0.0, 0.8))
    ranks, _ = analysis.ranking(frame)
    learned = pd.DataFrame(
        {"control": "canny", "go": 0, "start": "", "guidance_scale": 5.0, "step": [0, 9],
         "adherence": [0.1, 0.8], "metric": "F1", "shipped": True}
    )  # fmt: skip
    curve = TABLE.assign(low=TABLE["mean"], high=TABLE["mean"])
    for figure in (
        plots.ranking_figure(ranks),
        plots.learning_figure(learned),
        plots.curves_figure([Panel(curve, "x", "", True, 0.1, 0.9)]),
    ):
        assert {"chance-band", "ceiling-band"} <= gids(figure)


def test_references_of_differences_have_names_of_their_own() -> None:
    curve = TABLE.assign(low=TABLE["mean"], high=TABLE["mean"])
    apart = Panel(curve, "x", chance=0.9, ceiling=0.1, names=("unrelated pictures", "the same"))
    figure = plots.curves_figure([apart])
    assert "unrelated pictures" in words(figure) and "chance" not in words(figure)
    (axes,) = [axes for axes in figure.axes if axes.get_visible()]
    (band,) = [patch for patch in axes.patches if patch.get_gid() == "chance-band"]
    assert band.get_y() == pytest.approx(0.9)  # type: ignore[attr-defined]
