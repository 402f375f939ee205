"""Protects a run whose workers are all gone, or cannot take part: it says so, waits for others,
and does not wait for ever. What is done is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pools import ThreadWorkers, certificates
from tiny_run import TINY_WORLD, TinyManager, make_study

import workbench.sweep.worker as worker
from workbench.families.determinism import deterministic
from workbench.generation import CancelToken
from workbench.store import RunFolder
from workbench.sweep import ExecutorChoice, ExecutorError, Progress, run_study
from workbench.sweep.backends import PATIENCE_SECONDS
from workbench.sweep.messages import Job, UnfitWorkerError
from workbench.sweep.scheduler import WorkerWatchdog


class Clock:
    """A clock to be set by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("workbench.sweep.scheduler.time", made)
    return made


def test_the_absence_of_workers_is_said_once_and_ends_the_run_at_last(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = ThreadWorkers()
    here = [True]
    monkeypatch.setattr(pool, "present", lambda: here[0])
    watchdog = WorkerWatchdog(pool, 600)
    clock.now = 5000  # busy all the time: nobody looked
    here[0] = False
    assert watchdog.nobody_is_there() and not caplog.records
    for clock.now in range(5000, 5590, 2):
        assert watchdog.nobody_is_there()
    assert [r.message for r in caplog.records] == [
        "no worker is there (they ended, or their time was up): waiting up to 600 s for others"
    ]
    here[0], clock.now = True, 5595
    assert not watchdog.nobody_is_there() and "workers again" in caplog.text
    here[0], clock.now = False, 5599
    assert watchdog.nobody_is_there()
    clock.now = 6198
    assert watchdog.nobody_is_there()
    clock.now = 6200
    with pytest.raises(ExecutorError, match=r"was there for 60\d s: .* is kept"):
        watchdog.nobody_is_there()


def test_the_wait_can_be_chosen() -> None:
    assert ExecutorChoice().patience == PATIENCE_SECONDS
    (said,) = ExecutorChoice("dask", scheduler="tcp://x:1", patience=0).problems()
    assert "cannot wait 0 s" in said


@pytest.fixture
def cluster(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("WORKBENCH_MODELS", str(models))
    monkeypatch.setattr("workbench.sweep.runner.get_family", lambda name: TINY_WORLD)
    with (
        deterministic(threads=1),
        certificates() as security,
        distributed.LocalCluster(
            security=security,
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tls://",
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as made,
    ):
        yield made


def closing(cluster: Any, then: Callable[[], None] = lambda: None) -> Callable[[Progress], None]:
    """A progress callback that takes all workers away when the first pictures are stored."""
    closed: list[int] = []

    def show(progress: Progress) -> None:
        if progress.phase == "generating" and 0 < progress.done < progress.total and not closed:
            closed.append(progress.done)
            cluster.scale(0)
            cluster.sync(cluster._correct_state)
            then()

    return show


def test_a_cluster_whose_workers_all_went_is_not_waited_for_for_ever(
    cluster: Any, manager: TinyManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    choice = ExecutorChoice("dask", scheduler=cluster.scheduler_address, patience=4)
    folder = tmp_path / "run"
    with pytest.raises(ExecutorError, match=r"no worker .* was there .* is kept"):
        run_study(make_study(batch_size=1), folder, executor=choice, progress=closing(cluster))
    assert "waiting up to 4 s" in caplog.text
    stored = set(RunFolder.open(folder).trial_ids())
    assert 0 < len(stored) < 12
    run = run_study(make_study(batch_size=1), folder, manager=manager)
    assert len(run.trial_ids()) == 12


def test_a_worker_that_comes_later_and_is_unfit_does_no_harm(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = worker._session

    def workshop(job: Job) -> Any:
        if worker._name() != "dask 0":
            raise UnfitWorkerError(f"the worker {worker._name()} has torch 0.1: update it")
        return real(job)

    monkeypatch.setattr(worker, "_session", workshop)
    joined: list[int] = []

    def join(progress: Progress) -> None:
        if progress.phase == "generating" and progress.done and not joined:
            joined.append(progress.done)
            cluster.scale(3)
            cluster.wait_for_workers(3)

    choice = ExecutorChoice("dask", scheduler=cluster.scheduler_address)
    run = run_study(make_study(batch_size=1), tmp_path / "run", executor=choice, progress=join)
    records = list(run.records())
    assert len(records) == 12 and not any(record.failed for record in records)
    assert {record.made_by["worker"] for record in records} == {"dask 0"}
    said = [r.message for r in caplog.records if "its work goes to the others" in r.message]
    assert said and len(set(said)) == len(said) <= 2
    assert all("has torch 0.1" in line for line in said)


def test_where_only_unfit_workers_are_left_the_run_ends(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = worker._session
    calls: list[int] = []

    def workshop(job: Job) -> Any:
        calls.append(1)
        if len(calls) > 5:
            raise UnfitWorkerError("the worker dask 0 has torch 0.1: update it")
        return real(job)

    monkeypatch.setattr(worker, "_session", workshop)
    choice = ExecutorChoice("dask", scheduler=cluster.scheduler_address, patience=3)
    with pytest.raises(ExecutorError, match="no worker that can do the work was there"):
        run_study(make_study(batch_size=1), tmp_path / "run", executor=choice)
    assert len(RunFolder.open(tmp_path / "run").trial_ids()) == 2


def test_a_cancel_does_not_wait_for_workers_that_went(cluster: Any, tmp_path: Path) -> None:
    choice = ExecutorChoice("dask", scheduler=cluster.scheduler_address)
    cancel = CancelToken()
    show = closing(cluster, then=cancel.cancel)
    run = run_study(
        make_study(batch_size=1), tmp_path / "run", executor=choice, progress=show, cancel=cancel
    )
    assert 0 < len(run.trial_ids()) < 12
