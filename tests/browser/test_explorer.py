"""The explorer in a real Chromium, as a page and in JupyterLab: seen, walked, pinned, and harmless.

Protects whoever opens a run that somebody else made, and whoever has no mouse or does not see.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hostile_run import MARK_NAME, hostile_run
from written_run import write_run
from written_ways import write_ways

import workbench as wb
from workbench.explorer import ViewChoice, explorer_data, grow, unmade
from workbench.explorer.page import module
from workbench.store import build_table
from workbench.study.plan import make_plan

pytestmark = pytest.mark.browser

TAGS = ("a girl", "long hair", "blond hair", "black eyes", "black coat", "winter", "snow")
SIZES = ((1280, 720), (1920, 1080))


@pytest.fixture(scope="module")
def run(demo_frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> wb.Run:
    """Two control types, two lengths, five scales, four sources; one picture failed."""
    frame = demo_frame[demo_frame["length"] > 0]
    folder = tmp_path_factory.mktemp("runs") / "demo"
    return wb.open_run(write_run(folder, frame, TAGS, failed={2: "it came out black"}).path)


@pytest.fixture(scope="module")
def file(run: wb.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the run."""
    return run.page(tmp_path_factory.mktemp("page") / "page.html", ViewChoice(maps=None))


@pytest.fixture
def explorer(page: Any, file: Path) -> Any:
    """The page, opened; it must not complain or ask for anything."""
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on(
        "request", lambda r: None if r.url.startswith(("data:", "file:")) else told.append(r.url)
    )
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(file.as_uri())
    page.wait_for_selector(".wbx-point")
    yield page
    assert told == []


def said(page: Any) -> str:
    """What the page tells those who do not see it."""
    return str(page.locator(".wbx-hidden[aria-live]").inner_text())


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_all_of_it_fits_on_the_screen(explorer: Any, width: int, height: int) -> None:
    explorer.set_viewport_size({"width": width, "height": height})
    explorer.wait_for_timeout(200)
    whole = explorer.evaluate("[document.body.scrollWidth, document.body.scrollHeight]")
    assert whole[0] <= width and whole[1] <= height
    for part in (
        ".wbx-chart .wbx-plot svg",
        ".wbx-sheet",
        ".wbx-tiles",
        ".wbx-hand .wbx-scrubs",
        ".wbx-words",
    ):
        box = explorer.locator(part).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= height, part
        assert box["x"] >= 0 and box["x"] + box["width"] <= width, part


def test_a_sheet_of_many_scales_scrolls_in_itself(explorer: Any) -> None:
    """It does not push the chart over the pictures."""
    explorer.locator(".wbx-sheet").evaluate("sheet => sheet.style.setProperty('--side', '190px')")
    tiles = explorer.locator(".wbx-tiles").bounding_box()
    for part in (".wbx-chart", ".wbx-sheet"):
        box = explorer.locator(part).bounding_box()
        assert box["x"] + box["width"] <= tiles["x"], part


def test_the_keyboard_walks_the_sheet(explorer: Any) -> None:
    explorer.locator(".wbx-row button.wbx-on").focus()
    before = said(explorer)
    explorer.keyboard.press("ArrowRight")
    assert "scale 1.2" in said(explorer) != before
    assert explorer.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
        "7 tags, scale 1.2: prompt"
    )
    explorer.keyboard.press("ArrowDown")
    assert "3 tags" in said(explorer)
    explorer.keyboard.press("]")
    assert "seed 2" in said(explorer)
    for _ in range(9):  # the end of the sheet is the end
        explorer.keyboard.press("ArrowLeft")
    assert "text only" in said(explorer)
    explorer.keyboard.press("Enter")
    assert explorer.locator("dialog[open] img").is_visible()
    explorer.keyboard.press("Escape")
    assert explorer.locator("dialog[open]").count() == 0


def test_scrubbing_changes_picture_point_and_words(explorer: Any) -> None:
    picture = explorer.locator(".wbx-tiles figure:nth-child(2) > img")
    shown = {picture.get_attribute("src")}
    scrub = explorer.get_by_label("Conditioning scale", exact=True)
    for value, name in enumerate(("text only", "scale 0.4", "scale 0.8", "scale 1.2")):
        scrub.fill(str(value))
        assert name in said(explorer)
        shown.add(picture.get_attribute("src"))
        assert explorer.locator(".wbx-point.wbx-on").count() == 1
    assert len(shown) == 4
    explorer.get_by_label("Prompt length", exact=True).last.fill("0")
    assert "3 tags" in said(explorer)
    words = explorer.locator(".wbx-word")
    classes = [words.nth(i).get_attribute("class") for i in range(7)]
    assert [("wbx-cut" in c) for c in classes] == [False] * 3 + [True] * 4
    assert "wbx-lost" in classes[1]  # long hair, where the control is strong


def test_hover_looks_and_click_pins(explorer: Any) -> None:
    cells = explorer.locator(".wbx-row button")
    cells.nth(1).hover()
    assert "7 tags, scale 0.4" in said(explorer)
    cells.nth(1).click()
    cells.nth(4).hover()
    pinned = explorer.locator(".wbx-tiles figure:nth-child(3) figcaption")
    assert pinned.inner_text() == "pinned: 7 tags, scale 0.4, seed 1"
    assert "scale 1.6" in said(explorer)
    cells.nth(4).click()  # the second pin: both stay
    cells.nth(0).hover()
    assert "scale 1.6" in said(explorer) and explorer.locator("circle.wbx-pinned").count() == 2
    explorer.keyboard.press("Escape")
    assert explorer.locator("circle.wbx-pinned").count() == 0


def test_a_point_of_the_chart_is_its_pictures(explorer: Any) -> None:
    point = explorer.locator(".wbx-point .wbx-hit").first
    box = point.bounding_box()
    explorer.mouse.move(box["x"] + 8, box["y"] + 8, steps=4)
    explorer.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    title = explorer.locator(".wbx-point.wbx-on title").text_content()
    assert title.split(";")[0] in said(explorer)


def test_axes_and_control_type_can_be_chosen(explorer: Any) -> None:
    explorer.get_by_label("Horizontal axis").select_option("scale")
    assert explorer.locator(".wbx-title").first.text_content() == "Conditioning scale →"
    explorer.get_by_label("Vertical axis").select_option("canny_f1")
    explorer.get_by_role("tab", name="Depth").click()
    assert "Depth" in said(explorer)
    # Depth has no edge metric: the axis falls back to one that it has.
    assert "Prompt adherence" in explorer.locator(".wbx-title").nth(1).text_content()
    options = explorer.get_by_label("Vertical axis").locator("option").all_text_contents()
    assert not any("Canny" in option for option in options)


def test_a_picture_that_failed_says_why(explorer: Any, run: wb.Run) -> None:
    trial = run.trials[run.trials["failed"] != ""].iloc[0]
    explorer.get_by_role("tab", name="Depth" if trial["control"] == "depth" else "Canny").click()
    failed = explorer.locator(".wbx-row button.wbx-empty")
    for seed in ("1", "2"):
        explorer.get_by_label("Seed", exact=True).select_option(seed)
        for source in range(4):
            explorer.get_by_label("Source", exact=True).select_option(index=source)
            if failed.count():
                assert "it came out black" in failed.first.get_attribute("aria-label")
                failed.first.hover()
                assert "it came out black" in explorer.locator(".wbx-tiles").inner_text()
                return
    raise AssertionError("the failed picture is nowhere")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_stands_in_anybodys_way(explorer: Any, scheme: str) -> None:
    """Names, roles, contrast and keyboard, by the rules of axe-core."""
    from axe_playwright_python.sync_playwright import Axe

    explorer.emulate_media(color_scheme=scheme)
    explorer.locator(".wbx-row button").nth(1).click()
    found = Axe().run(explorer).response["violations"]
    grave = [
        (rule["id"], [node["html"][:120] for node in rule["nodes"]][:3])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
    assert grave == []


@pytest.mark.parametrize("name", ["hostile", "long"])
def test_nothing_that_a_run_says_is_run(name: str, page: Any, tmp_path: Path) -> None:
    run = wb.open_run(hostile_run(tmp_path / "run", name).path)
    told: list[str] = []
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on(
        "request", lambda r: None if r.url.startswith(("data:", "file:")) else told.append(r.url)
    )
    page.goto(run.page(tmp_path / "page.html").as_uri())
    page.wait_for_selector(".wbx-row button")
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate(f"window.{MARK_NAME}") is None and told == []


def test_in_jupyterlab_it_shows_pictures_as_they_are_looked_at(
    run: wb.Run, lab: Any, run_notebook: Callable[..., Any]
) -> None:
    shutil.copytree(run.path, lab.folder / "explored")
    lines = 'import workbench as wb\nexplorer = wb.explore("explored")\nexplorer'
    check = 'print("picked", explorer.picked.get("scale"), explorer.picked.get("prompt"))'
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    notebook = {
        "cells": [cell | {"source": lines, "id": "a"}, cell | {"source": check, "id": "b"}],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    page = run_notebook(json.loads(json.dumps(notebook)), "explorer.ipynb")
    page.wait_for_selector(".wbx-row button img:not(.wbx-none)")
    shown = page.locator(".wbx-tiles figure:nth-child(2) > img")
    before = shown.get_attribute("src")
    assert before.startswith("blob:")
    page.locator(".wbx-row button").nth(1).hover()
    page.wait_for_function(
        "before => document.querySelector('.wbx-tiles figure:nth-child(2) > img').src !== before",
        arg=before,
    )
    page.evaluate("""async () => {
      const panel = window.jupyterapp.shell.currentWidget;
      panel.content.activeCellIndex = 1;
      window.jupyterapp.commands.execute('notebook:run-cell');
    }""")
    page.wait_for_selector("text=picked 0.4 7 tags")


@pytest.fixture(scope="module")
def driven(run: wb.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a run of which it is known who was driving."""
    folder = Path(shutil.copytree(run.path, tmp_path_factory.mktemp("driven") / "run"))
    write_ways(wb.open_run(folder).folder)
    choice = ViewChoice(seeds=1, controls=("depth",), maps=False)
    return wb.open_run(folder).page(folder / "page.html", choice)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_who_is_driving_is_scrubbed_through_the_steps(driven: Path, page: Any, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(driven.as_uri())
    page.get_by_role("button", name="Who is driving?").click()
    assert page.locator(".wbx-chart").is_hidden() and page.locator(".wbx-own").count() == 3
    so_far = page.locator(".wbx-drivebody .wbx-stack > img:first-child")
    shown, steps = set(), page.get_by_role("slider", name="Denoising step")
    for step in (1, 4, 6):
        steps.fill(str(step))
        shown.add(so_far.get_attribute("src"))
        assert page.locator(".wbx-driving output").inner_text() == f"{step} of 6"
        assert f"at step {step}, picture so far" in page.locator(".wbx-drivebody").inner_text()
    assert len(shown) == 3
    page.wait_for_function("document.querySelector('.wbx-driving canvas').width === 4")
    painted = "document.querySelector('.wbx-driving canvas').toDataURL()"
    before = page.evaluate(painted)
    page.get_by_label("Map on the picture").select_option("control")
    assert page.evaluate(painted) != before
    grave = [
        (rule["id"], [node["html"][:120] for node in rule["nodes"]][:3])
        for rule in Axe().run(page).response["violations"]
        if rule["impact"] in ("serious", "critical")
    ]
    whole = page.evaluate("[document.body.scrollWidth, document.body.scrollHeight]")
    assert grave == [] and whole[0] <= 1280 and whole[1] <= 720
    page.get_by_label("Conditioning scale", exact=True).fill("0")
    assert "the text drives alone" in page.locator(".wbx-driven").inner_text()
    page.get_by_role("button", name="Trade-off").click()
    assert page.locator(".wbx-point").count() > 5 and told == []


def test_without_results_nobody_is_asked_who_is_driving(explorer: Any) -> None:
    assert explorer.get_by_role("button", name="Who is driving?").count() == 0


HOST = """async ([source, data]) => {
  const file = new Blob([source], { type: "text/javascript" });
  const module = await import(URL.createObjectURL(file));
  document.body.replaceChildren();
  window.asked = [];
  window.handlers = {};
  window.shown = data;
  const model = {
    get: (name) => ({ data: window.shown })[name],
    on: (name, then) => (window.handlers[name] ??= []).push(then),
    send: (message) => window.asked.push(message),
  };
  module.default.render({ model, el: document.body });
}"""


def test_a_picture_that_came_is_put_into_its_place(run: wb.Run, page: Any, tmp_path: Path) -> None:
    """As a notebook gets it: nothing is built anew under the pointer."""
    folder = Path(shutil.copytree(run.path, tmp_path / "run"))
    (folder / "measurements.parquet").unlink()
    plan = make_plan(run.study, resolution=32)
    view = run.view(ViewChoice(at_once=False))
    start = view.shown.cells[view.shown.cell_at({"control": "depth", "source": "paperdoll:900001",
        "seed": 1, "prompt": "7 tags", "scale": 0.4}) or 0]  # fmt: skip
    (trial,) = (cell.trial_id for cell in plan.cells if cell.id == start)
    shutil.rmtree(folder / "trials" / trial)
    half = wb.open_run(folder).view(ViewChoice(at_once=False), planned=plan.cells)
    data = json.loads(json.dumps(half.shown.data))
    put = grow(half, [run.folder.read_record(trial)], unmade(half), half.pictures.readable())
    assert put is not None
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.evaluate(HOST, [module(), data])
    page.get_by_role("tab", name="Depth").click()
    empty = page.get_by_label("7 tags, scale 0.4: not made yet")
    empty.evaluate("button => { window.place = button; window.asked.length = 0; }")
    tell = "put => window.handlers['msg:custom'].forEach((f) => f({ kind: 'grown', cells: put }))"
    page.evaluate(tell, put)
    filled = page.locator(".wbx-row button").nth(1)
    assert filled.evaluate("button => button === window.place")
    assert filled.get_attribute("aria-label").startswith("7 tags, scale 0.4: prompt 0")
    asked = f"() => window.asked.some((m) => m.numbers?.includes({put[0]['sample']}))"
    page.wait_for_function(asked)
    # The chart shows the means of what is there, as a new look does.
    points = """[...document.querySelectorAll('.wbx-hit')].map(
      (c) => [Number(c.getAttribute('cx')), Number(c.getAttribute('cy'))])"""
    means = page.evaluate(points)
    page.evaluate(HOST, [module(), json.loads(json.dumps(view.shown.data))])
    page.get_by_role("tab", name="Depth").click()
    assert np.abs(np.subtract(means, page.evaluate(points))).max() < 0.2  # of a pixel
    assert errors == []


def test_a_new_run_comes_after_another_without_complaint(run: wb.Run, page: Any) -> None:
    """What follows the size of the window must not look for the place of the run before."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    data = json.loads(json.dumps(run.view(ViewChoice(at_once=False)).shown.data))
    page.evaluate(HOST, [module(), data])
    change = "data => { window.shown = data; window.handlers['change:data'].forEach((f) => f()); }"
    page.evaluate(change, explorer_data(build_table([]), notes=["nothing yet"]).data)
    page.wait_for_selector(".wbx-vacant")
    page.set_viewport_size({"width": 900, "height": 700})
    page.evaluate("() => new Promise((then) => requestAnimationFrame(() => setTimeout(then)))")
    assert errors == []
    page.evaluate(change, data)
    page.wait_for_selector(".wbx-point")
    assert errors == []
