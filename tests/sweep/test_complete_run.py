"""Protects: a start of a run that lacks nothing says so without models; any doubt asks for them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny_run import TINY_WORLD, TinyManager, make_study

import workbench
import workbench.sweep.runner as runner
from workbench.generation import CancelToken
from workbench.store import RunFolder
from workbench.study import make_plan
from workbench.sweep import ExecutorChoice, Progress, run_study


class Loaded(Exception):
    """Models were asked for."""


@pytest.fixture(scope="module")
def complete(models: Path, manager: TinyManager, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the small study in which nothing is left to do."""
    return run_study(make_study(), tmp_path_factory.mktemp("c") / "run", manager=manager).path


@pytest.fixture
def run(complete: Path, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A copy of the complete run, where to load models is an error."""

    def refuse(*args: Any, **keywords: Any) -> None:
        raise Loaded

    monkeypatch.setattr(runner, "get_family", lambda name: TINY_WORLD)
    monkeypatch.setattr(runner, "load_manager", refuse)
    monkeypatch.setattr(runner, "scheduled", refuse)
    monkeypatch.setenv("WORKBENCH_MODELS", str(models))
    return RunFolder.open(shutil.copytree(complete, tmp_path / "run"))  # times are copied, too


def test_it_is_done_without_models_and_nothing_is_written(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.path.rglob("*")}
    reports: list[Progress] = []
    seen: list[str] = []
    read = RunFolder.contents

    def contents(self: RunFolder, path: Path, *limit: int) -> bytes | None:
        seen.append(str(path.relative_to(self.path)))
        return read(self, path, *limit)

    monkeypatch.setattr(RunFolder, "contents", contents)
    done = workbench.run(make_study(), run.path, progress=reports.append)
    assert [(r.phase, r.done, r.total, r.seconds_left) for r in reports] == [("done", 12, 12, 0)]
    assert len(done.records) == 12 and done.status.sentence == ""
    assert sorted(name for name in seen if name.endswith("record.json")) == [
        f"trials/{trial}/record.json" for trial in run.trial_ids()
    ]
    pictures = [name for name in seen if name.endswith(".png")]
    assert len(pictures) == len(set(pictures))
    assert not [name for name in pictures if name.startswith("trials")]
    after = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.path.rglob("*")}
    assert after == before


def test_it_is_done_whoever_is_asked_to_do_it(run: RunFolder) -> None:
    run_study(make_study(), run.path, executor=ExecutorChoice("processes", "cpu", 1))


def drop_trial(run: RunFolder) -> None:
    shutil.rmtree(run.trial_folder(run.trial_ids()[0]))


def drop_picture(run: RunFolder) -> None:
    run.sample_path(run.trial_ids()[0]).unlink()


def drop_table(run: RunFolder) -> None:
    run.remove_table()


def damage_table(run: RunFolder) -> None:
    run.table_path.write_bytes(b"PAR1")


def shorten_table(run: RunFolder) -> None:
    frame = run.measurements().iloc[:-1]
    with run.claim():
        run.write_table(frame)


def change_table(run: RunFolder) -> None:
    frame = run.measurements()
    frame.loc[0, "value"] = 0.123
    with run.claim():
        run.write_table(frame)


def touch_record(run: RunFolder) -> None:
    """It may have been written after the table."""
    os.utime(run.record_path(run.trial_ids()[3]))


def edit_readings(run: RunFolder) -> None:
    """The table is made of the records, but a reading is lost from both."""
    trial = run.trial_ids()[0]
    values = json.loads(run.record_path(trial).read_bytes())
    values["rows"] = [row for row in values["rows"] if row["metric"] != "clip_full"]
    rewrite(run, trial, values)


def fail_by_error(run: RunFolder) -> None:
    """A failure that the next start has to try again."""
    trial = run.trial_ids()[0]
    values = json.loads(run.record_path(trial).read_bytes())
    values["failed"], values["made_by"]["retry"] = "out of memory", True
    rewrite(run, trial, values)


def fail_to_measure(run: RunFolder) -> None:
    """A reading that the next start has to try again."""
    trial = run.trial_ids()[0]
    values = json.loads(run.record_path(trial).read_bytes())
    values["rows"][0] |= {"value": None, "reason": "could not be measured: OSError: gone"}
    rewrite(run, trial, values)


def rewrite(run: RunFolder, trial: str, values: Any) -> None:
    run.record_path(trial).write_text(json.dumps(values))
    with run.claim():
        run.write_table(run.build_table())


def edit_study(run: RunFolder) -> None:
    edit(run, run.study_path, "guidance_scale:", "guidance_scale: 3.0 #")


def edit_manifest(run: RunFolder) -> None:
    edit(run, run.path / "manifest.json", '"torch": "', '"torch": "0.')


def edit_model_names(run: RunFolder) -> None:
    edit(run, run.path / "manifest.json", '"base/render": "', '"base/render": "another ')


def edit_cells(run: RunFolder) -> None:
    run.write_cells(make_plan(make_study(scales=[1]), resolution=64).cells)
    with run.claim():
        run.write_table(run.build_table())


def edit(run: RunFolder, path: Path, old: str, new: str) -> None:
    """Change a file and leave its time as it was."""
    times, text = path.stat(), path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def drop_source(run: RunFolder) -> None:
    next((run.path / "sources").iterdir()).unlink()


def drop_map(run: RunFolder) -> None:
    next((run.path / "maps").iterdir()).unlink()


@pytest.mark.parametrize(
    "harm",
    [
        *(drop_trial, drop_picture, drop_table, damage_table, shorten_table, change_table),
        *(touch_record, edit_readings, fail_by_error, fail_to_measure, edit_study, edit_manifest),
        *(edit_model_names, edit_cells, drop_source, drop_map),
    ],
)
def test_a_run_that_lacks_anything_asks_for_models(
    run: RunFolder, harm: Callable[[RunFolder], None]
) -> None:
    harm(run)
    with pytest.raises(Loaded):
        run_study(make_study(), run.path)


@pytest.mark.parametrize("changes", [{"steps": 3}, {"scales": [1]}, {"name": "other"}])
def test_another_study_asks_for_models(run: RunFolder, changes: dict[str, Any]) -> None:
    with pytest.raises(Loaded):
        run_study(make_study(**changes), run.path)


def test_other_batches_ask_for_models(run: RunFolder) -> None:
    with pytest.raises(Loaded):
        run_study(make_study(), run.path, batch_size=2)


def test_a_start_that_was_broken_off_leaves_no_complete_run(
    run: RunFolder, manager: TinyManager
) -> None:
    """Every picture and reading is there; what is read across pictures may be behind."""
    with pytest.raises(Loaded):  # killed where models are loaded
        run_study(make_study(name="other"), run.path)
    with pytest.raises(Loaded):
        run_study(make_study(name="other"), run.path)

    cancel = CancelToken()

    def stop(progress: Progress) -> None:
        if progress.phase == "finishing":
            cancel.cancel()

    wanted = run_study(make_study(), run.path, manager=manager).measurements()
    run_study(make_study(), run.path)
    stopped = run_study(make_study(), run.path, manager=manager, progress=stop, cancel=cancel)
    pd.testing.assert_frame_equal(stopped.measurements(), wanted)
    with pytest.raises(Loaded):
        run_study(make_study(), run.path)
    run_study(make_study(), run.path, manager=manager)
    run_study(make_study(), run.path)


def test_loaded_models_are_used_as_ever(run: RunFolder, manager: TinyManager) -> None:
    """Who hands them over has the run compared with their weights."""
    phases: list[str] = []
    run_study(make_study(), run.path, manager=manager, progress=lambda p: phases.append(p.phase))
    assert phases[0] == "loading" and phases[-1] == "done"
