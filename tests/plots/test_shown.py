"""Figures show themselves in a notebook: once, as PNG, with words for those who cannot see them.

Protects against `<Figure size 640x560 with 1 Axes>` as the answer to `run.plot("tradeoff")`.
"""

from __future__ import annotations

import base64
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from workbench.analysis import sweet_spot, tradeoff
from workbench.plots import tradeoff_figure

CELL = """
from matplotlib.figure import Figure
from workbench.plots.style import new_figure
figure = new_figure(3, 2, alt="A <line> that rises")
_ = figure.subplots().plot([0, 1], [0, 1])
figure
"""


def outputs_of(*cells: str) -> list[list[dict[str, Any]]]:
    """What a real kernel answers to each cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells]


@pytest.mark.parametrize("inline", ["", "%matplotlib inline\n"], ids=["bare", "inline"])
def test_a_real_kernel_shows_a_figure_once(inline: str) -> None:
    (outputs,) = outputs_of(inline + CELL)
    assert [output["output_type"] for output in outputs] == ["execute_result"]
    (output,) = outputs
    assert base64.b64decode(output["data"]["image/png"]).startswith(b"\x89PNG")
    assert output["metadata"]["image/png"]["alt"] == "A <line> that rises"
    assert "image/svg+xml" not in output["data"] and "text/html" not in output["data"]


class Views:
    """What a figure reads of a run."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self.labels = {"depth": "How far away", "canny": "Edges"}

    def tradeoff(self) -> pd.DataFrame:
        return tradeoff(self.frame)

    def sweet_spots(self) -> pd.DataFrame:
        return sweet_spot(self.frame)

    def ranking(self) -> pd.DataFrame:
        raise AssertionError("a trade-off has no ranking")


def test_a_figure_takes_a_run_as_it_takes_its_frames(demo_frame: pd.DataFrame) -> None:
    views = Views(demo_frame)
    figure = tradeoff_figure(views)
    assert [axes.get_title("left") for axes in figure.axes] == ["Edges", "How far away"]
    assert "Edges, How far away" in figure.alt
    frames = tradeoff_figure(views.tradeoff(), views.sweet_spots(), control_labels=views.labels)
    shown, same = figure._repr_mimebundle_(), frames._repr_mimebundle_()
    assert shown == same
