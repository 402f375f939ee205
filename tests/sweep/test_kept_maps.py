"""Protects: a run keeps the control maps that its ControlNets saw, and its report shows those.

A report that makes them again needs the models, and may find others than the run had.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pools import ThreadWorkers
from test_executors import PROCESSES, pool, tiny
from tiny_run import TinyManager, make_study

from workbench.analysis import distinct_controls
from workbench.explorer import LocalNetworks, RunPictures
from workbench.images import encode_png
from workbench.report import render_report
from workbench.report.sheets import control_maps
from workbench.store import RunFolder
from workbench.study import make_plan
from workbench.sweep import run_study

__all__ = ["pool", "tiny"]

TWO_CONTROLS = {"controls": ["canny", "depth"]}


@pytest.fixture(name="no_models")
def _no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a report of kept maps loads no model")

    # What the pictures show is read back where that costs little; it is no map that a net saw.
    monkeypatch.setattr("workbench.explorer.LocalNetworks.lend", lambda *_: {})

    monkeypatch.setattr("workbench.families.manager.ModelManager.__init__", refuse)


def shown(run: RunFolder) -> dict[tuple[str, str, str], np.ndarray]:
    frame = distinct_controls(run.measurements())
    found = control_maps(RunPictures(run, frame, LocalNetworks("paperdoll")))
    return {key: one.picture for key, one in found.items()}


def test_the_report_shows_the_maps_of_the_run(
    manager: TinyManager, tmp_path: Path, no_models: None
) -> None:
    study = make_study(**TWO_CONTROLS)
    run = run_study(study, tmp_path / "run", manager=manager)
    plan = make_plan(study, resolution=64)
    found = shown(run)
    wanted = {(c.source, c.control, c.control_settings): c.map_key for c in plan.cells}
    assert len(wanted) == 4 and found.keys() == wanted.keys()
    for key, map_key in wanted.items():
        kept = run.read_map(map_key)
        assert kept is not None
        np.testing.assert_array_equal(found[key], kept)
    depth = next(key for key in wanted if key[1] == "depth")
    picture = run.read_sources()[depth[0]].image
    (made,) = manager.networks()["depth"](picture[None])  # what the tiny family calls depth
    assert np.corrcoef(made.ravel(), found[depth][..., 0].ravel())[0, 1] > 0.99
    assert 'alt="Contact sheet for Depth' in render_report(run)


def test_workers_keep_them_too(pool: ThreadWorkers, manager: TinyManager, tmp_path: Path) -> None:
    by_workers = run_study(make_study(), tmp_path / "a", executor=PROCESSES)
    here = run_study(make_study(), tmp_path / "b", manager=manager)
    sides = [
        {path.name: path.read_bytes() for path in (run.path / "maps").iterdir()}
        for run in (by_workers, here)
    ]
    assert len(sides[0]) == 2 and sides[0] == sides[1]


def test_a_second_start_leaves_them_and_brings_back_a_lost_one(
    manager: TinyManager, tmp_path: Path
) -> None:
    run = run_study(make_study(), tmp_path / "run", manager=manager)
    one, other = sorted((run.path / "maps").iterdir())
    before, data = one.stat().st_mtime_ns, other.read_bytes()
    other.unlink()
    run_study(make_study(), tmp_path / "run", manager=manager)
    assert one.stat().st_mtime_ns == before
    assert other.read_bytes() == data


def test_a_run_of_an_earlier_version_gets_its_maps_as_before(
    manager: TinyManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_study(make_study(), tmp_path / "run", manager=manager)
    wanted = shown(run)
    first, second = sorted((run.path / "maps").iterdir())
    first.unlink()
    second.write_bytes(b"no picture")
    found = shown(run)
    assert "cannot be read, so it is made anew" in caplog.text
    assert found.keys() == wanted.keys()
    for key, picture in wanted.items():
        np.testing.assert_array_equal(found[key], picture)


def test_another_map_is_another_run_to_the_verification(
    manager: TinyManager, tmp_path: Path
) -> None:
    from workbench.verify.stored import run_digest

    run = run_study(make_study(), tmp_path / "run", manager=manager)
    before = run_digest(run)
    path = next((run.path / "maps").iterdir())
    path.write_bytes(encode_png(np.zeros((64, 64, 3), np.uint8)))
    assert run_digest(run) != before
