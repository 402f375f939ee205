"""One worker process for each device of this machine, each behind a thread that hands it tasks."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from workbench.sweep.messages import Probe, WorkerDiedError, WorkerInfo
from workbench.sweep.worker import begin, handshake

log = logging.getLogger(__name__)

DEATHS = 3
"""So many worker processes may die of one task."""
T = TypeVar("T")


class LocalProcess:
    """A worker process, which is replaced by another when it dies."""

    def __init__(self, name: str, device: str) -> None:
        self.name, self.device = name, device
        self._pool: ProcessPoolExecutor | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.device})"

    def call(self, fn: Callable[..., T], /, *args: Any) -> T:
        """Call in the process; BrokenProcessPool if it dies."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=begin,
                initargs=(self.name, self.device),
            )
        try:
            return self._pool.submit(fn, *args).result()
        except BrokenProcessPool:
            self._pool.shutdown(wait=False)
            self._pool = None
            raise

    def close(self, *, at_once: bool) -> None:
        """End the process: after its task, or at once."""
        pool = self._pool
        if pool is None:
            return
        if at_once:
            # Python 3.14 has `kill_workers` for this.
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.kill()
        pool.shutdown(wait=True, cancel_futures=True)


class LocalProcessPool:
    """The worker processes of this machine as a `WorkerPool`.

    The death of one process disturbs no other; its task is tried again in a new one.
    """

    device = ""
    joining = 0
    lost_work = (WorkerDiedError,)

    def __init__(self, devices: Sequence[str]) -> None:
        self.threads: int | None = max(1, torch.get_num_threads() // len(devices))
        self._processes = [LocalProcess(f"process {i}", d) for i, d in enumerate(devices, 1)]
        self._free: SimpleQueue[LocalProcess] = SimpleQueue()
        for process in self._processes:
            self._free.put(process)
        self._mine = threading.local()
        self._closing = False
        self._threads = ThreadPoolExecutor(len(devices), initializer=self._take_process)

    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]:
        """A future of the call; WorkerDiedError if processes keep dying of it."""
        return self._threads.submit(self._call, fn, *args)

    def handshake(self, probe: Probe) -> list[WorkerInfo]:
        """Start all processes and let each say what it is."""
        everybody = threading.Barrier(len(self._processes))

        def one() -> WorkerInfo:
            everybody.wait()  # so that each thread answers once
            return self._call(handshake, probe)

        futures = [self._threads.submit(one) for _ in self._processes]
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
        for process in self._processes:
            process.close(at_once=at_once)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _take_process(self) -> None:
        if hasattr(signal, "pthread_sigmask"):  # not on Windows
            # Inherited by the process, which shall not die of a Ctrl-C before it can ignore it.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self._mine.process = self._free.get_nowait()

    def _call(self, fn: Callable[..., T], /, *args: Any) -> T:
        process: LocalProcess = self._mine.process
        for _ in range(DEATHS):
            try:
                return process.call(fn, *args)
            except BrokenProcessPool:
                if self._closing:
                    break
                log.warning("the worker %s died; starting another", process)
        raise WorkerDiedError(f"the worker {process} died {DEATHS} times")
