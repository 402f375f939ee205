"""Protects a run that is stopped and started again under other circumstances: cancelled in the
middle of a batch, with a clock that jumps, a study that was edited, files of another version."""

from __future__ import annotations

import datetime
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command_line import run_command
from small_runs import files, plan_of, small_study, table
from tiny_run import TinyManager, make_study

import workbench.store.manifest as manifest
from workbench.atomic import remove_stale, write_atomic
from workbench.generation import CancelToken
from workbench.report import render_report
from workbench.store import RunFolder, SchemaError
from workbench.study import Study
from workbench.sweep import Progress, run_study


def test_a_trial_cancelled_midway_leaves_nothing_behind(
    manager: TinyManager, tmp_path: Path
) -> None:
    study = small_study(steps=4)
    cancel = CancelToken()
    steps = 0

    def count(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 4 * 3 + 2:  # in the middle of the fourth picture
            cancel.cancel()

    handle = manager.pipeline().unet.register_forward_hook(count)
    try:
        run = run_study(study, tmp_path / "run", manager=manager, cancel=cancel)
    finally:
        handle.remove()
    stored = [record.trial.id for record in run.records()]
    assert len(stored) == 3 and list(run.trial_ids()) == sorted(stored)
    assert not list(run.path.rglob(".*.tmp"))
    assert set(run.measurements()["trial"]) == set(stored)
    resumed = run_study(study, run.path, manager=manager)
    unbroken = run_study(study, tmp_path / "unbroken", manager=manager)
    pd.testing.assert_frame_equal(table(resumed), table(unbroken))


class JumpingClock:
    """The time of day, which can be set; intervals are measured by another clock."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        real = time.time
        patch.setattr(time, "time", lambda: real() + self.ahead)
        clock = self

        class Datetime(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> Datetime:
                return cls.fromtimestamp(real() + clock.ahead, tz)

        patch.setattr(manifest, "datetime", Datetime)


@pytest.mark.parametrize("hours", [-72.0, 72.0])
def test_a_clock_that_jumps_changes_nothing(
    manager: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    clock = JumpingClock(monkeypatch)
    cancel = CancelToken()
    reports: list[Progress] = []

    def jump(progress: Progress) -> None:
        reports.append(progress)
        if progress.phase == "generating" and progress.done == 2:
            clock.ahead = hours * 3600
        if progress.phase == "generating" and progress.done == 4:
            cancel.cancel()

    run = run_study(small_study(), tmp_path / "run", manager=manager, progress=jump, cancel=cancel)
    assert len(list(run.records())) == 4
    for path in run.path.rglob("*.*"):  # as the clock said when they were written
        now = path.stat().st_mtime + clock.ahead
        os.utime(path, (now, now))
    clock.ahead = -clock.ahead
    before = files(run.path / "trials")
    again = run_study(small_study(), run.path, manager=manager, progress=reports.append)
    assert all(report.seconds_left is None or report.seconds_left >= 0 for report in reports)
    after = files(run.path / "trials")
    assert {name: after[name] for name in before if name.endswith("png")}.items() <= before.items()
    assert all(record.made_by["seconds"] >= 0 for record in again.records())
    unbroken = run_study(small_study(), tmp_path / "unbroken", manager=manager)
    pd.testing.assert_frame_equal(table(again), table(unbroken))
    assert "earlier" not in again.read_json("manifest.json")  # another time is no other condition


def test_a_writer_survives_a_neighbour_whose_clock_is_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The neighbour takes the file that is being written for one left by a killed process."""
    replace, cleaned = os.replace, []

    def clean_first(source: Path, target: Path) -> None:
        if not cleaned:
            cleaned.append(remove_stale(tmp_path, older_than=-3600))
        replace(source, target)

    monkeypatch.setattr(os, "replace", clean_first)
    write_atomic(tmp_path / "a.json", b"data")
    assert cleaned == [1]
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.json", b"data")]


def test_a_study_edited_between_two_starts(
    manager: TinyManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = small_study()
    run = run_study(first, tmp_path / "run", manager=manager)
    wanted, old = table(run), files(run.path / "trials")
    edited = small_study(scales=[0, 0.5], prompt="a girl, night", steps=2)
    with caplog.at_level(logging.WARNING):
        again = run_study(edited, run.path, manager=manager)
    assert "the study has changed since the last start (prompt, scales, steps)" in caplog.text
    assert set(again.measurements()["scale"]) == {0, 0.5}
    assert set(again.measurements()["trial"]) == {trial.id for trial in plan_of(edited).trials}
    assert old.items() <= files(run.path / "trials").items()  # nothing computed is lost
    fresh = run_study(edited, tmp_path / "fresh", manager=manager)
    pd.testing.assert_frame_equal(table(again), table(fresh))
    (earlier,) = again.read_json("manifest.json")["earlier"]
    assert earlier["study_hash"] == first.hash

    caplog.clear()
    back = run_study(first, run.path, manager=manager)
    pd.testing.assert_frame_equal(table(back), wanted)
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        run_study(first, run.path, manager=manager)
    assert "has changed" not in caplog.text


def test_a_report_on_a_run_killed_after_an_edit_shows_what_is_there(
    manager: TinyManager, tmp_path: Path
) -> None:
    """Not the table of the start before."""
    run = run_study(small_study(), tmp_path / "run", manager=manager)

    def die(progress: Progress) -> None:
        if progress.phase == "generating" and progress.done == 10:
            raise KeyboardInterrupt

    wider = small_study(scales=[0, 0.5, 1])
    with pytest.raises(KeyboardInterrupt):
        run_study(wider, run.path, manager=manager, progress=die)
    assert not (run.path / "measurements.parquet").exists()
    made = {record.trial.id for record in run.records()}
    assert set(run.measurements()["trial"]) == made and len(made) == 10


@pytest.mark.parametrize("moment", ["before the first picture", "after five"])
def test_a_report_on_a_run_killed_after_other_steps_has_one_study(
    manager: TinyManager, tmp_path: Path, moment: str
) -> None:
    """Every picture is another one then, and readings of the old ones are still in the folder."""
    first = small_study()
    run = run_study(first, tmp_path / "run", manager=manager)
    edited = small_study(steps=first.steps + 1)

    def die(progress: Progress) -> None:
        if progress.phase == "measuring" and moment.startswith("before"):
            raise KeyboardInterrupt
        if progress.phase == "generating" and progress.done >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(edited, run.path, manager=manager, progress=die)
    render_report(run)
    frame = run.measurements()
    made = {trial.id for trial in plan_of(edited).trials} & set(run.trial_ids())
    assert set(frame["trial"]) == made
    assert bool(made) == moment.startswith("after")
    assert not run.table_path.exists()


@pytest.mark.parametrize("where", ["manifest.json", "record.json"])
@pytest.mark.parametrize(("schema", "word"), [(0, "an older"), (7, "another"), ("x", "another")])
def test_a_run_of_another_version_is_refused_and_left_as_it_is(
    manager: TinyManager, tmp_path: Path, where: str, schema: object, word: str
) -> None:
    run = run_study(small_study(), tmp_path / "run", manager=manager)
    trial = plan_of(small_study()).trials[3]
    path = run.path / where if where.startswith("m") else run.trial_folder(trial.id) / where
    values = json.loads(path.read_bytes())
    path.write_text(json.dumps({**values, "schema": schema}))
    before = files(run.path)
    said = rf"made by {word} version of this program .schema {schema}, this one reads 1."
    with pytest.raises(SchemaError, match=said):
        run_study(small_study(), run.path, manager=manager)
    after = files(run.path)
    assert {name: after.get(name) for name in before} == before
    if where.startswith("m"):
        done = run_command("report", run.path)
        assert done.code == 2 and "version of this program" in done.err
    else:
        (run.path / "measurements.parquet").unlink()
        with pytest.raises(SchemaError, match=rf"trial {trial.id} in .* was {said}"):
            RunFolder.open(run.path).measurements()


def test_a_run_without_the_facts_that_came_later_is_read_and_continued(
    manager: TinyManager, tmp_path: Path
) -> None:
    """Of the same schema, but written before some facts were recorded."""
    run = run_study(small_study(), tmp_path / "run", manager=manager)
    wanted = table(run)
    for path in run.path.glob("trials/*/record.json"):
        values = json.loads(path.read_bytes())
        kept = ("batch_size", "device", "dtype", "tokens", "truncated")
        values["made_by"] = {name: values["made_by"][name] for name in kept}
        path.write_text(json.dumps(values))
    study = run.study_path.read_text()
    run.study_path.write_text(
        "".join(line for line in study.splitlines(True) if "dtype" not in line)
    )
    assert Study.from_yaml(run.study_path) == small_study()
    pd.testing.assert_frame_equal(
        table(run_study(small_study(), run.path, manager=manager)), wanted
    )
    assert "</html>" in render_report(run)


def test_a_run_killed_between_its_folder_and_its_study_is_continued(
    manager: TinyManager, tmp_path: Path
) -> None:
    run = RunFolder.prepare(tmp_path / "run")
    assert not run.study_path.exists()
    assert len(list(run_study(make_study(steps=1), run.path, manager=manager).records())) == 12
