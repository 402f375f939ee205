"""Protects: what a run by workers hands out, counts and survives, and what it refuses to begin.

The workers are a thread of this process; test_workers.py has real ones.
"""

from __future__ import annotations

import errno
import time
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pools import ThreadWorkers, assert_same_run, take_over
from tiny_run import TINY_WORLD, TinyManager, make_study

import workbench.sweep.backends as backends
import workbench.sweep.steps as steps
import workbench.sweep.worker as worker
from workbench.generation import CancelToken, GenerationError
from workbench.generation.recovery import FailureBudget
from workbench.store import RunFolder, StoreError
from workbench.study import make_plan
from workbench.sweep import ExecutorChoice, ExecutorError, Progress, run_study
from workbench.sweep.messages import (
    LOOK_SECONDS,
    Probe,
    StopFile,
    Task,
    WorkerDiedError,
    WorkerInfo,
    own_versions,
)
from workbench.sweep.worker import handshake

PROCESSES = ExecutorChoice("processes", "cpu", 1)


@pytest.fixture(autouse=True)
def tiny(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS", str(models))
    monkeypatch.setattr("workbench.sweep.runner.get_family", lambda name: TINY_WORLD)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> ThreadWorkers:
    """A pool that takes the place of worker processes."""
    made = ThreadWorkers()
    take_over(monkeypatch, made)
    return made


def test_workers_make_the_run_that_one_process_makes(
    pool: ThreadWorkers, manager: TinyManager, tmp_path: Path
) -> None:
    reports: list[Progress] = []
    kinds: list[str] = []
    pool.before = lambda task: kinds.append(task.kind)
    by_workers = run_study(
        make_study(), tmp_path / "a", executor=PROCESSES, progress=reports.append
    )
    here = run_study(make_study(), tmp_path / "b", manager=manager)
    assert_same_run(by_workers, here)
    assert kinds == ["describe", "find", "refer", "make", "make", "make", "finish"]

    record = next(by_workers.records())
    assert {"device", "dtype", "threads", "worker"} <= record.made_by.keys()
    assert next(here.records()).made_by["worker"] == "in-process"
    manifest = by_workers.read_json("manifest.json")
    assert manifest["executor"]["kind"] == "processes"
    assert [worker["device"] for worker in manifest["executor"]["workers"]] == ["cpu"]
    assert manifest["weight_hashes"] == here.read_json("manifest.json")["weight_hashes"]
    assert here.read_json("manifest.json")["executor"]["workers"][0]["device"] == "cpu"

    assert [r.done for r in reports] == sorted(r.done for r in reports)
    assert (reports[-1].phase, reports[-1].done) == ("done", 12)
    assert reports[-1].last_image is not None
    assert any(r.phase == "generating" and r.seconds_left is not None for r in reports)
    assert not [p.name for p in by_workers.path.glob(".*.tmp")]


def test_a_second_start_makes_nothing_and_takes_lost_readings_from_pictures(
    pool: ThreadWorkers, manager: TinyManager, tmp_path: Path
) -> None:
    run = run_study(make_study(), tmp_path / "run", manager=manager)
    trial = make_plan(make_study(), resolution=64).trials[0]
    cell = next(iter(run.read_record(trial.id).cells))
    rows = [r for r in run.read_record(trial.id).rows if r["cell"] != cell]
    record = run.read_record(trial.id)
    run.write_trial(trial, run.read_sample(trial.id), record.made_by, rows, extra=record.extra)
    kinds: list[str] = []
    pool.before = lambda task: kinds.append(task.kind)
    again = run_study(make_study(), tmp_path / "run", executor=PROCESSES)
    assert kinds == ["describe", "find", "refer", "measure", "finish"]
    whole = run_study(make_study(), tmp_path / "whole", manager=manager)
    assert_same_run(again, whole, measured_alike=False)


def test_a_task_that_kills_its_workers_is_left_and_named(
    pool: ThreadWorkers, manager: TinyManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    doomed: list[str] = []

    def before(task: Task) -> None:
        if task.kind == "make" and (not doomed or task.trials == tuple(doomed)):
            doomed[:] = task.trials
            raise WorkerDiedError("died 3 times")

    pool.before = before
    run = run_study(make_study(), tmp_path / "run", executor=PROCESSES)
    failed = {r.trial.id: r for r in run.records() if r.failed}
    assert set(failed) == set(doomed) and len(doomed) == 4
    assert all(r.retry and "died" in r.failed for r in failed.values())
    assert all(trial in caplog.text for trial in doomed)
    rows = run.measurements()
    assert rows[rows["trial"].isin(doomed)]["value"].isna().all()
    healed = run_study(make_study(), tmp_path / "run", manager=manager)
    assert not [r for r in healed.records() if r.failed]


def test_a_worker_remembers_a_size_that_did_not_fit(
    pool: ThreadWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or every batch would fail once more before it is made in halves."""
    from workbench.generation import sampler

    tried: list[int] = []
    real = sampler._run_pipeline

    def crowded(batch: Any, *rest: Any) -> Any:
        tried.append(len(batch.trials))
        if len(batch.trials) > 2:
            raise MemoryError
        return real(batch, *rest)

    monkeypatch.setattr(sampler, "_run_pipeline", crowded)
    run = run_study(make_study(), tmp_path / "run", executor=PROCESSES)
    assert not any(record.failed for record in run.records())
    kinds = {tuple(use.control for use in record.trial.controls) for record in run.records()}
    assert tried.count(4) <= len(kinds), "once for each kind of batch"


def test_workers_inherit_that_the_network_is_switched_off(
    pool: ThreadWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.families.locate import is_offline

    jobs: list[Any] = []
    pool.before = lambda task: jobs.append(task.job)
    monkeypatch.setenv("WORKBENCH_OFFLINE", "1")
    run_study(make_study(seeds=[1]), tmp_path / "run", executor=PROCESSES)
    assert {job.offline for job in jobs} == {True}
    monkeypatch.delenv("WORKBENCH_OFFLINE")
    seen: list[bool] = []  # as in a worker on another machine, which has no such variable
    monkeypatch.setattr(worker, "_session", lambda _: seen.append(is_offline()))
    worker.perform(Task(jobs[0], "find"))
    worker.perform(Task(replace(jobs[0], offline=False), "find"))
    assert seen == [True, False] and not is_offline()


def test_workers_that_die_at_once_end_the_run(pool: ThreadWorkers, tmp_path: Path) -> None:
    def before(task: Task) -> None:
        raise WorkerDiedError("died 3 times")

    pool.before = before
    with pytest.raises(ExecutorError, match="keep dying"):
        run_study(make_study(), tmp_path / "run", executor=PROCESSES)


def test_a_cancel_keeps_what_is_done(
    pool: ThreadWorkers, manager: TinyManager, tmp_path: Path
) -> None:
    cancel = CancelToken()
    begun: list[Task] = []

    def before(task: Task) -> None:
        begun.extend([task] if task.kind == "make" else [])
        if len(begun) == 2:  # the second batch is at work when the cancel comes
            cancel.cancel()
            deadline = time.monotonic() + 30
            while not Path(task.job.stop_file).exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(LOOK_SECONDS)  # the worker may have looked just before

    pool.before = before
    run = run_study(make_study(), tmp_path / "run", executor=PROCESSES, cancel=cancel)
    assert set(run.trial_ids()) == set(begun[0].trials)
    assert len(begun) == 2 and pool.dropped == 1
    assert (run.path / "measurements.parquet").is_file()
    assert not [p.name for p in run.path.glob(".*.tmp")]
    resumed = run_study(make_study(), tmp_path / "run", manager=manager)
    assert_same_run(resumed, run_study(make_study(), tmp_path / "whole", manager=manager))


def test_a_lost_scheduler_is_one_sentence(pool: ThreadWorkers, tmp_path: Path) -> None:
    def before(task: Task) -> None:
        if task.kind == "make":
            raise CancelledError

    pool.before = before
    with pytest.raises(ExecutorError, match="the scheduler is lost"):
        run_study(make_study(), tmp_path / "run", executor=PROCESSES)
    assert RunFolder.open(tmp_path / "run").read_json("manifest.json")


@pytest.mark.parametrize("after", [0, 1])
def test_errors_before_the_first_picture_end_the_run_later_ones_fail_trials(
    pool: ThreadWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    real = steps.generate
    calls: list[bool] = []

    def failing(*args: Any, failures: FailureBudget, **keywords: Any) -> Any:
        calls.append(failures.unlimited)
        if len(calls) == after + 1:
            raise GenerationError("no memory for even one picture")
        return real(*args, failures=failures, **keywords)

    monkeypatch.setattr(steps, "generate", failing)
    if after == 0:
        with pytest.raises(ExecutorError, match="no memory"):
            run_study(make_study(), tmp_path / "run", executor=PROCESSES)
        return
    run = run_study(make_study(), tmp_path / "run", executor=PROCESSES)
    assert len(run.trial_ids()) == 12 and calls == [False] * 3
    failed = [record for record in run.records() if record.failed]
    assert len(failed) == 4 and all(record.retry for record in failed)
    for record in failed:
        assert "not tried, as the first pictures of canny on render all failed" in record.failed
        assert "no memory for even one picture" in record.failed


def test_faults_of_a_worker_keep_their_traceback(
    pool: ThreadWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **keywords: Any) -> Any:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(steps, "generate", broken)
    with pytest.raises(RuntimeError, match=r"(?s)in broken.*ZeroDivisionError: a fault"):
        run_study(make_study(), tmp_path / "run", executor=PROCESSES)


def test_a_full_disk_that_hides_the_stop_file_does_not_hide_the_error(
    pool: ThreadWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **keywords: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("workbench.measuring.cache.ReferenceCache.save", full)
    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(ExecutorError, match=r"references.json cannot be written .* free some"):
        run_study(make_study(), tmp_path / "run", executor=PROCESSES)


def test_a_run_with_other_weights_is_refused_before_a_picture_is_made(
    pool: ThreadWorkers, manager: TinyManager, tmp_path: Path
) -> None:
    run = run_study(make_study(), tmp_path / "run", manager=manager)
    manifest = run.read_json("manifest.json")
    manifest["weight_hashes"] = dict.fromkeys(manifest["weight_hashes"], "other")
    run.write_json("manifest.json", manifest)
    with pytest.raises(StoreError, match="other weights"):
        run_study(make_study(seeds=[1, 2, 3]), tmp_path / "run", executor=PROCESSES)
    assert len(run.trial_ids()) == 12


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (ExecutorChoice("threads"), "no executor"),
        (ExecutorChoice(workers=2), "needs the executor processes or dask"),
        (ExecutorChoice("processes", scheduler="tcp://x:1"), "needs the executor dask"),
        (ExecutorChoice("processes", "cpu", 0), "at least 1"),
        (ExecutorChoice(device="gpu"), "write cpu, cuda, cuda:0"),
        (ExecutorChoice(device="cuda:7"), "no CUDA device here|no device cuda:7"),
        (ExecutorChoice("processes", "cpu", 5000), "hinder each other"),
        (ExecutorChoice("dask", "cpu"), "needs the address of a scheduler.*executor processes"),
    ],
)
def test_what_cannot_work_is_refused_up_front(
    choice: ExecutorChoice, said: str, tmp_path: Path
) -> None:
    assert len(choice.problems()) == 1
    with pytest.raises(ExecutorError, match=said):
        run_study(make_study(), tmp_path / "run", executor=choice)
    assert not (tmp_path / "run").exists()


def test_all_problems_are_said_at_once() -> None:
    assert len(ExecutorChoice(device="gpu", workers=3, scheduler="tcp://x:1").problems()) == 3


def test_without_dask_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    (line,) = ExecutorChoice("dask", scheduler="tcp://x:1").problems()
    assert 'pip install "controlnet-workbench[cluster]"' in line


def test_there_is_one_worker_for_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    two = ["cuda:0", "cuda:1"]
    for module in ("backends", "devices"):
        monkeypatch.setattr(f"workbench.sweep.{module}.cuda_devices", lambda: two)
    assert ExecutorChoice("processes").devices() == two
    assert ExecutorChoice("processes", "cuda", 1).devices() == ["cuda:0"]
    assert ExecutorChoice("processes", "cuda:1").devices() == ["cuda:1"]
    assert "2 cuda devices" in ExecutorChoice("processes", "cuda", 3).problems()[0]
    assert "1 cuda:1 device" in ExecutorChoice("processes", "cuda:1", 2).problems()[0]
    monkeypatch.setattr(backends, "processors", lambda: 8)
    assert ExecutorChoice("processes", "cpu").devices() == ["cpu"] * 2
    assert ExecutorChoice("processes", "cpu", 8).devices() == ["cpu"] * 8


def test_other_versions_are_named() -> None:
    ours = own_versions()
    assert dict(ours).keys() >= {"torch", "controlnet-workbench"}
    assert WorkerInfo("w", "", ours, "").problems(ours) == []
    theirs = tuple((name, "0.1.dev0" if name == "torch" else v) for name, v in ours)
    (said,) = WorkerInfo("w", "", theirs, "").problems(ours)
    assert "torch 0.1.dev0" in said and f"torch {dict(ours)['torch']}" in said
    name, _ = ours[-1]
    assert f"{name} missing" in WorkerInfo("w", "", ours[:-1], "").problems(ours)[0]


def test_workers_that_do_not_fit_are_all_named(
    pool: ThreadWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, old = own_versions(), (("torch", "1.0"),)
    wrong = [WorkerInfo("a", "", here, "it is not there"), WorkerInfo("b", "", old, "")]
    monkeypatch.setattr(pool, "handshake", lambda probe: wrong)
    with pytest.raises(ExecutorError, match=r"(?s)a does not see the run folder.*b has "):
        run_study(make_study(), tmp_path / "run", executor=PROCESSES)


def test_the_probe_must_be_seen(tmp_path: Path) -> None:
    probe = Probe(str(tmp_path / "x" / ".probe.tmp"), "session")
    assert "cannot be used there" in handshake(probe).folder
    Path(probe.path).parent.mkdir()
    Path(probe.path).write_text("another")
    assert "another folder" in handshake(probe).folder
    Path(probe.path).write_text("session")
    assert handshake(probe).folder == ""
    assert len(list(Path(probe.path).parent.iterdir())) == 1


def test_a_scheduler_that_does_not_answer_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("workbench.sweep.dask.CONNECT_SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(ExecutorError, match="no Dask scheduler answers"):
            run_study(
                make_study(), tmp_path / "run", executor=ExecutorChoice("dask", scheduler=address)
            )


def test_a_stop_file_stays_raised(tmp_path: Path) -> None:
    token = StopFile(str(tmp_path / "stop"))
    assert not token.cancelled
    (tmp_path / "stop").touch()
    token._looked = float("-inf")
    assert token.cancelled
    (tmp_path / "stop").unlink()
    assert token.cancelled
