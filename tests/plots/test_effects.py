"""The figure of effects shows what the table says: place, interval, and whether it is clear."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from workbench import plots
from workbench.plots import DARK, LIGHT, EffectPanel, Theme

BOTH = pd.DataFrame(
    [
        ("depth", "ink", -0.8, -0.9, -0.7, "falls"),
        ("depth", "render", -0.6, -0.9, -0.3, "falls"),
        ("$li_{nes$", "ink", 0.1, -0.2, 0.4, "no clear effect"),
        ("$li_{nes$", "render", -0.1, math.nan, math.nan, "cannot tell"),
    ],
    columns=["control", "base", "change", "low", "high", "direction"],
)
BETWEEN = BOTH[BOTH["base"] == "ink"].assign(base="")


def line(axes: Axes, gid: str) -> tuple[list[float], list[float]]:
    (found,) = [item for item in axes.lines if item.get_gid() == gid]
    return np.asarray(found.get_xdata()).tolist(), np.asarray(found.get_ydata()).tolist()


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_rows_are_controls_and_panels_questions(theme: Theme) -> None:
    panels = [
        EffectPanel(BOTH, "Diversity", "Change", percent=True),
        EffectPanel(BETWEEN, "Pose", "x"),
    ]
    figure = plots.effects_figure(panels, labels={"depth": "Depth map"}, theme=theme)
    left, right = figure.axes
    for row in BOTH.to_dict("records"):
        (x,), (y,) = line(left, f"change-{row['control']}-{row['base']}")
        assert x == row["change"]
        assert round(y) == (0 if row["control"] == "depth" else 1)
        (marker,) = [
            i for i in left.lines if i.get_gid() == f"change-{row['control']}-{row['base']}"
        ]
        hollow = to_rgb(marker.get_markerfacecolor()) == to_rgb(theme.paper)
        assert hollow == (row["direction"] not in ("rises", "falls"))
    assert line(left, "interval-depth-ink")[0] == [-0.9, -0.7]
    assert not [i for i in left.lines if i.get_gid() == "interval-$li_{nes$-render"]
    assert line(left, "change-depth-ink")[1] < line(left, "change-depth-render")[1]
    assert line(right, "change-depth-") == ([-0.8], [0.0])
    low, high = left.get_xlim()
    assert low < -0.9 and high > 0.4  # every interval is in view
    assert [t.get_text() for t in left.get_yticklabels()] == ["Depth map", "$li_{nes$"]
    figure.canvas.draw()
    assert any(t.get_text().endswith("%") for t in left.get_xticklabels())
    assert not any(t.get_text().endswith("%") for t in right.get_xticklabels())
    assert plots.to_svg(figure)


def test_one_base_needs_no_legend_of_bases() -> None:
    one = BOTH[BOTH["base"] == "ink"]
    figure = plots.effects_figure([EffectPanel(one, "Diversity", "Change")])
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert not any("base" in text for text in words)
    assert "hollow: no clear change" in words


def test_nothing_to_show_is_said() -> None:
    figure = plots.effects_figure([])
    assert any("Nothing changed" in text.get_text() for text in figure.axes[0].texts)
    assert plots.to_png(figure, dpi=40)
