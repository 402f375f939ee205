"""Protects the page from loading anything, running a prompt, and leaving out in silence."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from written_run import write_run

import workbench as wb
from workbench.explorer import LocalNetworks, ViewChoice
from workbench.explorer.page import json_text, module, script
from workbench.explorer.pictures import webp
from workbench.store import Record, RunFolder

TAGS = ("a girl", "long hair", "blond hair", "black eyes", "black coat", "winter", "snow")


@pytest.fixture(scope="module")
def run(demo_frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> wb.Run:
    """Written like a real one; its third picture failed."""
    frame = demo_frame[demo_frame["length"] > 0]
    folder = tmp_path_factory.mktemp("runs") / "demo"
    return wb.open_run(write_run(folder, frame, TAGS, failed={2: "it came out black"}).path)


def inside(text: str) -> tuple[dict[str, Any], list[str | None]]:
    """The data and the pictures that a page carries."""
    found = dict(re.findall(r'<script type="application/json" id="(.*?)">(.*?)</script>', text))
    return json.loads(found["explorer-data"]), json.loads(found["explorer-images"])


def test_the_page_holds_every_picture_of_the_run(run: wb.Run, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    text = run.page(tmp_path / "page.html").read_text("utf-8")
    assert before == {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    data, images = inside(text)
    failed = 0
    for i, number in enumerate(data["cells"]["sample"]):
        if data["cells"]["failed"][i]:
            failed += 1
            assert number == -1
            continue
        packed = images[number]
        assert packed is not None
        picture = Image.open(io.BytesIO(base64.b64decode(packed)), formats=("WEBP",))
        assert picture.size == (32, 32)
    assert 0 < failed < 20
    # Canny needs no network, so its maps are read back; whoever lacks the judge has none of depth.
    labels = [control["label"] for control in data["controls"]]
    read = {labels[c] for c, n in zip(data["cells"]["control"], data["cells"]["read"], strict=True)
            if n >= 0}  # fmt: skip
    assert "canny" in read


def test_the_page_loads_nothing(run: wb.Run, tmp_path: Path) -> None:
    text = run.page(tmp_path / "page.html").read_text("utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r'(?:src|href)="(?!data:)', text.partition("<script")[0])
    assert not re.search(r"https?://(?!www\.w3\.org/)", script())


def test_no_text_can_end_the_data() -> None:
    hostile = "</script><script>alert(1)</script> <!-- \u2028"
    text = json_text({"title": hostile})
    assert "<" not in text and "\u2028" not in text
    assert json.loads(text)["title"] == hostile


def test_the_script_of_the_page_is_the_module_of_the_notebook() -> None:
    assert module().startswith(script()) and "export" not in script().splitlines()[-1]
    assert "innerHTML" not in module() and "insertAdjacentHTML" not in module()


def test_what_is_left_out_is_said(run: wb.Run) -> None:
    view = run.view(ViewChoice(pictures=40))
    *_, note = view.shown.data["notes"]
    assert "1 of its seeds" in note
    samples = {picture for picture in view.shown.pictures if picture[0] == "sample"}
    told = int(note.split()[2])  # one of them may be the picture that failed
    assert 0 <= told - len(samples) <= 1 and told <= 40


def test_a_choice_is_kept(run: wb.Run) -> None:
    source = "paperdoll:900002"
    data = run.view(ViewChoice(seeds=1, sources=(source,), controls=("depth",))).shown.data
    assert [s["name"] for s in data["sources"]] == [source]
    assert [c["label"] for c in data["controls"]] == ["depth"] and data["seeds"] == [1]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (ViewChoice(sources=("cat.png",)), "no source cat.png; it has: paperdoll:900001"),
        (ViewChoice(controls=("hats",)), "no control type hats; it has: "),
    ],
)
def test_what_the_run_lacks_is_named(run: wb.Run, choice: ViewChoice, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run.view(choice)


def test_no_maps_are_read_back_when_nobody_wants_them(run: wb.Run) -> None:
    kinds = {kind for kind, *_ in run.view(ViewChoice(maps=False)).shown.pictures}
    assert kinds == {"sample", "source", "wanted"}


def test_an_unknown_family_lends_nothing() -> None:
    networks = LocalNetworks("of somebody else")
    assert networks.names == frozenset() and not networks.is_small


def test_pictures_keep_their_proportions() -> None:
    wide = np.zeros((100, 400, 3), np.uint8)
    assert Image.open(io.BytesIO(webp(wide, 100)), formats=("WEBP",)).size == (100, 25)
    assert Image.open(io.BytesIO(webp(wide, 512)), formats=("WEBP",)).size == (400, 100)


def test_a_run_with_its_table_is_shown_without_a_look_at_every_record(
    run: wb.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand records take seconds to read; only those that may have failed are asked."""
    whole = run.view().shown
    read: list[str] = []
    anew, folder = wb.open_run(run.path), type(run.folder)
    record = folder.read_record

    def reading(self: RunFolder, trial: str) -> Record:
        read.append(trial)
        return record(self, trial)

    monkeypatch.setattr(folder, "read_record", reading)
    monkeypatch.setattr(folder, "scan", lambda *_, **__: pytest.fail("all records were read"))
    assert anew.view().shown == whole
    assert set(whole.data["cells"]["failed"]) == {"", "it came out black"}
    assert 0 < len(read) < 5


def test_a_place_is_found_by_its_names_and_nothing_else_is(run: wb.Run) -> None:
    shown = run.view().shown
    for cell in (0, len(shown.trials) // 2, len(shown.trials) - 1):
        assert shown.cell_at(shown.place(cell)) == cell
    for odd in ({}, None, "depth", shown.place(0) | {"seed": 99}, shown.place(0) | {"seed": []}):
        assert shown.cell_at(odd) is None


def test_a_small_network_reads_few_pictures_at_once_or_those_that_are_looked_at(
    run: wb.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.explorer.pictures.FEW", 100)

    def read(choice: ViewChoice) -> set[str]:
        pictures = run.view(choice).shown.pictures
        return {label for kind, _, label in pictures if kind == "read"}

    networks = run.view().pictures.networks
    assert networks is not None
    monkeypatch.setattr(networks, "names", frozenset(networks._family.networks))
    monkeypatch.setattr(networks, "is_small", True)
    assert read(ViewChoice()) == {"canny"}  # it needs no network
    assert read(ViewChoice(at_once=False)) == {"canny", "depth"}
    assert read(ViewChoice(seeds=1, sources=("paperdoll:900001",))) == {"canny", "depth"}
    assert read(ViewChoice(maps=True)) == {"canny", "depth"}
