"""The workers of a Dask scheduler."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from distributed import Client, KilledWorker

from workbench.sweep.backends import ExecutorChoice
from workbench.sweep.messages import ExecutorError, Probe, WorkerInfo
from workbench.sweep.worker import handshake

log = logging.getLogger(__name__)

CONNECT_SECONDS = 15
WORKER_SECONDS = 120
CLOSE_SECONDS = 10
LOOK_SECONDS = 1
OPEN = (
    "the Dask scheduler %s is open: whoever reaches its address, every user of these machines "
    "among them, can run code on its workers as you; docs/clusters.md says how to close it (tls://)"
)
_CLOSED = ("tls://", "inproc://", "wss://")
T = TypeVar("T")


class DaskPool:
    """The workers of a Dask scheduler as a `WorkerPool`, through `distributed.Client`.

    Certificates are those of Dask's own settings (`distributed.comm.tls`); a scheduler without them
    is warned of, as it runs the code of whoever reaches it.

    Dask itself repeats a task whose worker died, three times unless its settings say otherwise.
    """

    joining = 8
    lost_work = (KilledWorker,)
    threads: int | None = None

    def __init__(self, choice: ExecutorChoice) -> None:
        self.device = choice.device or ""
        self.where = choice.scheduler
        self._here: list[str] = []
        self._asked = float("-inf")
        self._banned: set[str] = set()
        self._bound: WeakKeyDictionary[Future[Any], frozenset[str]] = WeakKeyDictionary()
        try:
            self._client = Client(self.where, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, ImportError) as error:
            raise ExecutorError(
                f"no Dask scheduler answers at {self.where} within {CONNECT_SECONDS} s "
                f"({str(error) or type(error).__name__}): check the address, and that it runs"
            ) from error
        if not str(self.where).startswith(_CLOSED):
            log.warning(OPEN, self.where)
        wanted = choice.workers or 1
        try:
            self._client.wait_for_workers(wanted, timeout=WORKER_SECONDS)
        except (OSError, TimeoutError) as error:
            self.close(at_once=True)
            raise ExecutorError(
                f"the Dask scheduler has fewer than {wanted} workers after {WORKER_SECONDS} s: "
                "start workers that can reach it (dask worker ADDRESS --nthreads 1)"
            ) from error
        except BaseException:  # Ctrl-C while it waits
            self.close(at_once=True)
            raise
        self._executor = self._client.get_executor(pure=False)

    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]:
        """A future of the call; KilledWorker if workers keep dying of it."""
        fit = self._fit() if self._banned else []
        executor = self._executor
        if fit:
            executor = self._client.get_executor(pure=False, workers=fit)
        made: Future[T] = executor.submit(fn, *args)
        if fit:
            self._bound[made] = frozenset(fit)
        return made

    def handshake(self, probe: Probe) -> list[WorkerInfo]:
        """Ask every worker what it is."""
        try:
            found = self._client.run(handshake, probe)
        except Exception as error:  # whatever a foreign environment may raise
            raise ExecutorError(
                f"the workers of {self.where} cannot run this program "
                f"({type(error).__name__}: {error}): install it there in the same version"
            ) from error
        for address, about in self._client.scheduler_info(n_workers=-1)["workers"].items():
            if about["nthreads"] > 1:
                log.warning("the worker %s works on one task at a time: --nthreads 1", address)
        return list(found.values())

    def ban(self, worker: str) -> bool:
        """From now on tasks go to those that are there and are not banned."""
        self._banned.add(worker)
        return True

    def stranded(self, futures: Iterable[Future[Any]]) -> list[Future[Any]]:
        """Futures for workers all of which are gone."""
        if not self._bound:
            return []
        here = set(self._fit())
        return [f for f in futures if self._bound.get(f) and here.isdisjoint(self._bound[f])]

    def present(self) -> bool:
        """Whether the scheduler has a worker that can take part."""
        return bool(self._fit())

    def drop(self, futures: Iterable[Future[Any]]) -> None:
        """Nothing: a task that is begun after the stop file is there ends at once, and to wait for
        all of them is how we know that nobody writes any more."""

    def lost(self) -> str:
        """Futures are cancelled when the connection breaks."""
        return (
            f"the Dask scheduler {self.where} is lost: what was done until now is kept, and the "
            "same command goes on once it runs again"
        )

    def close(self, *, at_once: bool) -> None:
        """Leave the scheduler; its workers stay."""
        with suppress(OSError, TimeoutError):
            self._client.close(timeout=1 if at_once else CLOSE_SECONDS)

    def _fit(self) -> list[str]:
        """Addresses of the workers that are there and not banned, as of a second ago."""
        if time.monotonic() - self._asked >= LOOK_SECONDS:
            with suppress(OSError, TimeoutError):
                about = self._client.scheduler_info(n_workers=-1)
                # A scheduler that is lost says nothing; its futures are cancelled, see `lost`.
                self._here = list(about.get("workers", self._here))
            self._asked = time.monotonic()
        return [address for address in self._here if address not in self._banned]
