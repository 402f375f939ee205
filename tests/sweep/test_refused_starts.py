"""Protects a run from starts that come to nothing: refused, dead or cancelled before they begin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_run import TinyManager, make_manager, make_study

from workbench.families.manager import ModelManager
from workbench.generation import CancelToken
from workbench.report import write_report
from workbench.store import RunFolder, StoreError
from workbench.sweep import Progress, dry_run, run_study

SMALL: dict[str, Any] = {"lengths": [2], "seeds": [1], "scales": [0, 1]}


@pytest.fixture(scope="module")
def begun(manager: TinyManager, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 4 trials. Tests leave it as it is: that is what they test."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    run_study(make_study(**SMALL), folder, manager=manager)
    write_report(RunFolder.open(folder), folder / "report.html")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


class Dying(TinyManager):
    """Models that break while they are loaded."""

    def pipeline(self, control: str | None = None, *more: str) -> Any:
        raise RuntimeError("the file is cut off")


def refused(models: Path, folder: Path) -> None:
    half = ModelManager(make_manager(models).family, models_dir=models, dtype="bfloat16")
    half.networks = make_manager(models).networks  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="made in float32, not in bfloat16"):
        run_study(make_study(**SMALL, dtype="bfloat16", steps=1), folder, manager=half)


def dead(models: Path, folder: Path) -> None:
    manager = Dying(make_manager(models).family, models_dir=models)
    with pytest.raises(RuntimeError, match="cut off"):
        run_study(make_study(**SMALL, prompt="a boy, rain"), folder, manager=manager)


def cancelled(models: Path, folder: Path) -> None:
    token = CancelToken()

    def cancel(progress: Progress) -> None:
        if progress.phase == "loading":
            token.cancel()

    changed = make_study(**SMALL, steps=1, sources=["paperdoll:900003"])
    manager = make_manager(models)
    run_study(changed, folder, manager=manager, progress=cancel, cancel=token)


@pytest.mark.parametrize("start", [refused, dead, cancelled])
def test_a_start_that_comes_to_nothing_leaves_every_byte(
    begun: Path, models: Path, start: Callable[[Path, Path], None]
) -> None:
    before = contents(begun)
    start(models, begun)
    assert contents(begun) == before


def test_a_dry_run_is_refused_where_the_start_would_be(begun: Path, manager: TinyManager) -> None:
    with pytest.raises(StoreError, match="made in float32, not in bfloat16"):
        dry_run(make_study(**SMALL, dtype="bfloat16"), begun, manager=manager, calibrate=False)
    tiled = make_study(**SMALL, runtime={"vae_tiling": True})
    with pytest.raises(StoreError, match="vae_tiling off, not on"):
        dry_run(tiled, begun, manager=manager, calibrate=False)
    assert dry_run(make_study(**SMALL), begun, manager=manager).to_generate == 0


def test_a_run_with_another_study_than_its_own_says_so(
    begun: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import shutil

    shutil.copytree(begun, tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    assert run.status().sentence == ""
    run.write_study(make_study(**SMALL, steps=50))
    assert "is not the study that manifest.json names" in run.status().sentence
    page = write_report(run, tmp_path / "page.html").read_text("utf-8")
    assert "is not the study that manifest.json names" in page


def test_a_run_that_is_moved_away_ends_and_is_not_begun_anew(
    manager: TinyManager, tmp_path: Path
) -> None:
    folder = tmp_path / "run"

    def move(progress: Progress) -> None:
        if progress.phase == "generating" and progress.done and folder.exists():
            folder.rename(tmp_path / "moved")

    with pytest.raises(StoreError, match="renamed, removed or replaced"):
        run_study(make_study(**SMALL, batch_size=1), folder, manager=manager, progress=move)
    assert not folder.exists()
    moved = RunFolder.open(tmp_path / "moved")
    assert moved.trial_ids() and moved.read_manifest() is not None
    done = run_study(make_study(**SMALL, batch_size=1), moved.path, manager=manager)
    assert done.status().sentence == ""


def test_a_stop_inside_the_storing_of_a_batch_changes_no_picture_and_no_finding(
    manager: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fill_batches what is left of the batch is made and judged in a batch of the same size.

    Its place in that batch is another one, and a network may read it otherwise by a rounding.
    """
    study = make_study(lengths=[2], fill_batches=True)
    whole = run_study(study, tmp_path / "whole", manager=manager)
    write, count = RunFolder.write_trial, 0

    def stop(self: RunFolder, *args: Any, **keywords: Any) -> Any:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return write(self, *args, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_trial", stop)
        with pytest.raises(KeyboardInterrupt):
            run_study(study, tmp_path / "stopped", manager=manager)
    stopped = RunFolder.open(tmp_path / "stopped")
    assert len(stopped.trial_ids()) == 3 < len(whole.trial_ids())
    run_study(study, tmp_path / "stopped", manager=manager)
    tables = [r.measurements().sort_values(["cell", "metric"], ignore_index=True)
              for r in (whole, stopped)]  # fmt: skip
    for trial in whole.trial_ids():
        np.testing.assert_array_equal(whole.read_sample(trial), stopped.read_sample(trial))
    pd.testing.assert_frame_equal(*tables, rtol=1e-5, atol=1e-5)


def test_chance_and_ceiling_are_as_readable_as_the_rest(begun: Path) -> None:
    modes = {(begun / name).stat().st_mode & 0o777 for name in ("references.json", "manifest.json")}
    assert len(modes) == 1
    assert not list(begun.rglob("*.tmp"))
