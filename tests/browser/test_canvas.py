"""A control given by hand in a real JupyterLab: drawn, painted, dragged, cropped.

Protects what no unit test sees: that strokes of a pointer become exactly the marks that are kept,
that a joint goes where it is dragged, that the keyboard does the same, and that the picture follows
the drawing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image

import workbench as wb
from workbench.app.easel import JOINT_NAMES, medium_of
from workbench.controls import get_control
from workbench.families import LocateError, get_family
from workbench.families.locate import locate
from workbench.images import read_image

pytestmark = [pytest.mark.browser, pytest.mark.models]

Point = tuple[float, float]
SIDE = 128
CODE = """
import workbench as wb
bench = wb.Workbench(runs="runs-canvas")
bench.session.choose(control="scribble", seed=2)
bench
"""
FIGURE: tuple[Sequence[Point], ...] = (
    [(0.3 + 0.13 * math.sin(i / 3), 0.42 + 0.13 * math.cos(i / 3)) for i in range(20)],
    [(0.26, 0.55), (0.2, 0.82), (0.4, 0.82), (0.34, 0.55)],
    [(0.25, 0.82), (0.25, 0.95)],
    [(0.35, 0.82), (0.35, 0.95)],
    [(0.0, 0.68), (0.2, 0.68)],
    [(0.42, 0.68), (0.99, 0.68)],
)
"""A figure on the left, and the ground."""


class Screen:
    """The app in a page, and the folder of what is made by hand."""

    def __init__(self, page: Any, folder: Path) -> None:
        self.page, self.folder = page, folder

    def open(self, control: str, source: int) -> None:
        """Choose what steers, and open the canvas."""
        self.page.locator(".wb-control select").select_option(label=control)
        self.page.locator(".wb-source select").select_option(index=source)
        self.page.locator("button.wb-draw:not([disabled])").click()

    def drag(self, selector: str, points: Sequence[Point]) -> None:
        """Press the button at the first point and let go at the last; points are shares of it."""
        box = self.page.locator(selector).bounding_box()
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places:
            self.page.mouse.move(*place, steps=2)
        self.page.mouse.up()

    def kept(self, change: Callable[[], object]) -> Path:
        """The file that is the source after a change."""
        said = self.page.locator(".wb-canvas-said")
        before = said.inner_text() if said.count() else ""
        change()
        self.page.wait_for_function(
            "before => { const said = document.querySelector('.wb-canvas-said')?.innerText ?? '';"
            " return said.includes('source now') && said !== before; }",
            arg=before,
        )
        return self.folder / said.inner_text().rpartition(" ")[2]

    def nothing_serious(self) -> None:
        """Nothing on the screen stands in the way of anybody, by axe-core."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, context=".wb-canvas").response["violations"]
        assert not [one["id"] for one in found if one["impact"] in ("serious", "critical")]


@pytest.fixture
def screen(run_notebook: Callable[..., Any], lab: Any) -> Screen:
    family = get_family("paperdoll")
    try:
        for ref in (*family.base.values(), *family.controlnets.values(), family.clip):
            locate(ref)
    except LocateError as error:
        pytest.skip(f"the trained models are not there: {error}")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(CODE)]
    page = run_notebook(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}))
    page.set_default_timeout(300_000)  # the first map waits for torch
    page.wait_for_function("() => document.querySelector('.wb-map-image img')?.naturalWidth > 0")
    return Screen(page, lab.folder / "runs-canvas" / "sources")


def test_the_control_is_given_by_hand(screen: Screen, tmp_path: Path) -> None:
    scribble_is_obeyed(screen)
    a_class_is_painted(screen)
    a_joint_is_dragged(screen)
    a_part_is_cropped(screen, tmp_path)


def scribble_is_obeyed(screen: Screen) -> None:
    """The drawing is kept as it was drawn, and the map read back from the picture is like it."""
    page = screen.page
    screen.open("Scribble", 0)
    page.wait_for_selector(".wb-canvas-stage canvas")
    for stroke in FIGURE:
        path = screen.kept(lambda stroke=stroke: screen.drag(".wb-canvas-stage canvas", stroke))
    drawn = read_image(path)
    assert drawn.shape == (SIDE, SIDE, 3) and set(np.unique(drawn)) == {0, 255}
    ground = drawn[round(0.68 * SIDE), round(0.45 * SIDE) : -2]
    assert ground.min() == 255, "a stroke without a gap"
    assert drawn[: SIDE // 4].max() == 0 and drawn[: SIDE // 2, SIDE // 2 :].max() == 0

    before = screen.kept(lambda: page.get_by_role("button", name="Undo").click())
    assert read_image(before).sum() < drawn.sum() and not path.exists()
    canvas = page.get_by_role("application", name="Canvas of Scribble")
    assert screen.kept(lambda: canvas.press("Control+Shift+Z")) == path
    screen.nothing_serious()

    for button in ("make", "twin"):
        page.locator(f"button.wb-{button}").click()
        page.wait_for_function(
            "n => document.querySelector('.wb-status').innerText.includes('Done')"
            " && [...document.querySelectorAll('.wbx-row button img')]"
            ".filter(i => i.naturalWidth > 1).length >= n",
            arg=1 if button == "make" else 2,
            timeout=300_000,
        )
    table = wb.open_run(screen.folder.parent / "workbench-1").table
    read = table[table.metric == get_control("scribble").primary].set_index("scale")
    above = read.value - read.chance
    assert above[1.0] > 0.15 and above[1.0] > above[0.0] + 0.1, read[["value", "chance"]]


def a_class_is_painted(screen: Screen) -> None:
    """By mouse and by keyboard, over the classes of the source; no colour is mixed."""
    page, hand = screen.page, medium_of("segmentation")
    assert hand is not None
    screen.open("Semantic segmentation", 0)
    page.get_by_role("radio", name="roof").check()
    board = ".wb-canvas-stage canvas"
    screen.kept(lambda: screen.drag(board, [(0.2, 0.1), (0.8, 0.1)]))
    page.get_by_role("radio", name="bow").check()
    canvas = page.get_by_role("application", name="Canvas of Semantic segmentation")
    canvas.focus()
    page.mouse.move(0, 0)
    for key in ("Shift+ArrowUp", "Shift+ArrowUp", "Space", "Shift+ArrowRight"):
        canvas.press(key)
    path = screen.kept(lambda: canvas.press("Space"))
    picture = read_image(path)
    marks = hand.marks(picture)
    assert np.array_equal(hand.palette[marks], picture)
    assert (marks[round(0.1 * SIDE), round(0.25 * SIDE) : round(0.75 * SIDE)] == 3).all()
    assert (marks == hand.names.index("bow")).sum() > 50 and len(np.unique(marks)) > 4
    screen.nothing_serious()


def a_joint_is_dragged(screen: Screen) -> None:
    """To where the mouse lets go, and one pixel further by an arrow key; another is hidden."""
    page, wrist = screen.page, JOINT_NAMES.index("left wrist")
    screen.open("Human pose", 0)
    joint = page.get_by_role("button", name="left wrist")
    box, stage = joint.bounding_box(), page.locator(".wb-canvas-stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(stage["x"] + 0.9 * stage["width"], stage["y"] + 0.2 * stage["height"], steps=4)
    path = screen.kept(page.mouse.up)
    found = get_control("pose").from_picture(read_image(path)).data
    assert len(found) == 1 and np.abs(found[0, wrist, :2] - (0.9, 0.2)).max() < 0.02
    path = screen.kept(lambda: joint.press("ArrowLeft"))
    moved = get_control("pose").from_picture(read_image(path)).data
    assert 0.3 / SIDE < found[0, wrist, 0] - moved[0, wrist, 0] < 1.7 / SIDE
    nose = page.get_by_role("button", name="nose")
    path = screen.kept(lambda: nose.click(button="right"))
    assert nose.get_attribute("aria-pressed") == "false"
    assert get_control("pose").from_picture(read_image(path)).data[0, 0, 2] == 0
    assert page.locator(".lm-Menu").count() == 0, "JupyterLab's menu stays away"
    screen.nothing_serious()


def a_part_is_cropped(screen: Screen, tmp_path: Path) -> None:
    """An upload of more than a server takes in one message, of which a part is chosen."""
    page = screen.page
    noise = np.random.default_rng(5).integers(0, 256, (1400, 2800, 3)).astype(np.uint8)
    noise[:, :200] = (200, 40, 90)
    Image.fromarray(noise).save(tmp_path / "wide.png")
    assert (tmp_path / "wide.png").stat().st_size > 10 * 2**20
    with page.expect_file_chooser() as chooser:
        page.locator(".wb-upload").click()
    chooser.value.set_files(tmp_path / "wide.png")
    page.wait_for_selector(".wb-canvas-crop")
    path = screen.kept(lambda: screen.drag(".wb-canvas-stage", [(0.5, 0.5), (0.01, 0.5)]))
    assert np.array_equal(read_image(path), noise[:, :1400]), "all the way to the left"
    path = screen.kept(lambda: page.locator(".wb-canvas-crop").press("-"))
    assert read_image(path).shape == (1386, 1386, 3)
    assert [one.name for one in screen.folder.glob("wide-*")] == [path.name]
    screen.nothing_serious()
    (tmp_path / "none.png").write_text("no picture")
    with page.expect_file_chooser() as chooser:
        page.locator(".wb-upload").click()
    chooser.value.set_files(tmp_path / "none.png")
    page.wait_for_function(
        "() => document.querySelector('.wb-message').innerText.includes('none.png is not a')"
    )
