"""The app in a real JupyterLab, clicked as a person would.

Protects what no unit test sees: that widgets render, that clicks reach Python while work is under
way, that updates from the worker thread reach the page, and that texts are shown, not run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.families import LocateError, get_family
from workbench.families.locate import locate

pytestmark = pytest.mark.browser

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "workbench.ipynb"
CELL = """
from pathlib import Path
from fake_engine import FakeEngine
from workbench.app import Workbench

bench = Workbench(Path("runs"), engine=FakeEngine(steps=40, step_seconds=0.1))
bench
"""

Run = Callable[..., Any]


def notebook(*cells: str) -> dict[str, Any]:
    """A notebook of code cells."""
    return {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"cell{i}",
                "metadata": {},
                "outputs": [],
                "source": text,
            }
            for i, text in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python",
                                    "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }  # fmt: skip


def wait_for_text(page: Any, selector: str, text: str, seconds: float = 30) -> None:
    """Wait until an element's text contains `text`."""
    page.wait_for_function(
        "([s, t]) => document.querySelector(s)?.innerText.includes(t)",
        arg=[selector, text],
        timeout=seconds * 1000,
    )


def loaded(page: Any, selector: str) -> None:
    """Wait until an image has pixels."""
    page.wait_for_function(
        "s => document.querySelector(s)?.naturalWidth > 0", arg=selector, timeout=30_000
    )


def test_a_walk_through_the_app(run_notebook: Run) -> None:
    page = run_notebook(notebook(CELL))
    wait_for_text(page, ".wb-picture-status", "Drawn in")
    for name in ("source", "map", "result"):
        loaded(page, f"img.wb-{name}-image")

    # A tag is switched off: the picture is drawn anew, and a hostile tag stays text.
    rows = page.locator(".wb-figures tr")
    assert "23" in rows.nth(2).inner_text()
    page.locator(".wb-tags button", has_text="long hair").click()
    page.wait_for_function(
        "() => document.querySelectorAll('.wb-figures tr')[2].innerText.includes('22')"
    )
    assert page.locator(".wb-app b", has_text="bold").count() == 0
    assert page.locator(".wb-app", has_text="<b>bold</b> & black eyes").count() == 1

    # The control type changes while the study runs: the click is answered, the picture waits.
    page.locator("button.wb-run").click()
    wait_for_text(page, ".wb-progress", "of 40")
    assert page.locator("button.wb-run").is_disabled()
    page.locator(".wb-control select").select_option("Depth")
    wait_for_text(page, ".wb-picture-status", "Waiting for the study")
    loaded(page, "img.wb-plot")

    page.locator("button.wb-stop").click()
    wait_for_text(page, ".wb-study-status", "Stopped.")
    wait_for_text(page, ".wb-picture-status", "Drawn in")
    wait_for_text(page, ".wb-app", "Depth")
    assert page.locator("button.wb-stop").is_disabled()


def test_the_study_runs_to_its_end_and_shows_its_plot(run_notebook: Run) -> None:
    page = run_notebook(notebook(CELL.replace("steps=40", "steps=15")))
    page.locator("button.wb-run").click()
    wait_for_text(page, ".wb-study-status", "Done.")
    wait_for_text(page, ".wb-progress", "15 of 15")
    loaded(page, "img.wb-plot")


def test_clicks_are_answered_while_a_cell_runs(run_notebook: Run, lab: Any) -> None:
    waiting = (
        "import time\n"
        "end = time.monotonic() + 60\n"
        "while bench.session.state.now.choice.seed != 5 and time.monotonic() < end:\n"
        "    time.sleep(0.05)\n"
        "Path('answered.txt').write_text(str(bench.session.state.now.choice.seed))\n"
    )
    page = run_notebook(notebook(CELL))
    wait_for_text(page, ".wb-picture-status", "Drawn in")
    page.evaluate(
        "code => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        ".requestExecute({code}); }",
        waiting,
    )
    page.locator(".wb-seed input").fill("5")
    page.locator(".wb-seed input").press("Enter")
    answer = lab.folder / "answered.txt"
    for _ in range(100):
        if answer.is_file() and answer.read_text():
            break
        page.wait_for_timeout(100)
    assert answer.read_text() == "5"


@pytest.mark.models
def test_the_projects_own_notebook(run_notebook: Run) -> None:
    family = get_family("paperdoll")
    try:
        for ref in (*family.base.values(), *family.controlnets.values(), family.clip):
            locate(ref)
    except LocateError as error:
        pytest.skip(f"the trained models are not there: {error}")
    page = run_notebook(json.loads(NOTEBOOK.read_text("utf-8")))
    wait_for_text(page, ".wb-picture-status", "Drawn in", seconds=120)
    for name in ("source", "map", "result"):
        loaded(page, f"img.wb-{name}-image")
    assert "Canny" in page.locator(".wb-app").inner_text()
