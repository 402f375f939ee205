"""Protects the heat maps of a pair: every cell in its place, missing ones told, axes named."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workbench.plots import DARK, LIGHT, pair_heatmap, to_png

DOWN, ACROSS = (0.0, 0.5, 1.0), (0.0, 1.2)


def points() -> pd.DataFrame:
    """Three adherences that tell every cell and panel apart."""
    rows = [
        {
            "first": "canny",
            "second": "depth",
            "first_scale": a,
            "second_scale": b,
            "first_adherence": 0.1 + a / 2,
            "second_adherence": 0.2 + b / 2,
            "prompt_adherence": 0.9 - 0.2 * a - 0.1 * b,
        }
        for a, b in product(DOWN, ACROSS)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=2)


def panels(figure: Figure) -> list[tuple[str, np.ma.MaskedArray]]:
    """Title and values of the axes that hold cells."""
    found = [axes for axes in figure.axes if axes.images]
    return [(a.get_title(loc="left"), np.ma.asarray(a.images[0].get_array())) for a in found]


def test_rows_and_columns_are_the_two_scales() -> None:
    figure = pair_heatmap(points(), labels={"canny": "Canny edges"}, title="3 $tags")
    assert figure.get_suptitle() == "3 $tags"
    first, second, prompt = panels(figure)
    assert [title for title, _ in (first, second, prompt)] == [
        "Adherence to Canny edges",
        "Adherence to depth",
        "Adherence to the prompt",
    ]
    down = np.array(DOWN[::-1])[:, None]
    np.testing.assert_allclose(first[1], np.broadcast_to(0.1 + down / 2, (3, 2)))
    np.testing.assert_allclose(second[1], np.broadcast_to(0.2 + np.array(ACROSS) / 2, (3, 2)))
    np.testing.assert_allclose(prompt[1], 0.9 - 0.2 * down - 0.1 * np.array(ACROSS))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "0.5", "0"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1.2"]
    assert axes.get_xlabel() == "Conditioning scale of depth"
    assert axes.get_ylabel() == "Conditioning scale of\nCanny edges"
    assert {image.norm.vmin for a in figure.axes for image in a.images[:1]} >= {0.0}


def test_a_missing_combination_is_a_dash_and_nothing_is_drawn_wrong() -> None:
    gap = points().query("first_scale != 0.5 or second_scale != 1.2")
    (_, values), *_ = panels(pair_heatmap(gap))
    assert values.mask[1, 1] and values.mask.sum() == 1
    for theme in (LIGHT, DARK):
        assert to_png(pair_heatmap(gap, theme=theme))
    assert to_png(pair_heatmap(points().assign(second_adherence=np.nan)))
    assert to_png(pair_heatmap(points().iloc[:0]))
