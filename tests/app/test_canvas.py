"""The canvas in the app, driven as its page would drive it but without one.

Protects: what is drawn is the source at once, earlier states of a drawing leave nothing behind,
the canvas goes on from what was drawn, and the study file of a picture made with it runs headless
to the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_app import TinyEngine

import workbench as wb
from workbench.app import Choice, Preview, Workbench
from workbench.app.easel import misread
from workbench.controls import get_control
from workbench.families import LocateError
from workbench.images import encode_png, read_image
from workbench.study.labels import is_map, path_of

PATIENCE, SIDE = 60.0, 64


class Page:
    """What the page of a canvas gets, and what it sends back."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.scene: dict[str, Any] = {}
        self.buffers: list[bytes] = []
        self.said: list[str] = []
        bench.canvas.canvas.send = self._get  # type: ignore[method-assign]

    def _get(self, message: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        if message["kind"] == "begin":
            self.scene, self.buffers = message, list(buffers or [])
        else:
            self.said.append(message["text"])

    def open(self) -> dict[str, Any]:
        """Click the button of the canvas; returns what it is to show."""
        self.bench.canvas.button.click()
        self.bench.session.wait(PATIENCE)
        return self.scene

    def tell(self, message: dict[str, Any], *buffers: bytes) -> None:
        """A change that a person has finished."""
        self.bench.canvas.canvas._heard(
            None, {"of": self.scene.get("number"), **message}, [memoryview(b) for b in buffers]
        )
        self.bench.session.wait(PATIENCE)

    def draw(self, marks: np.ndarray) -> None:
        """All marks after a stroke."""
        self.tell({"do": "marks"}, marks.tobytes())


@pytest.fixture
def bench(engine: TinyEngine, tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path / "runs", engine=engine)
    bench.session.wait(PATIENCE)
    yield bench
    engine.gate.set()
    bench.close()


@pytest.fixture
def page(bench: Workbench) -> Page:
    return Page(bench)


def square(place: int = 10) -> np.ndarray:
    """The outline of a square, as marks."""
    marks = np.zeros((SIDE, SIDE), np.uint8)
    marks[place : place + 30, place : place + 30] = 255
    marks[place + 1 : place + 29, place + 1 : place + 29] = 0
    return marks


def kept(bench: Workbench) -> list[str]:
    """The files beside the runs."""
    return sorted(path.name for path in bench.session.shelf.sources.glob("*"))


def test_what_is_drawn_is_the_source_at_once(bench: Workbench, page: Page) -> None:
    scene = page.open()
    assert (scene["mode"], scene["side"]) == ("draw", SIDE)
    assert not any(page.buffers[1]), "it begins blank, over the source"
    assert any(page.buffers[2]) and page.buffers[0].startswith(b"\x89PNG")
    assert bench.canvas.box.layout.display == "" and kept(bench) == []
    page.draw(square())
    screen = bench.session.state.now
    source = screen.choice.source
    assert is_map(source) and bench.steering.source.value == source
    assert screen.preview is not None
    assert np.array_equal(screen.preview.control_map[:, :, 0], square())
    assert page.said[-1] == f"This is the source now: {Path(path_of(source)).name}"


def test_earlier_states_of_a_drawing_leave_nothing_behind(bench: Workbench, page: Page) -> None:
    before = bench.session.state.now.offer.sources
    page.open()
    for place in (10, 12, 14):
        page.draw(square(place))
    (name,) = kept(bench)
    screen = bench.session.state.now
    assert screen.offer.sources == (*before, screen.choice.source)
    assert screen.choice.source.endswith(name)
    bench.making.make.click()
    bench.session.wait(PATIENCE)
    page.draw(square(16))
    assert name in kept(bench) and len(kept(bench)) == 2, "a picture was made with it"
    page.draw(square(14))
    page.draw(square(18))
    assert name in kept(bench) and len(kept(bench)) == 2, "undoing does not take it back either"


def test_the_canvas_goes_on_from_what_was_drawn(bench: Workbench, page: Page) -> None:
    page.open()
    page.draw(square())
    bench.canvas.close_button.click()
    assert bench.canvas.box.layout.display == "none"
    page.open()
    assert page.buffers[1] == square().tobytes()
    assert page.buffers[0].startswith(b"\x89PNG"), "the source is still behind it"
    name = kept(bench)[0]
    page.draw(square(20))
    page.draw(square(22))
    assert len(kept(bench)) == 2 and name in kept(bench), "what was there when it opened stays"


def test_what_cannot_be_a_map_is_said_and_changes_nothing(bench: Workbench, page: Page) -> None:
    page.open()
    page.draw(square())
    choice = bench.session.state.now.choice
    page.draw(square() * 0)
    assert page.said[-1] == "Nothing is drawn: the source stays as it was."
    page.tell({"do": "marks"}, b"short")
    assert "must send 64 × 64 pixels" in page.said[-1]
    page.tell({"do": "marks", "of": -1}, square(20).tobytes())
    assert bench.session.state.now.choice == choice


def test_another_source_or_control_puts_the_canvas_away(bench: Workbench, page: Page) -> None:
    page.open()
    page.draw(square())
    bench.session.choose(source="paperdoll:2")
    assert bench.canvas.box.layout.display == "none"
    page.open()
    page.draw(square(20))
    bench.session.choose(settings={"low": 5.0})
    page.draw(square(25))
    assert bench.canvas.box.layout.display == "none", "a late stroke is not taken"


def test_a_drawing_that_is_taken_for_another_kind_of_map_is_told(
    bench: Workbench, page: Page
) -> None:
    page.open()
    page.draw(square())
    drawn = Path(path_of(bench.session.state.now.choice.source))
    assert misread(drawn, get_control("lineart")) == ""
    told = "This map was made as Canny edges, and is taken as Depth now."
    assert misread(drawn, get_control("depth")) == told


def test_a_source_whose_map_cannot_be_had_is_drawn_over(
    bench: Workbench, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(choice: Choice) -> Preview:
        raise LocateError("the map needs a network")

    monkeypatch.setattr(bench.session.engine, "preview", lacking)
    page.open()
    source, marks, found = page.buffers[:3]
    assert source.startswith(b"\x89PNG") and not any(marks) and found == b""


def test_the_study_of_a_drawing_runs_headless_to_the_same_pixels(
    bench: Workbench, page: Page, engine: TinyEngine, tmp_path: Path
) -> None:
    page.open()
    page.draw(square())
    bench.making.make.click()
    screen = bench.session.wait(PATIENCE)
    assert screen.sheet is not None and screen.in_hand
    run = wb.open_run(screen.sheet.folder)
    again = wb.run(screen.sheet.folder / "study.yaml", tmp_path / "again", manager=engine.manager)
    assert np.array_equal(again.picture(screen.in_hand), run.picture(screen.in_hand))


def test_a_picture_that_is_not_square_is_cut_where_one_likes(bench: Workbench, page: Page) -> None:
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 60:] = 255
    bench.steering.take("my holiday.png", encode_png(wide))
    source = bench.session.wait(PATIENCE).choice.source
    assert np.array_equal(read_image(source), wide[:, 30:70]), "the middle, at first"
    assert (page.scene["mode"], page.scene["box"]) == ("crop", (30, 0, 40))
    page.tell({"do": "crop", "box": [60, 0, 40]})
    screen = bench.session.state.now
    assert read_image(screen.choice.source).min() == 255
    assert [Path(screen.choice.source).name] == kept(bench), "the part alone is kept"
    assert screen.preview is not None and screen.preview.source.min() == 255
    page.tell({"do": "crop", "box": [90, 0, 40]})
    assert "must lie in the picture" in page.said[-1]


def test_an_upload_comes_in_pieces(bench: Workbench) -> None:
    data = encode_png(np.random.default_rng(1).integers(0, 256, (60, 60, 3)).astype(np.uint8))
    half = len(data) // 2
    for at, piece in ((0, data[:half]), (half, data[half:])):
        message = {"do": "piece", "of": 1, "at": at, "name": "a.png", "size": len(data)}
        bench.steering.upload._heard(None, message, [memoryview(piece)])
    source = bench.session.wait(PATIENCE).choice.source
    assert Path(source).read_bytes() == data, "a square picture is kept as it came"


@pytest.mark.parametrize(
    ("name", "size", "data", "said"),
    [
        ("big.png", 33 * 2**20, b"", "big.png has 33.0 MiB, more than the 32.0 MiB"),
        ("a.txt", 4, b"text", "a.txt: not one of .png"),
        ("a.png", 4, b"text", "a.png is not a picture of a kind that can be read"),
        ("b.png", 0, b"", "b.png is empty"),
    ],
)
def test_what_is_no_picture_is_one_sentence(
    bench: Workbench, name: str, size: int, data: bytes, said: str
) -> None:
    before = bench.session.state.now.choice
    message = {"do": "piece", "of": 1, "at": 0, "name": name, "size": size}
    bench.steering.upload._heard(None, message, [memoryview(data)])
    assert bench.session.wait(PATIENCE).choice == before
    assert said in bench.message.value and bench.message.value.count("That failed") == 1
    assert kept(bench) == []
