"""A figure with sliders shows what its function draws for the place where they stand.

Protects a lesson from a slider that shows another value's picture, and readers of a saved page.
"""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

import workbench as wb
from workbench.app import Slider


class Drawn:
    """Draws empty figures and remembers for what."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def __call__(self, *, size: float, name: str = "") -> Figure:
        self.asked.append((size, name))
        if size < 0:
            raise ValueError("no <size>")
        figure = Figure(figsize=(1, 1))
        figure.alt = f"{name} at {size}"  # type: ignore[attr-defined]
        return figure


def settle(slider: Slider) -> None:
    """Wait until the slider's own thread has nothing left to do."""
    slider._worker.submit(lambda: None).result(20)


def test_all_figures_are_there_before_it_moves() -> None:
    drawn = Drawn()
    slider = wb.slider(drawn, size=[0.003, 1], name=["a", "b"])
    assert drawn.asked == [(0.003, "a"), (0.003, "b"), (1, "a"), (1, "b")]
    assert slider.choices == [("size", ["0.003", "1"]), ("name", ["a", "b"])]
    assert slider.frames["1,0"]["alt"] == "a at 1"
    slider.index = [1, 0]
    settle(slider)
    assert len(drawn.asked) == 4


def test_or_each_is_drawn_once_when_it_is_come_to() -> None:
    drawn = Drawn()
    slider = wb.slider(drawn, precompute=False, size=[1, 2, 3])
    assert drawn.asked == [(1, "")]
    for place in (2, 0, 2):
        slider.index = [place]
        settle(slider)
    assert drawn.asked == [(1, ""), (3, "")]
    assert slider.frames["2"]["alt"] == " at 3"


def test_an_error_is_told_below_the_slider() -> None:
    slider = wb.slider(Drawn(), precompute=False, size=[1, -1])
    slider.index = [1]
    settle(slider)
    assert slider.frames["1"]["error"] == "This figure cannot be drawn: ValueError: no <size>"
    assert "ValueError: no &lt;size&gt;" in slider.still()


def test_without_widgets_every_figure_is_shown_with_its_values() -> None:
    slider = wb.slider(Drawn(), size=[1, 2], name=["<b>"])
    still = slider.still()
    assert still.count("<img") == 2
    assert "size = 2, name = &lt;b&gt;" in still and "alt='&lt;b&gt; at 2'" in still


@pytest.mark.parametrize("values", [{}, {"size": []}])
def test_a_slider_needs_values(values: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="needs values to choose from"):
        wb.slider(Drawn(), **values)


def test_only_figures_are_shown() -> None:
    with pytest.raises(TypeError, match="shows a matplotlib Figure, not str"):
        wb.slider(lambda size: "picture", size=[1])
