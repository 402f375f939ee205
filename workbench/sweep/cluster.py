"""Dask workers: those of a scheduler that is there, or of a cluster made on this machine."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from workbench.sweep.errors import ExecutorError
from workbench.sweep.executors import ExecutorChoice
from workbench.sweep.lanes import no_interrupts
from workbench.sweep.tasks import Facts, Probe
from workbench.sweep.worker import greet

log = logging.getLogger(__name__)

CONNECT_SECONDS = 15
WORKER_SECONDS = 120
CLOSE_SECONDS = 10
LOOK_SECONDS = 1
_SET_BY_DASK = ("PYTHONHASHSEED", "__DASK_PARENT_PID", "RAPIDS_NO_INITIALIZE")
"""Environment variables that a cluster of our own leaves behind in this process."""
T = TypeVar("T")


class DaskCrew:
    """The workers of a Dask scheduler, through `distributed.Client`.

    Dask itself repeats a task whose worker died, three times unless its settings say otherwise.
    """

    def __init__(self, choice: ExecutorChoice, most: int) -> None:
        from distributed import Client, KilledWorker

        self.lost_work = (KilledWorker,)
        self.device = choice.device or ""
        self.threads: int | None = None
        self._environment: dict[str, str | None] = {}
        self._cluster: Any = None
        self._here: list[str] = []
        self._asked = float("-inf")
        self._banned: set[str] = set()
        self._bound: WeakKeyDictionary[Future[Any], frozenset[str]] = WeakKeyDictionary()
        wanted = choice.workers or 1
        with no_interrupts():
            if choice.scheduler is None:
                devices = choice.devices()[:most]
                wanted = len(devices)
                self.device = choice.device or devices[0].partition(":")[0]
                self._cluster = self._local(devices)
            self.where = choice.scheduler or ""
            target = choice.scheduler or self._cluster
            try:
                self._client = Client(target, timeout=CONNECT_SECONDS, set_as_default=False)
            except (OSError, ValueError, ImportError) as error:
                self._end_cluster()
                raise ExecutorError(
                    f"no Dask scheduler answers at {choice.scheduler} within {CONNECT_SECONDS} s "
                    f"({str(error) or type(error).__name__}): check the address, and that it runs"
                ) from error
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
        executor, fit = self._executor, self._fit()
        if self._banned and fit:
            executor = self._client.get_executor(pure=False, workers=fit)
        made: Future[T] = executor.submit(fn, *args)
        if self._banned and fit:
            self._bound[made] = frozenset(fit)
        return made

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

    def _fit(self) -> list[str]:
        """Addresses of the workers that are there and not banned, as of a second ago."""
        if time.monotonic() - self._asked >= LOOK_SECONDS:
            with suppress(OSError, TimeoutError):
                about = self._client.scheduler_info(n_workers=-1)
                # A scheduler that is lost says nothing; its futures are cancelled, see `lost`.
                self._here = list(about.get("workers", self._here))
            self._asked = time.monotonic()
        return [address for address in self._here if address not in self._banned]

    def greet(self, probe: Probe) -> list[Facts]:
        """Ask every worker what it is."""
        try:
            found = self._client.run(greet, probe)
        except Exception as error:  # whatever a foreign environment may raise
            raise ExecutorError(
                f"the workers of {self.where or 'the cluster'} cannot run this program "
                f"({type(error).__name__}: {error}): install it there in the same version"
            ) from error
        for address, about in self._client.scheduler_info(n_workers=-1)["workers"].items():
            if about["nthreads"] > 1:
                log.warning("the worker %s works on one task at a time: --nthreads 1", address)
        return list(found.values())

    def present(self) -> bool:
        """Whether the scheduler has a worker that can take part."""
        return bool(self._fit())

    def drop(self, futures: Iterable[Future[Any]]) -> None:
        """Nothing: a task that is begun after the stop file is there ends at once, and to wait for
        all of them is how we know that nobody writes any more."""

    def lost(self) -> str:
        """Futures are cancelled when the connection breaks."""
        return (
            f"the Dask scheduler {self.where or 'of this run'} is lost: what was done until now is "
            "kept, and the same command goes on once it runs again"
        )

    def close(self, *, at_once: bool) -> None:
        """Leave the scheduler; end a cluster of our own. Workers of others stay."""
        with suppress(OSError, TimeoutError):
            self._client.close(timeout=1 if at_once else CLOSE_SECONDS)
        self._end_cluster()

    def _local(self, devices: list[str]) -> Any:
        """A cluster on this machine, one worker for each device."""
        import torch

        if devices[0].startswith("cuda") and len(devices) > 1:
            try:
                from dask_cuda import LocalCUDACluster
            except ImportError:
                raise ExecutorError(
                    "a Dask cluster of several CUDA devices needs dask-cuda: pip install "
                    "dask-cuda, or take the executor processes"
                ) from None
            kind, options = LocalCUDACluster, {}
        else:
            from distributed import LocalCluster

            self.threads = max(1, torch.get_num_threads() // len(devices))
            kind, options = LocalCluster, {"processes": True}
        import dask

        self._environment = {name: os.environ.get(name) for name in _SET_BY_DASK}
        # Or Dask would set variables of this very process, for all that it starts afterwards.
        with dask.config.set({"distributed.nanny.pre-spawn-environ": {}}):
            return kind(
                n_workers=len(devices),
                threads_per_worker=1,
                memory_limit=0,  # models are no data of Dask's that it could move to the disk
                dashboard_address=None,
                silence_logs=logging.ERROR,
                **options,
            )

    def _end_cluster(self) -> None:
        if self._cluster is not None:
            with suppress(OSError, TimeoutError):
                self._cluster.close(timeout=CLOSE_SECONDS)
            for name, value in self._environment.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
