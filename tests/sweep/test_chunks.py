"""Protects: with "auto" and a device that measures its memory each worker finds its own size of
batches and keeps it from task to task. Everything is made once, and nothing that is stored is lost.

The device is a CPU that claims to measure; the workers but for the last test a thread.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Set
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from pools import PlentyMemory, ThreadWorkers, chosen, perform_measured, take_over
from tiny_run import TINY_WORLD, make_study

import workbench.generation.batching as batching
import workbench.generation.sampler as sampler
import workbench.sweep.scheduler as scheduler
import workbench.sweep.worker as worker
from workbench.families.determinism import deterministic
from workbench.generation import BatchKey, CancelToken
from workbench.generation.batching import MOST
from workbench.store import RunFolder
from workbench.study import Study, make_plan
from workbench.sweep import ExecutorChoice, Progress, run_study
from workbench.sweep.messages import LOOK_SECONDS, MAKING, Described, WorkerDiedError
from workbench.sweep.progress import ProgressMeter
from workbench.sweep.scheduler import CHUNKS_EACH, CompletionTracker, make_tasks

PROCESSES = ExecutorChoice("processes", "cpu", 1)
DEATHS = 3
FITS = 6
"""Pictures for which the device says it has room."""


class Killed(BaseException):
    """The end of a worker: nobody in it can catch it."""


class MortalWorkers(ThreadWorkers):
    """One thread that may be `Killed`, and then begins its task anew, like a new process."""

    deaths = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        def call() -> Any:
            for _ in range(DEATHS):
                try:
                    self.before(args[0])
                    return fn(*args)
                except Killed:
                    worker._Here.session = None
                    self.deaths += 1
            raise WorkerDiedError(f"died {DEATHS} times")

        return self._pool.submit(call)


class Device:
    """What was made on the device: `made` the ids of each batch. `before(ids)` may raise."""

    def __init__(self) -> None:
        self.made: list[tuple[str, ...]] = []
        self.before: Callable[[tuple[str, ...]], None] = lambda ids: None

    @property
    def sizes(self) -> list[int]:
        return [len(ids) for ids in self.made]


@pytest.fixture
def device(models: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """One with room for `FITS` pictures; its first batch has two."""
    device = Device()
    real = sampler._run_pipeline

    def run(batch: Any, *rest: Any) -> Any:
        ids = tuple(trial.id for trial in batch.trials)
        device.before(ids)
        pixels = real(batch, *rest)
        device.made.append(ids)
        return pixels

    class FullMemory(PlentyMemory):
        def peak(self) -> int:
            return 100 * len(device.made[-1])

        def free(self) -> int:
            return 100 * FITS * 100 // 85 + 1

    monkeypatch.setenv("WORKBENCH_MODELS", str(models))
    monkeypatch.setattr("workbench.sweep.runner.get_family", lambda name: TINY_WORLD)
    monkeypatch.setattr(worker._Here, "session", None)
    monkeypatch.setattr(sampler, "_run_pipeline", run)
    monkeypatch.setattr(batching, "DeviceMemory", FullMemory)
    monkeypatch.setattr(batching, "_FIRST_MOST", 2)
    return device


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> MortalWorkers:
    made = MortalWorkers()
    take_over(monkeypatch, made)
    return made


def study(**changes: Any) -> Study:
    """32 trials of one kind: four chunks of eight for one worker."""
    fields = {"scales": [1], "seeds": list(range(8)), "steps": 1, "batch_size": "auto"}
    return make_study(**(fields | changes))


def ids() -> list[str]:
    return [trial.id for trial in make_plan(study(), resolution=64).trials]


def check_once(device: Device, run: RunFolder, failed: Set[str] = frozenset()) -> None:
    """Every picture was made once, in the batch that its record tells of."""
    times = Counter(trial for batch in device.made for trial in batch)
    assert times == dict.fromkeys(set(ids()) - failed, 1)
    size = {trial: len(batch) for batch in device.made for trial in batch}
    records = {record.trial.id: record for record in run.records()}
    assert {trial for trial, record in records.items() if record.failed} == failed
    assert {t: r.made_by["batch_size"] for t, r in records.items() if not r.failed} == size
    assert set(run.measurements()["trial"]) == set(records) == set(ids())


def test_batches_grow_within_a_chunk_and_from_chunk_to_chunk(
    pool: MortalWorkers, device: Device, tmp_path: Path
) -> None:
    kinds: list[str] = []
    reports: list[Progress] = []
    pool.before = lambda task: kinds.append(task.kind)
    run = run_study(study(), tmp_path / "run", executor=PROCESSES, progress=reports.append)
    assert kinds == ["describe", "find", "refer", *["make-chunk"] * 4, "finish"]
    assert device.sizes == [2, 6, 4, 4, 4, 4, 4, 4], "as equal as can be in chunks of eight"
    check_once(device, run)
    assert [r.done for r in reports] == sorted(r.done for r in reports)
    assert (reports[-1].phase, reports[-1].done) == ("done", 32)
    assert reports[-1].last_image is not None


def test_what_did_not_fit_is_not_tried_again_in_the_next_chunk(
    pool: MortalWorkers, device: Device, tmp_path: Path
) -> None:
    tried: list[int] = []

    def crowded(batch: tuple[str, ...]) -> None:
        tried.append(len(batch))
        if len(batch) > 3:
            raise MemoryError

    device.before = crowded
    run = run_study(study(), tmp_path / "run", executor=PROCESSES)
    check_once(device, run)
    assert [size for size in tried if size > 3] == [6]


def test_a_worker_killed_midway_leaves_what_it_stored(
    pool: MortalWorkers, device: Device, tmp_path: Path
) -> None:
    def deadly(batch: tuple[str, ...]) -> None:
        if len(device.made) == 1 and pool.deaths == 0:
            raise Killed

    device.before = deadly
    run = run_study(study(), tmp_path / "run", executor=PROCESSES)
    assert pool.deaths == 1
    assert device.sizes[:6] == [2, 2, 2, 2, 2, 6], "the new worker grows in the next chunk"
    check_once(device, run)


def test_a_deadly_picture_does_not_condemn_its_chunk(
    pool: MortalWorkers, device: Device, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = ids()[4]
    reports: list[Progress] = []

    def deadly(batch: tuple[str, ...]) -> None:
        if bad in batch:
            raise Killed

    device.before = deadly
    run = run_study(study(), tmp_path / "run", executor=PROCESSES, progress=reports.append)
    assert pool.deaths == 2 * DEATHS, "of the chunk, then of its batch"
    failed = {record.trial.id for record in run.records() if record.failed}
    assert bad in failed and len(failed) == 2, "the pictures of one first batch"
    check_once(device, run, failed)
    assert "workers died of 8 pictures, of which 4 are stored" in caplog.text
    assert max(report.done for report in reports) == 32, "failed ones are done too"


def test_a_cancel_midway_keeps_what_was_stored(
    pool: MortalWorkers, device: Device, tmp_path: Path
) -> None:
    cancel = CancelToken()
    reports: list[Progress] = []

    def stopped(batch: tuple[str, ...]) -> None:
        if len(device.made) == 1:
            cancel.cancel()
            deadline = time.monotonic() + 30
            while not list((tmp_path / "run").glob(".stop*")) and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(LOOK_SECONDS)  # the worker may have looked just before

    device.before = stopped
    run = run_study(
        study(), tmp_path / "run", executor=PROCESSES, cancel=cancel, progress=reports.append
    )
    assert len(device.made) == 1 and set(run.trial_ids()) == set(device.made[0])
    assert reports[-1].done == 2
    assert (run.path / "measurements.parquet").is_file()


@pytest.mark.parametrize("changes", [{"batch_size": 8}, {"fill_batches": True}])
def test_sizes_that_are_fixed_stay_single_batches(
    pool: MortalWorkers, device: Device, tmp_path: Path, changes: dict[str, Any]
) -> None:
    kinds: list[str] = []
    pool.before = lambda task: kinds.append(task.kind)
    run_study(study(seeds=[1, 2], **changes), tmp_path / "run", executor=PROCESSES)
    assert "make" in kinds and "make-chunk" not in kinds
    assert len(set(device.sizes)) == 1


@pytest.mark.parametrize(("seeds", "workers", "most"), [(8, 1, MOST), (40, 1, 20), (1, 3, MOST)])
def test_chunks_are_of_one_kind_and_enough_for_everybody(
    seeds: int, workers: int, most: int
) -> None:
    plan = make_plan(study(scales=[0, 1], seeds=list(range(seeds))), resolution=64)
    job: Any = None
    tasks = make_tasks(job, plan.trials, Described(first=2, most=most), workers)
    assert {task.kind for task in tasks} == {"make-chunk"}
    made = [trial for task in tasks for trial in task.trials]
    assert Counter(made) == dict.fromkeys(plan.trials_by_id, 1)
    assert all(len({BatchKey.of(plan.trials_by_id[t]) for t in k.trials}) == 1 for k in tasks)
    assert max(len(task.trials) for task in tasks) <= most
    assert len(tasks) >= min(CHUNKS_EACH * workers, len(plan.trials) // 2)
    single = make_tasks(job, plan.trials, Described(first=2, most=2), workers)
    assert {(task.kind, task.size) for task in single} == {("make", 2)}
    assert max(len(task.trials) for task in single) == 2


def test_workers_that_may_still_join_are_reckoned_with(
    pool: MortalWorkers, device: Device, tmp_path: Path
) -> None:
    sizes: list[int] = []
    pool.before = lambda task: sizes.extend([len(task.trials)] if task.kind in MAKING else [])
    pool.joining = 4
    run_study(study(), tmp_path / "run", executor=PROCESSES)
    assert sizes == [2] * 16


def test_pictures_count_as_they_come_in_and_once(
    pool: MortalWorkers, device: Device, tmp_path: Path
) -> None:
    run = run_study(study(seeds=[1]), tmp_path / "run", executor=PROCESSES)
    trials = run.trial_ids()
    plan = make_plan(study(seeds=[1]), resolution=64)
    hidden = {trial: run.trial_folder(trial).rename(tmp_path / trial) for trial in trials[:3]}
    reports: list[Progress] = []
    tracker = CompletionTracker(run, plan, ProgressMeter(len(trials), reports.append))
    tracker.watch(trials)
    tracker.look(at_once=True)
    assert not reports and not tracker.sound, "what was there before comes with its task"
    for trial in trials[:2]:
        hidden[trial].rename(run.trial_folder(trial))
    tracker.look(at_once=True)
    assert tracker.sound and reports[-1].done == 2 and reports[-1].last_image is not None
    run.trial_folder(trials[2]).mkdir()  # is being written
    tracker.look(at_once=True)
    tracker.count(trials[:2], trials[0])
    assert len(reports) == 1
    tracker.count(trials, trials[0])
    tracker.count(trials, trials[0])
    assert [report.done for report in reports] == [2, 4]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_a_real_process_killed_midway_through_a_chunk_loses_nothing_that_was_stored(
    kind: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS", str(models))
    monkeypatch.setattr("workbench.sweep.runner.get_family", lambda name: TINY_WORLD)
    monkeypatch.setattr(scheduler, "perform", perform_measured)
    monkeypatch.setattr("workbench.sweep.scheduler.COUNT_SECONDS", 0)
    monkeypatch.setattr("workbench.sweep.scheduler.CHUNKS_EACH", 2)
    stored: dict[str, Any] = {}

    def kill(progress: Progress) -> None:
        if progress.phase == "generating" and progress.done and not stored:
            run = RunFolder.open(tmp_path / "run")
            stored.update({record.trial.id: record.made_by for record in run.records()})
            (child,) = multiprocessing.active_children()
            os.kill(child.pid, signal.SIGKILL)

    if kind == "dask":
        pytest.importorskip("distributed")
        monkeypatch.setattr("workbench.sweep.dask.DaskPool.joining", 1)
    with deterministic(threads=1), chosen(kind, 1) as choice:
        run = run_study(study(steps=4), tmp_path / "run", executor=choice, progress=kill)
    made_by = {record.trial.id: record.made_by for record in run.records()}
    assert 0 < len(stored) < 16 and len(made_by) == 32, "killed within the first of two chunks"
    assert {trial: made_by[trial] for trial in stored} == stored, "not made a second time"
    assert max(made["batch_size"] for made in made_by.values()) > 2, "grown in the second"
