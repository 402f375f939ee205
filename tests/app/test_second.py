"""A second control on the screen: chosen, swept, made and shown beside the first.

Protects: both steer, each with its own scale; the run makes the same pixels without the app; every
picture of a pair can be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_app import TinyEngine
from tiny_run import TINY_WORLD

import workbench as wb
from workbench.app import Workbench
from workbench.study import PairChoice, Study

PATIENCE = 300.0


class DepthEngine(TinyEngine):
    """Knows depth, too, which is brightness here as in `tiny_run`."""

    def __init__(self, models: Path, folder: Path) -> None:
        super().__init__(models, folder)
        self.family = TINY_WORLD

    def missing(self, study: Study) -> str:
        return ""

    def to_download(self, study: Study) -> tuple[str, ...]:
        return ()

    @cached_property
    def networks(self) -> Any:
        lent = {"depth": lambda batch: np.asarray(batch.mean(-1) / 255.0, np.float32)}
        return SimpleNamespace(names=frozenset(lent), lend=lambda _: lent)


@pytest.fixture
def bench(models: Path, tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path / "runs", engine=DepthEngine(models, tmp_path / "engine"))
    bench.session.wait(PATIENCE)
    yield bench
    bench.close()


def test_a_pair_is_chosen_made_and_made_again_without_the_app(
    bench: Workbench, tmp_path: Path
) -> None:
    session = bench.session
    assert bench.steering.second_scale.layout.display == "none"
    bench.steering.second.value = "depth"
    bench.steering.second_scale.value = 0.5
    assert set(bench.steering.controls[1].fields) >= {"meaning"}
    screen = session.wait(PATIENCE)
    assert screen.preview is not None and screen.preview.second_map is not None
    assert not np.array_equal(screen.preview.second_map, screen.preview.control_map)
    assert bench.steering.second_scale.layout.display == ""
    session.make()
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None and sheet.study is not None
    (use,) = sheet.study.controls
    assert isinstance(use, PairChoice) and use.axes(sheet.study.scales) == ((1.0,), (0.5,))
    run = wb.open_run(sheet.folder)
    (record,) = run.records.values()
    assert [one.scale for one in record.trial.controls] == [1.0, 0.5]
    manager = session.engine.manager  # type: ignore[attr-defined]
    again = wb.run(sheet.folder / "study.yaml", tmp_path / "again", manager=manager)
    assert np.array_equal(again.picture(sheet.newest), run.picture(sheet.newest))
    names: dict[str, Any] = {}
    exec(session.code().partition("run = ")[0], names)
    assert names["study"].controls == sheet.study.controls
    assert bench.run.explorer.in_hand == sheet.newest
    assert bench.run.explorer.picked["control"] == "canny (with depth at 0.5)"


def test_both_scales_are_swept_in_one_run_and_the_text_is_alone(bench: Workbench) -> None:
    session = bench.session
    session.choose(second="depth", second_scale=0.5)
    session.make_twin()
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None
    records = wb.open_run(sheet.folder).records
    assert records[sheet.beside].trial.controls == () and len(records) == 2
    bench.making.inputs["scale"].value = "0.5, 1"
    bench.making.inputs["second_scale"].value = "0.5, 1"
    assert session.wait(PATIENCE).price.startswith("4 pictures, 1 of them")
    bench.making.sweep.click()
    grown = session.wait(PATIENCE).sheet
    assert grown is not None and grown.folder == sheet.folder and grown.study is not None
    (use,) = grown.study.controls
    assert isinstance(use, PairChoice) and use.axes(grown.study.scales)[1] == (0.0, 0.5, 1.0)
    labels = [one["label"] for one in bench.run.explorer.data["controls"]]
    assert {f"canny (with depth at {scale})" for scale in ("0", "0.5", "1")} < set(labels)
    assert {f"depth (with canny at {scale})" for scale in ("0", "0.5", "1")} < set(labels)
    shown = bench.run.explorer.data["cells"]
    assert all(wanted >= 0 for wanted in shown["wanted"])

    session.choose(second="")
    session.open(grown.folder)
    choice = session.wait(PATIENCE).choice
    assert (choice.control, choice.second) == ("canny", "depth")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"second": "canny"}, "cannot be both"),
        ({"second": "hat"}, "no control type 'hat'"),
        ({"second": "depth", "second_scale": -1}, "second_scale must be"),
        ({"second": "depth", "second_settings": {"colour": 1}}, "colour"),
    ],
)
def test_what_cannot_be_second_is_refused(
    bench: Workbench, wrong: dict[str, Any], said: str
) -> None:
    before = bench.session.state.now.choice
    with pytest.raises(ValueError, match=said):
        bench.session.choose(**wrong)
    assert bench.session.state.now.choice == before
