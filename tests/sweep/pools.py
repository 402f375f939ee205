"""Helpers for runs by workers: a comparison of two runs, and workers without processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import workbench.generation.batching as batching
from workbench.measuring.measurer import EMBEDDING, unpack
from workbench.store import RunFolder
from workbench.sweep import scheduler
from workbench.sweep.backends import ExecutorChoice
from workbench.sweep.messages import Outcome, Probe, Task, WorkerDiedError, WorkerInfo
from workbench.sweep.worker import handshake, perform


def assert_same_run(run: RunFolder, other: RunFolder, *, measured_alike: bool = True) -> None:
    """The same pictures, readings, chance and ceiling to the bit.

    Where samples were measured in other batches than they were made in, readings differ by
    rounding too.
    """
    assert run.trial_ids() == other.trial_ids() != ()
    cells = [each.read_json("cells.json") for each in (run, other)]
    assert cells[0] and cells[0] == cells[1]
    for trial in run.trial_ids():
        mine, theirs = run.read_record(trial), other.read_record(trial)
        assert mine.failed == theirs.failed
        assert mine.sample_sha256 == theirs.sample_sha256
        if measured_alike:
            assert mine.extra == theirs.extra
        else:
            assert mine.extra.keys() == theirs.extra.keys()
            pair = [unpack(record.extra[EMBEDDING]) for record in (mine, theirs)]
            np.testing.assert_allclose(*pair, atol=1e-3)
    key = ["cell", "metric"]
    frames = [r.measurements().set_index(key).sort_index() for r in (run, other)]
    assert list(frames[0].index) == list(frames[1].index)
    for name in ("value", "chance", "ceiling", "adherence"):
        pair = [frame[name].to_numpy(float) for frame in frames]
        if measured_alike or name in ("chance", "ceiling"):
            np.testing.assert_array_equal(*pair)
        else:
            np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-6)
    assert list(frames[0]["reason"]) == list(frames[1]["reason"])


class PlentyMemory(batching.DeviceMemory):
    """A device that measures its memory and has more than is ever needed."""

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self.measures = True

    def reset(self) -> int:
        return 0

    def peak(self) -> int:
        return 1

    def free(self) -> int:
        return 10**9


def perform_measured(task: Task) -> Outcome:
    """`perform` in a worker process on such a device, where the first batch has two pictures."""
    batching.DeviceMemory = PlentyMemory  # type: ignore[misc]
    batching._FIRST_MOST = 2
    return perform(task)


class ThreadWorkers:
    """Workers that are one thread of this process; `before(task)` is called first and may raise."""

    device, threads, joining = "cpu", None, 0
    lost_work = (WorkerDiedError,)

    def __init__(self, before: Callable[[Any], None] = lambda task: None) -> None:
        self.before = before
        self.closed: bool | None = None
        self.dropped = 0
        self._pool = ThreadPoolExecutor(1)

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        def call() -> Any:
            self.before(args[0])
            return fn(*args)

        return self._pool.submit(call)

    def handshake(self, probe: Probe) -> list[WorkerInfo]:
        return [handshake(probe)]

    def ban(self, worker: str) -> bool:
        return False

    def stranded(self, futures: Iterable[Future[Any]]) -> list[Future[Any]]:
        return []

    def present(self) -> bool:
        return True

    def drop(self, futures: Iterable[Future[Any]]) -> None:
        self.dropped += sum(future.cancel() for future in futures)

    def lost(self) -> str:
        return "the scheduler is lost"

    def close(self, *, at_once: bool) -> None:
        self.closed = at_once
        self._pool.shutdown(wait=True, cancel_futures=True)


def take_over(monkeypatch: pytest.MonkeyPatch, pool: ThreadWorkers) -> None:
    """Let a pool do the work of every run by workers, in place of processes."""

    @contextmanager
    def opened(choice: ExecutorChoice, most: int) -> Iterator[ThreadWorkers]:
        try:
            yield pool
        finally:
            pool.close(at_once=False)

    monkeypatch.setattr(scheduler, "opened", opened)


@contextmanager
def certificates() -> Iterator[Any]:
    """Certificates of this moment: the `Security` of a cluster, and what Dask's own settings say.

    Whoever has none can neither reach the scheduler nor its workers.
    """
    import dask
    import distributed

    security = distributed.Security.temporary()
    mine = security.get_tls_config_for_role("client")
    settings = {
        "distributed.comm.require-encryption": True,
        "distributed.comm.tls.ca-file": mine["ca_file"],
        "distributed.comm.tls.client.cert": mine["cert"],
        "distributed.comm.tls.client.key": mine["key"],
    }
    with dask.config.set(settings):
        yield security


@contextmanager
def dask_cluster(workers: int) -> Iterator[str]:
    """The address of a Dask scheduler with so many workers, each a process with a nanny."""
    import dask
    import distributed

    environment = dict(os.environ)
    threads = {"OMP_NUM_THREADS": "1"}
    try:
        with (
            certificates() as security,
            dask.config.set({"distributed.nanny.pre-spawn-environ": threads}),
            distributed.LocalCluster(
                security=security,
                n_workers=workers,
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address=None,
                silence_logs=logging.ERROR,
            ) as cluster,
        ):
            yield cluster.scheduler_address
    finally:
        os.environ.clear()  # Dask sets variables of this very process
        os.environ.update(environment)


@contextmanager
def chosen(kind: str, workers: int) -> Iterator[ExecutorChoice]:
    """So many worker processes on the CPU: our own, or those of a Dask scheduler."""
    if kind == "processes":
        yield ExecutorChoice("processes", "cpu", workers)
        return
    with dask_cluster(workers) as address:
        yield ExecutorChoice("dask", "cpu", workers, address)
