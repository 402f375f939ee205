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
from tiny_app import make_engine
from workbench.app import Workbench

bench = Workbench(Path("runs-NAME"), engine=make_engine(Path("engine-NAME"), pause=PAUSE))
bench
"""
STATUS, BUSY = ".wb-status", ".wb-progress"


def cell(name: str, pause: float = 0.0) -> str:
    """A cell that shows the app over a runs folder of that name; steps take `pause` s more."""
    return CELL.replace("NAME", name).replace("PAUSE", str(pause))


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


def wait_for_text(page: Any, selector: str, text: str, seconds: float = 300) -> None:
    """Wait until an element's text contains `text`."""
    page.wait_for_function(
        "([s, t]) => document.querySelector(s)?.innerText.includes(t)",
        arg=[selector, text],
        timeout=seconds * 1000,
    )


def loaded(page: Any, selector: str) -> None:
    """Wait until an image has pixels."""
    page.wait_for_function(
        "s => document.querySelector(s)?.naturalWidth > 0", arg=selector, timeout=300_000
    )


def tab(page: Any, name: str) -> None:
    """Bring a tab of the panel to the front."""
    page.locator(".wb-setup").get_by_role("tab", name=name).click()


def pictures(page: Any, count: int, seconds: float = 300) -> None:
    """Wait until at least so many pictures of the explorer's sheet have pixels."""
    page.wait_for_function(
        "n => [...document.querySelectorAll('.wbx-row button img')]"
        ".filter(i => i.naturalWidth > 1).length >= n",
        arg=count,
        timeout=seconds * 1000,
    )


def upload(page: Any, file: Path) -> None:
    """Choose a file as a person does."""
    with page.expect_file_chooser() as chooser:
        page.locator(".wb-upload").click()
    chooser.value.set_files(file)


def test_a_walk_through_the_app(run_notebook: Run, tmp_path: Path) -> None:
    page = run_notebook(notebook(cell("walk")))
    for name in ("source", "map"):
        loaded(page, f".wb-{name}-image img")
    assert "press Make picture" in page.locator(".wbx-headline").inner_text()

    # An own prompt, a tag left out, a picture; a hostile tag stays text.
    page.locator(".wb-prompt input").fill("a boy, snow, <b>bold</b> & $x^2$")
    page.locator(".wb-prompt input").press("Enter")
    chip = page.locator(".wb-tags .wbc-chip")
    chip.nth(1).click()
    page.locator("button.wb-make").click()
    wait_for_text(page, STATUS, "Done.")
    pictures(page, 1)
    assert page.locator(".wb-app b", has_text="bold").count() == 0
    assert page.locator(".wbx-words", has_text="<b>bold</b> & $x^2$").count() == 1

    # The text alone is pinned beside the picture that it is compared with.
    page.locator("button.wb-twin").click()
    captions = page.locator(".wbx-tiles figcaption")
    captions.filter(has_text="pinned: ").filter(has_text="text only").wait_for()
    captions.filter(has_text="scale 1, ").wait_for()

    # A sweep on axes chosen here, and an empty place of its sheet.
    chip.nth(1).click()
    tab(page, "Sweep")
    page.locator(".wb-sweep-scale input").fill("0, 0.5, 1")
    page.locator(".wb-sweep-length input").fill("1, 3")
    page.locator(".wb-sweep-length input").press("Tab")
    wait_for_text(page, ".wb-price", "6 pictures, 0 of them")
    page.locator("button.wb-sweep").click()
    wait_for_text(page, ".wb-price", "6 pictures, 6 of them", seconds=300)
    pictures(page, 6)
    tab(page, "Picture")
    page.locator(".wb-seed input").fill("7")
    page.locator(".wb-seed input").press("Enter")
    page.locator("button.wb-make").click()
    page.wait_for_function("() => document.querySelectorAll('.wbx-picks select').length === 3")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.wbx-picks select')].some(s => s.value === '7')",
        timeout=300_000,
    )
    wait_for_text(page, STATUS, "Done.")
    page.wait_for_timeout(2000)  # the explorer's last update counts the places that are empty
    empty = page.locator(".wbx-row button.wbx-empty")
    page.wait_for_function("() => document.querySelectorAll('.wbx-row .wbx-empty').length >= 5")
    before = empty.count()
    empty.first.click()
    page.wait_for_function(
        "n => document.querySelectorAll('.wbx-row .wbx-empty').length === n", arg=before - 1,
        timeout=300_000,
    )  # fmt: skip

    # An own picture, and one that is none.
    from PIL import Image

    Image.new("RGB", (90, 60), (200, 40, 90)).save(tmp_path / "mine.png")
    (tmp_path / "none.png").write_text("no picture")
    upload(page, tmp_path / "mine.png")
    page.wait_for_function(
        "() => document.querySelector('.wb-source select').selectedOptions[0].text"
        ".startsWith('mine-')"
    )
    upload(page, tmp_path / "none.png")
    wait_for_text(page, ".wb-message", "none.png")


IN_SIGHT = """selectors => selectors.every((selector) => {
  const { top, bottom, left, right } = document.querySelector(selector).getBoundingClientRect();
  const panel = document.querySelector(".jp-WindowedPanel-outer").getBoundingClientRect();
  return top >= panel.top - 1 && bottom <= panel.bottom + 1 && left >= 0 && right <= innerWidth;
})"""


def test_what_is_made_and_said_is_in_sight_at_1280_by_720(run_notebook: Run) -> None:
    page = run_notebook(notebook(cell("sight"), "1", "2"))
    page.set_viewport_size({"width": 1280, "height": 720})
    loaded(page, ".wb-map-image img")
    page.locator("button.wb-make").click()
    wait_for_text(page, STATUS, "Done.")
    pictures(page, 1)
    shown = [
        ".wbx-plot > svg",
        ".wbx-sheet",
        ".wbx-tiles",
        ".wbx-hand .wbx-scrubs",
        "button.wb-make",
    ]
    page.wait_for_function(IN_SIGHT, arg=shown)
    page.locator("button.wb-fold").click()
    page.wait_for_function("() => !document.querySelector('.wb-setup').checkVisibility()")
    page.wait_for_function(IN_SIGHT, arg=shown)
    page.locator("button.wb-fold").click()
    scale = page.locator(".wb-scale input")
    scale.fill("99")
    scale.press("Enter")
    wait_for_text(page, ".wb-message", "scale must be a number from 0 to 10, not 99")
    page.wait_for_function(IN_SIGHT, arg=[".wb-message"])
    assert scale.input_value() == "1"


def test_a_sweep_is_stopped_and_a_new_kernel_finds_it(run_notebook: Run) -> None:
    page = run_notebook(notebook(cell("stopped", pause=0.1)))
    loaded(page, ".wb-map-image img")

    # A picture is seen in the making, and given up.
    steps = page.locator(".wb-steps input")
    tab(page, "Settings")
    steps.fill("1000")
    steps.press("Enter")
    page.locator("button.wb-make").click()
    page.wait_for_selector(".wbx-growing img:not([hidden])")
    wait_for_text(page, BUSY, "of 1000")
    wait_for_text(page, ".wbx-growing", "of 1000")
    page.locator("button.wb-stop").click()
    wait_for_text(page, STATUS, "Stopped.")
    page.wait_for_selector(".wbx-growing", state="hidden")
    steps.fill("2")
    steps.press("Enter")

    tab(page, "Sweep")
    page.locator(".wb-sweep-seed input").fill("1, 2, 3, 4, 5, 6")
    page.locator(".wb-sweep-seed input").press("Tab")
    page.locator("button.wb-sweep").click()
    wait_for_text(page, BUSY, "generating: 2 of 30")
    assert page.locator(".wbx-growing").is_hidden(), "a sweep is not looked at so closely"
    assert not page.locator("button.wb-stop").is_disabled()
    page.locator("button.wb-stop").click()
    wait_for_text(page, STATUS, "Stopped. What is made is kept")
    assert page.locator("button.wb-stop").is_disabled()

    page = run_notebook(notebook(cell("stopped")), name="again.ipynb")
    wait_for_text(page, STATUS, "This is runs-stopped/workbench-")
    page.wait_for_selector(".wbx-row .wbx-empty")
    tab(page, "Run")
    page.locator("button.wb-complete").click()
    wait_for_text(page, STATUS, "Done.")
    page.wait_for_function("() => !document.querySelector('.wbx-row .wbx-empty')")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_nothing_serious_stands_in_the_way_of_anybody(run_notebook: Run, theme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = run_notebook(notebook(cell("axe")))
    loaded(page, ".wb-map-image img")
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme
    )
    page.wait_for_timeout(500)
    for name in ("Picture", "Sweep", "Settings", "Run"):
        tab(page, name)
        found = Axe().run(page, context=".wb-app").response["violations"]
        bad = [one for one in found if one["impact"] in ("serious", "critical")]
        assert not bad, [(one["id"], one["nodes"][0]["html"][:200]) for one in bad]


def test_clicks_are_answered_while_a_cell_runs(run_notebook: Run, lab: Any) -> None:
    waiting = (
        "import time\n"
        "end = time.monotonic() + 60\n"
        "while bench.session.state.now.choice.seed != 5 and time.monotonic() < end:\n"
        "    time.sleep(0.05)\n"
        "Path('answered.txt').write_text(str(bench.session.state.now.choice.seed))\n"
    )
    page = run_notebook(notebook(cell("busy")))
    loaded(page, ".wb-map-image img")
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
    for name in ("source", "map"):
        loaded(page, f".wb-{name}-image img")
    page.locator("button.wb-make").click()
    wait_for_text(page, STATUS, "Done.", seconds=300)
    pictures(page, 1)


def test_chips_under_the_mouse_and_the_keyboard(run_notebook: Run) -> None:
    page = run_notebook(notebook(cell("chips")))
    loaded(page, ".wb-map-image img")
    prompt = page.locator(".wb-prompt input")

    def becomes(text: str) -> None:
        page.wait_for_function(
            "t => document.querySelector('.wb-prompt input').value === t", arg=text, timeout=300_000
        )

    prompt.fill("a boy, snow, house")
    prompt.press("Enter")
    chip = page.locator(".wb-tags .wbc-chip")
    page.wait_for_function("() => document.querySelector('.wbc-chip').textContent === 'a boy'")
    chip.nth(2).drag_to(chip.nth(0))
    becomes("house, a boy, snow")
    chip.nth(0).press("Alt+ArrowRight")
    becomes("a boy, house, snow")
    assert page.evaluate("() => document.activeElement.textContent") == "house"
    chip.nth(1).dblclick()
    page.locator(".wbc-edit").fill("mountain, <i>dragon</i>")
    page.locator(".wbc-edit").press("Enter")
    becomes("a boy, mountain, <i>dragon</i>, snow")
    page.wait_for_selector(".wbc-strange:has-text('<i>dragon</i>')")
    chip.nth(2).press("Delete")
    becomes("a boy, mountain, snow")
    page.get_by_label("Add a word that the model knows").select_option("rain")
    becomes("a boy, mountain, snow, rain")
    slider = page.locator(".wbc-length input")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(
        "() => document.querySelectorAll('.wbc-chip[aria-pressed=true]').length === 2"
    )
    chip.nth(3).press("Space")
    wait_for_text(page, ".wbc-length output", "3 of 4")
