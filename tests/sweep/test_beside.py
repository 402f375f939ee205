"""Protects measuring while the next batch is drawn: nothing differs from doing it in line."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import TinyManager, make_study

import workbench.sweep.steps as steps
from workbench.families.runtime import Runtime
from workbench.generation import CancelToken
from workbench.measuring import Measurer
from workbench.store import RunFolder, StoreError
from workbench.sweep import Progress, run_study
from workbench.sweep.beside import WAITING, beside, pays

STUDY = make_study(batch_size=2)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CUDA device."""
    monkeypatch.setattr(steps, "pays", lambda manager: True)


def contents(run: RunFolder) -> dict[str, Any]:
    """Every file of a run by its path, without what the clock decides."""
    found: dict[str, Any] = {}
    for path in sorted(run.path.rglob("*")):
        name = str(path.relative_to(run.path))
        if path.name == "record.json":
            record = json.loads(path.read_text())
            record["made_by"].pop("seconds", None)
            found[name] = record
        elif path.name == "sample.png":
            found[name] = run.read_sample(path.parent.name).tobytes()
        elif path.suffix in (".parquet", ".png") or path.name == "references.json":
            found[name] = path.read_bytes()
    return found


def test_a_run_holds_the_same_bytes(
    worldless: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline = run_study(STUDY, tmp_path / "inline", manager=worldless)
    stored: list[tuple[list[str], bool]] = []
    vae: set[bool] = set()
    store, roundtrip = steps.RunSteps.store, type(worldless).vae_roundtrip

    def watched(self: Any, results: Any, *args: Any, **more: Any) -> None:
        here = threading.current_thread() is threading.main_thread()
        stored.append(([result.trial.id for result in results], here))
        store(self, results, *args, **more)

    def in_thread(self: Any, images: Any) -> Any:
        vae.add(threading.current_thread() is threading.main_thread())
        return roundtrip(self, images)

    monkeypatch.setattr(steps.RunSteps, "store", watched)
    monkeypatch.setattr(type(worldless), "vae_roundtrip", in_thread)
    monkeypatch.setattr(steps, "pays", lambda manager: True)
    other = run_study(STUDY, tmp_path / "apart", manager=worldless)

    assert not any(here for _, here in stored), "nothing was measured beside"
    assert vae == {True}, "the thread went through the VAE of the pipeline"
    mine, theirs = contents(inline), contents(other)
    assert len(mine) > 2 * len({name.split("/")[1] for name in mine if name.startswith("trials/")})
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if mine[name] != theirs[name]] == []


def test_batches_are_stored_in_order_and_few_of_them_wait() -> None:
    drawn, done, most = 0, [], 0
    release = threading.Event()

    def batches() -> Iterator[int]:
        nonlocal drawn, most
        for number in range(6):
            most = max(most, drawn - len(done))
            if drawn == WAITING:
                release.set()  # all that may wait does
            drawn += 1
            yield number

    def work(number: int) -> None:
        release.wait(10)
        done.append(number)

    assert list(beside(batches(), work, pytest.fail)) == done == list(range(6))
    assert most == WAITING


def test_what_fails_in_the_thread_is_done_in_line_and_in_order() -> None:
    main = threading.main_thread()
    done: list[tuple[int, bool]] = []

    def work(number: int) -> None:
        if number == 2 and threading.current_thread() is not main:
            raise MemoryError
        done.append((number, threading.current_thread() is main))

    assert list(beside(iter(range(8)), work, work)) == list(range(8))
    assert [number for number, _ in done] == list(range(8))
    assert (2, True) in done and (0, False) in done


def test_an_error_of_drawing_comes_after_what_was_drawn_is_stored() -> None:
    done: list[int] = []

    def batches() -> Iterator[int]:
        yield from range(3)
        raise RuntimeError("the device is gone")

    found = []
    with pytest.raises(RuntimeError, match="the device is gone"):
        for number in beside(batches(), done.append, pytest.fail):
            found.append(number)
    assert found == done == [0, 1, 2]


@pytest.mark.usefixtures("apart")
def test_an_error_of_the_disk_ends_the_run_at_its_batch(
    worldless: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = RunFolder.write_trial, []

    def full(self: RunFolder, trial: Any, *args: Any, **more: Any) -> Any:
        if len(written) >= 4:
            raise StoreError("the disk is full")
        written.append(trial.id)
        return real(self, trial, *args, **more)

    monkeypatch.setattr(RunFolder, "write_trial", full)
    with pytest.raises(StoreError, match="the disk is full"):
        run_study(STUDY, tmp_path / "run", manager=worldless)
    assert sorted(RunFolder(tmp_path / "run").scan().records) == sorted(written)


@pytest.mark.usefixtures("apart")
def test_a_cancel_stores_what_is_drawn_and_a_second_start_makes_the_rest(
    worldless: TinyManager, tmp_path: Path
) -> None:
    cancel = CancelToken()

    def stop(progress: Progress) -> None:
        if progress.phase == "generating" and progress.done:
            cancel.cancel()

    run = run_study(STUDY, tmp_path / "run", manager=worldless, progress=stop, cancel=cancel)
    some = run.scan().records
    assert 0 < len(some) < 12
    assert all(record.rows for record in some.values())
    whole = run_study(STUDY, tmp_path / "run", manager=worldless)
    assert len(whole.scan().records) == 12


@pytest.mark.usefixtures("apart")
def test_a_picture_that_cannot_be_measured_is_told_as_in_line(
    worldless: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = Measurer.measure, []

    def fails(self: Measurer, samples: Any, cells: Any = None) -> Any:
        asked.append(len(samples))
        if np.any([image.sum() == broken for _, image in samples]):
            raise ValueError("no judge can read this")
        return real(self, samples, cells)

    first = run_study(STUDY, tmp_path / "first", manager=worldless)
    trial = sorted(first.scan().records)[0]
    broken = int(first.read_sample(trial).sum())
    monkeypatch.setattr(Measurer, "measure", fails)
    run = run_study(STUDY, tmp_path / "run", manager=worldless)
    reasons = {str(row["reason"]) for row in run.read_record(trial).rows}
    assert any("no judge can read this" in reason for reason in reasons)
    others = [record for name, record in run.scan().records.items() if name != trial]
    assert len(others) == 11
    assert all("no judge" not in str(r["reason"]) for record in others for r in record.rows)


def test_it_is_for_devices_whose_work_leaves_the_processor_idle(worldless: TinyManager) -> None:
    class Elsewhere:
        runtime = Runtime()
        device = "cuda:1"

    assert pays(Elsewhere())  # type: ignore[arg-type]
    assert not pays(worldless)
    Elsewhere.runtime = Runtime(attention="math")  # in force in every thread
    assert not pays(Elsewhere())  # type: ignore[arg-type]
