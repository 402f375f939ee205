"""One worker process for each device of this machine, each behind a thread that hands it tasks."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from workbench.sweep.errors import WorkerDiedError
from workbench.sweep.tasks import Facts, Probe
from workbench.sweep.worker import begin, greet

log = logging.getLogger(__name__)

DEATHS = 3
"""So many worker processes may die of one task."""
P = ParamSpec("P")
T = TypeVar("T")


class Lane:
    """A pool of one process, which is replaced when it dies."""

    def __init__(self, name: str, device: str) -> None:
        self.name, self.device = name, device
        self._pool: ProcessPoolExecutor | None = None

    def call(self, fn: Callable[P, T], /, *args: P.args, **keywords: P.kwargs) -> T:
        """Call in the process; BrokenProcessPool if it dies."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=begin,
                initargs=(self.name, self.device),
            )
        try:
            return self._pool.submit(fn, *args, **keywords).result()
        except BrokenProcessPool:
            self._pool.shutdown(wait=False)
            self._pool = None
            raise

    def close(self, *, at_once: bool) -> None:
        """End the process."""
        pool = self._pool
        if pool is None:
            return
        if at_once:
            # Python 3.14 has `kill_workers` for this.
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.kill()
        pool.shutdown(wait=True, cancel_futures=True)


class Lanes(Executor):
    """The worker processes of this machine as a `concurrent.futures` executor and a crew.

    The death of one process disturbs no other; its task is tried again in a new one.
    """

    where = ""
    device = ""
    lost_work = (WorkerDiedError,)

    def __init__(self, devices: Sequence[str]) -> None:
        import torch

        self.threads = max(1, torch.get_num_threads() // len(devices))
        self.lanes = [Lane(f"process {i}", device) for i, device in enumerate(devices, 1)]
        self._free: SimpleQueue[Lane] = SimpleQueue()
        for lane in self.lanes:
            self._free.put(lane)
        self._mine = threading.local()
        self._closing = False
        self._threads = ThreadPoolExecutor(len(self.lanes), initializer=self._take_lane)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **keywords: P.kwargs) -> Future[T]:
        """A future of the call; WorkerDiedError if processes keep dying of it."""
        return self._threads.submit(self._call, fn, *args, **keywords)

    def greet(self, probe: Probe) -> list[Facts]:
        """Start all processes and let each say what it is."""
        everybody = threading.Barrier(len(self.lanes))

        def one() -> Facts:
            everybody.wait()  # so that no thread greets twice
            return self._call(greet, probe)

        futures = [self._threads.submit(one) for _ in self.lanes]
        return [future.result() for future in futures]

    def ban(self, worker: str) -> bool:
        """Never: what one process of this machine lacks they all lack."""
        return False

    def stranded(self, futures: Iterable[Future[Any]]) -> list[Future[Any]]:
        """None: every process may do every task."""
        return []

    def present(self) -> bool:
        """Always: a process that died is replaced."""
        return True

    def drop(self, futures: Iterable[Future[Any]]) -> None:
        """Take back what no process has begun."""
        for future in futures:
            future.cancel()

    def lost(self) -> str:
        """Nothing but `drop` cancels futures."""
        return "the worker processes were ended from outside"

    def close(self, *, at_once: bool) -> None:
        """End all processes: after their task, or at once."""
        self._closing = True
        if at_once:
            self._threads.shutdown(wait=False, cancel_futures=True)
        for lane in self.lanes:
            lane.close(at_once=at_once)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _take_lane(self) -> None:
        _block_interrupts()  # inherited by the process, which shall not die of a Ctrl-C
        self._mine.lane = self._free.get_nowait()

    def _call(self, fn: Callable[P, T], /, *args: P.args, **keywords: P.kwargs) -> T:
        lane: Lane = self._mine.lane
        for _ in range(DEATHS):
            try:
                return lane.call(fn, *args, **keywords)
            except BrokenProcessPool:
                if self._closing:
                    break
                log.warning("the worker %s (%s) died; starting another", lane.name, lane.device)
        raise WorkerDiedError(f"the worker {lane.name} ({lane.device}) died {DEATHS} times")


@contextmanager
def no_interrupts() -> Iterator[None]:
    """Threads and processes begun inside never see Ctrl-C; the caller gets it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = _block_interrupts()
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _block_interrupts() -> set[Any]:
    if not hasattr(signal, "pthread_sigmask"):
        return set()
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}))
