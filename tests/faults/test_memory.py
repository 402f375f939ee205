"""Protects a run from what goes wrong with single pictures: memory that runs out in the third
batch, an error while one trial is made or measured. The rest is not lost, nothing happens silently,
and the next start tries again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import run_command
from small_runs import plan_of, small_study, table
from tiny_run import TinyManager, make_study

import workbench.generation.sampler as sampler
from workbench.generation import GenerationError
from workbench.measuring import NOT_MEASURED, Measurer
from workbench.store import RunFolder
from workbench.sweep import dry_run, run_study


def device(inputs: torch.Tensor) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def host(inputs: torch.Tensor) -> None:
    torch.empty(2**60, dtype=torch.uint8)  # really asks for it, and is refused


def python(inputs: torch.Tensor) -> None:
    raise MemoryError


@contextmanager
def crowded(
    manager: TinyManager, fails: Callable[[torch.Tensor], None], room: int, from_call: int
) -> Iterator[None]:
    """From a call of the UNet on, more than `room` pictures at once find no memory."""
    calls = 0

    def check(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal calls
        calls += 1
        if calls >= from_call and len(inputs[0]) > 2 * room:  # with guidance each counts twice
            fails(inputs[0])

    handle = manager.pipeline().unet.register_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("fails", [device, host, python])
def test_memory_runs_out_in_the_third_batch(
    manager: TinyManager, tmp_path: Path, caplog: pytest.LogCaptureFixture, fails: Any
) -> None:
    study = make_study(steps=1, batch_size=4)  # 12 trials, 3 batches
    with crowded(manager, fails, room=1, from_call=3), caplog.at_level(logging.WARNING):
        run = run_study(study, tmp_path / "run", manager=manager)
    records = {record.trial.id: record for record in run.records()}
    assert len(records) == 12 and not any(record.failed for record in records.values())
    sizes = [records[t.id].made_by["batch_size"] for t in plan_of(study).trials]
    assert sorted(sizes) == [1] * 4 + [4] * 8
    for record in records.values():
        small = record.made_by["batch_size"] == 1
        said = "out of memory in a batch of 4" if small else None
        assert record.made_by.get("fallback") == said
    assert "a batch of 4 pictures failed (out of memory): trying it in two halves" in caplog.text
    whole = run_study(study, tmp_path / "whole", manager=manager)
    pd.testing.assert_frame_equal(table(run), table(whole), atol=0.05, rtol=0.02)


def test_memory_that_does_not_suffice_for_one_picture_fails_these_trials_for_now(
    manager: TinyManager, tmp_path: Path
) -> None:
    study = small_study()
    with crowded(manager, device, room=0, from_call=3):
        run = run_study(study, tmp_path / "run", manager=manager)
    failed = [record for record in run.records() if record.failed]
    assert len(failed) == 6
    tried = {record.failed for record in failed if not record.failed.startswith("not tried, as ")}
    assert tried == {"out of memory"}
    assert all(record.failed.endswith("out of memory") for record in failed)
    lost = run.measurements()
    lost = lost[lost["trial"].isin([record.trial.id for record in failed])]
    assert lost["value"].isna().all() and lost["reason"].str.contains("failed").all()
    assert dry_run(study, run.path, manager=manager, calibrate=False).to_generate == 6
    assert sum(record.retry for record in run.records()) == 6
    healed = run_study(study, run.path, manager=manager)
    unbroken = run_study(study, tmp_path / "unbroken", manager=manager)
    pd.testing.assert_frame_equal(table(healed), table(unbroken))


def test_memory_that_never_suffices_ends_the_run_with_advice(
    manager: TinyManager, tmp_path: Path
) -> None:
    with (
        crowded(manager, host, room=0, from_call=1),
        pytest.raises(GenerationError, match=r"not enough memory for even one picture .* device"),
    ):
        run_study(small_study(), tmp_path / "run", manager=manager)
    assert all(record.retry for record in RunFolder.open(tmp_path / "run").records())


def break_trial(monkeypatch: pytest.MonkeyPatch, broken: set[str]) -> None:
    real = sampler._run_pipeline

    def breaking(batch: Any, *rest: Any) -> np.ndarray:
        if broken & {trial.id for trial in batch.trials}:
            raise ZeroDivisionError("a fault <b>in</b> one\nsecond line")
        return real(batch, *rest)

    monkeypatch.setattr(sampler, "_run_pipeline", breaking)


def test_an_error_inside_one_trial_costs_that_trial_alone(
    manager: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    study = make_study(steps=1, batch_size=4)
    bad = plan_of(study).trials[5].id
    with monkeypatch.context() as patch:
        break_trial(patch, {bad})
        run = run_study(study, tmp_path / "run", manager=manager)
    failed = {record.trial.id: record.failed for record in run.records() if record.failed}
    assert failed == {bad: "ZeroDivisionError: a fault <b>in</b> one"}
    assert f"trial {bad} cannot be made" in caplog.text and "Traceback" in caplog.text
    rows = run.measurements()
    good = rows[(rows["trial"] != bad) & (rows["metric"] == "clip_full")]
    assert good["value"].notna().all() and good["trial"].nunique() == 11
    healed = run_study(study, run.path, manager=manager)
    assert not any(record.failed for record in healed.records())
    whole = run_study(study, tmp_path / "whole", manager=manager)
    pd.testing.assert_frame_equal(table(healed), table(whole), atol=0.05, rtol=0.02)


def test_a_fault_that_breaks_every_trial_ends_the_run_as_itself(
    manager: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study()
    break_trial(monkeypatch, {trial.id for trial in plan_of(study).trials})
    with pytest.raises(ZeroDivisionError):
        run_study(study, tmp_path / "run", manager=manager)


@pytest.mark.parametrize("stored", [False, True])
def test_an_error_while_one_picture_is_measured_loses_neither_it_nor_the_others(
    manager: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    study = make_study(steps=1, batch_size=4)
    bad = plan_of(study).trials[5]
    run = RunFolder(tmp_path / "run")
    if stored:  # the picture is there, its readings are lost
        run_study(study, run.path, manager=manager)
        record = run.read_record(bad.id)
        run.write_trial(bad, run.read_sample(bad.id), record.made_by, [])
    real = Measurer.measure

    def breaking(self: Measurer, samples: Any, cells: Any = None) -> Any:
        if bad.id in [trial for trial, _ in samples]:
            raise ValueError("nothing\nto see")
        return real(self, samples, cells)

    with monkeypatch.context() as patch:
        patch.setattr(Measurer, "measure", breaking)
        run = run_study(study, run.path, manager=manager)
    record = run.read_record(bad.id)
    assert not record.failed and run.read_sample(bad.id).shape == (64, 64, 3)
    rows = run.measurements()
    mine = rows[(rows["trial"] == bad.id) & ~rows["metric"].str.startswith("diversity")]
    assert len(mine) and mine["value"].isna().all()
    assert set(mine["reason"]) == {f"{NOT_MEASURED}: ValueError: nothing to see"}
    others = rows[(rows["trial"] != bad.id) & (rows["metric"] == "clip_full")]
    assert others["value"].notna().all() and others["trial"].nunique() == 11

    before = run.sample_path(bad.id).read_bytes()
    healed = run_study(study, run.path, manager=manager)
    assert run.sample_path(bad.id).read_bytes() == before
    whole = run_study(study, tmp_path / "whole", manager=manager)
    pd.testing.assert_frame_equal(table(healed), table(whole), atol=0.05, rtol=0.02)


def test_the_command_line_counts_what_failed(
    manager: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study()
    bad = plan_of(study).trials[5].id
    break_trial(monkeypatch, {bad})
    monkeypatch.setattr("workbench.sweep.runner.load_manager", lambda *_: manager)
    monkeypatch.setenv("WORKBENCH_MODELS", str(manager.models_dir))
    monkeypatch.setattr("workbench.sweep.runner.get_family", lambda name: manager.family)
    file = tmp_path / "s.yaml"
    file.write_text(study.to_yaml())
    done = run_command("run", file, "-o", tmp_path / "run")
    assert done.code == 3
    assert "1 of 8 pictures failed" in done.err and "The same command tries again." in done.err


def test_the_command_line_tells_that_no_controlled_picture_came_out(
    manager: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text alone does, which says nothing of a ControlNet that cannot run."""
    study = make_study(sources=["paperdoll:900001"], steps=1, batch_size=1)
    bad = {trial.id for trial in plan_of(study).trials if trial.control is not None}
    break_trial(monkeypatch, bad)
    monkeypatch.setattr("workbench.sweep.runner.load_manager", lambda *_: manager)
    monkeypatch.setenv("WORKBENCH_MODELS", str(manager.models_dir))
    monkeypatch.setattr("workbench.sweep.runner.get_family", lambda name: manager.family)
    file = tmp_path / "s.yaml"
    file.write_text(study.to_yaml())
    done = run_command("run", file, "-o", tmp_path / "run")
    records = list(RunFolder(tmp_path / "run").records())
    assert 0 < len(bad) < len(records)
    assert {record.trial.id for record in records if record.failed} == bad
    assert done.code == 3
    assert f"{len(bad)} of {len(records)} pictures failed" in done.err
    assert "not tried, as the first pictures of canny on render all failed" in done.err


def test_the_command_line_tells_that_nothing_could_be_measured(
    manager: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pictures are there, and yet there is nothing to report."""
    study = small_study()

    def breaking(self: Measurer, samples: Any, cells: Any = None) -> Any:
        raise ValueError("nothing to see")

    monkeypatch.setattr("workbench.sweep.runner.load_manager", lambda *_: manager)
    monkeypatch.setenv("WORKBENCH_MODELS", str(manager.models_dir))
    monkeypatch.setattr("workbench.sweep.runner.get_family", lambda name: manager.family)
    file = tmp_path / "s.yaml"
    file.write_text(study.to_yaml())
    with monkeypatch.context() as patch:
        patch.setattr(Measurer, "measure", breaking)
        done = run_command("run", file, "-o", tmp_path / "run")
    assert done.code == 3
    told = done.err[done.err.index("8 of 8 pictures could not be measured:") :].splitlines()
    assert told[1:3] == ["  8 × ValueError: nothing to see", "The same command tries again."]
    healed = run_command("run", file, "-o", tmp_path / "run")
    assert healed.code == 0 and "measured" not in healed.err[healed.err.index("finishing") :]
