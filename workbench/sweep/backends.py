"""Who does the work of a run: this process, one process for each device, or Dask workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol, TypeVar

from workbench.sweep.devices import cuda_devices, device_problem, own_device
from workbench.sweep.messages import ExecutorError, Probe, WorkerInfo

T = TypeVar("T")
PATIENCE_SECONDS = 600.0
DASK = "dask"
KINDS = ("in-process", "processes", DASK)


@dataclass(frozen=True)
class ExecutorChoice:
    """What the user asks for.

    kind: "in-process", "processes" (one for each device of this machine) or "dask" (the workers of
        a Dask scheduler).
    device: "cpu", "cuda", "cuda:<number>" or "mps"; None takes CUDA where there is some, else the
        CPU, and leaves it to each worker with "dask".
    workers: how many; None takes one for each CUDA device, or two on a CPU. With "dask": how many
        must have come before the work begins.
    scheduler: the address of the Dask scheduler.
    patience: seconds that a run waits for workers when all of them are gone.
    """

    kind: str = "in-process"
    device: str | None = None
    workers: int | None = None
    scheduler: str | None = None
    patience: float = PATIENCE_SECONDS

    def problems(self) -> list[str]:
        """One sentence for everything that cannot work, without starting anything."""
        if self.kind not in KINDS:
            return [f'there is no executor "{self.kind}"; there is: {", ".join(KINDS)}']
        found = []
        if self.kind == "in-process" and self.workers is not None:
            found.append("a number of workers needs the executor processes or dask")
        if self.kind != "dask" and self.scheduler is not None:
            found.append("the address of a scheduler needs the executor dask")
        if self.workers is not None and self.workers < 1:
            found.append(f"{self.workers} workers cannot do anything: take at least 1")
        if not self.patience > 0:
            found.append(f"a run cannot wait {self.patience:g} s for workers: take at least 1")
        if self.kind == "dask":
            return found + self._dask_problems()
        wrong = device_problem(self.device)
        if wrong:
            return [*found, wrong]
        return [*found, *self._too_many()]

    def check(self) -> None:
        """Raise ExecutorError with all `problems`."""
        found = self.problems()
        if found:
            raise ExecutorError("\n".join(found))

    def devices(self) -> list[str]:
        """The device of each worker on this machine."""
        device = self.device or own_device()
        if device == "cuda":
            return cuda_devices()[: self.workers]
        if device == "cpu":
            return ["cpu"] * (self.workers or min(2, processors()))
        return [device]

    def _dask_problems(self) -> list[str]:
        found = []
        if self.scheduler is None:
            found.append(
                "the executor dask needs the address of a scheduler (--scheduler tls://...): for "
                "workers on this machine alone take the executor processes"
            )
        if find_spec("distributed") is None:
            found.append('Dask is not installed: pip install "controlnet-workbench[cluster]"')
        return found

    def _too_many(self) -> list[str]:
        if self.kind == "in-process" or self.workers is None:
            return []
        device = self.device or own_device()
        if device == "cpu":
            most, what = processors(), "processor core"
        else:
            most, what = (len(cuda_devices()) if device == "cuda" else 1), f"{device} device"
        if self.workers <= most:
            return []
        here = f"1 {what}" if most == 1 else f"{most} {what}s"
        return [f"{self.workers} workers for {here} would only hinder each other: take {most}"]


class WorkerPool(Protocol):
    """Workers that are there. Futures are those of `concurrent.futures`.

    device, threads: what every task is told; "" and None where each worker knows its own.
    joining: how many workers there may come to be, at least; 0 where none will join.
    """

    device: str
    threads: int | None
    joining: int

    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]:
        """Hand out a call. If its worker dies it is tried again; in the end it raises
        `lost_work`."""
        ...

    def handshake(self, probe: Probe) -> list[WorkerInfo]:
        """What each worker is, and whether it sees the probe's file."""
        ...

    def ban(self, worker: str) -> bool:
        """Hand nothing more to a worker, by the name in `Failed.unfit`. False: not possible."""
        ...

    def stranded(self, futures: Iterable[Future[Any]]) -> list[Future[Any]]:
        """Those that nobody will do: the workers that might are gone since a `ban`."""
        ...

    def present(self) -> bool:
        """Whether any worker is there or will be started. Asked while tasks are open."""
        ...

    @property
    def lost_work(self) -> tuple[type[BaseException], ...]:
        """What a future raises if workers died of its task again and again."""
        ...

    def drop(self, futures: Iterable[Future[Any]]) -> None:
        """Take back what no worker has begun."""
        ...

    def lost(self) -> str:
        """Why futures were cancelled although nobody did so here."""
        ...

    def close(self, *, at_once: bool) -> None:
        """Let the workers of our own end: after the task at work, or at once."""
        ...


def processors() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
