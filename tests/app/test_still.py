"""What stands in the app's place in an exported notebook.

Protects readers of a notebook without a kernel from an empty place.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

import IPython.display
import nbformat
import pandas as pd
import pytest
from IPython.core.displaypub import DisplayPublisher
from nbconvert.exporters import HTMLExporter
from tiny_app import make_engine
from written_run import write_run

from workbench.app import Explorer, Slider, Workbench, html
from workbench.app.still import MARK, MOST, Still, still

WIDGETS = "application/vnd.jupyter.widget-state+json"


def test_pictures_of_the_newest_run_with_what_steered_them(
    demo_frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame = demo_frame[demo_frame["seed"] == 1]
    run = write_run(tmp_path / "a 'run' & more", frame, ("a <b>girl</b>", "long hair") * 4)
    page = still([run.path, tmp_path / "older"])
    alts = re.findall(r"alt='([^']*)' src='data:image/webp;base64,\w", page)
    assert len(alts) == MOST and all("&lt;b&gt;girl" in alt or "no prompt" in alt for alt in alts)
    assert "<b>girl" not in page and "&#x27;run&#x27; &amp; more" in page
    assert page.startswith('<div class="wb-run" data-run="')


def test_without_a_run_there_is_a_sentence(tmp_path: Path) -> None:
    assert "Run the notebook" in still([])
    assert "Run the notebook" in still([tmp_path / "gone"])


def outputs(widget: Still, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a cell that ends with a widget leaves in a notebook."""
    found: list[Any] = []

    def display(shown: Any, raw: bool = False, metadata: dict[str, Any] | None = None) -> None:
        data = shown if raw else {"text/html": shown._repr_html_()}
        DisplayPublisher()._validate_data(data, metadata)  # as a kernel does
        found.append(nbformat.v4.new_output("display_data", data))

    monkeypatch.setattr(IPython.display, "display", display)
    widget._ipython_display_()
    return found


def test_an_exported_notebook_shows_it_with_and_without_the_widgets_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Workbench(tmp_path / "runs", engine=make_engine(tmp_path / "engine"))
    cell = nbformat.v4.new_code_cell("bench", outputs=outputs(bench, monkeypatch))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert cell.outputs[0].data["text/plain"] == "The ControlNet workbench"
    for state in ({}, {bench.model_id: {}}):
        notebook.metadata["widgets"] = {WIDGETS: {"state": state}}
        body, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
        assert body.count("Run the notebook to use it.") == 1
        assert (bench.model_id in body) == bool(state)
    bench.close()


def test_a_kernel_takes_what_each_widget_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(size: int) -> NoReturn:
        raise ValueError("no figure")

    shown = outputs(Slider(fails, {"size": [1]}, [0]), monkeypatch)
    assert "application/vnd.jupyter.widget-view+json" in shown[0].data


def test_where_the_widget_is_its_still_is_hidden() -> None:
    for styles in (html.STYLE, str(Explorer._css), str(Slider._css)):
        assert f".{MARK}, " in styles and "display: none" in styles.replace("{d", "{ d")
