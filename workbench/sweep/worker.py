"""What a worker does. It keeps the models of one run loaded and works on one task at a time."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from workbench.families import Family
from workbench.families.determinism import deterministic
from workbench.families.locate import OFFLINE_VARIABLE
from workbench.families.manager import ModelManager
from workbench.generation.batching import BatchSize, first_size, kinds, most_size
from workbench.generation.recovery import FailureBudget, full_message, is_full
from workbench.store import RunFolder
from workbench.store.schema import SOURCES
from workbench.study import Study, choices_among, make_plan
from workbench.sweep.devices import device_problem, own_device
from workbench.sweep.estimate import check_fit
from workbench.sweep.messages import (
    Described,
    Done,
    Failed,
    Found,
    Job,
    Outcome,
    Probe,
    StopFile,
    Stored,
    Task,
    TaskKind,
    UnfitWorkerError,
    WorkerInfo,
    own_versions,
)
from workbench.sweep.steps import RunSteps, Start, done_records, load_manager


class WorkerSession:
    """The plan, the models and the steps of one job, made when it begins and then kept."""

    def __init__(self, job: Job, name: str, manager: ModelManager | None = None) -> None:
        self.job = job
        self.cancel = StopFile(job.stop_file)
        run = RunFolder.open(job.folder)
        study = Study.model_validate_json(job.study)
        self.manager = _load_manager(job, study) if manager is None else manager
        kept = run.read_sources(SOURCES.validate_json(job.sources))
        family = Family.model_validate_json(job.family)
        plan = make_plan(
            study,
            resolution=self.manager.family.resolution,
            choices=choices_among([family], readers=job.reads),
            sources=kept,
            models=job.models_dir,
        )
        if manager is None:
            check_fit(study, plan, self.manager)
        self.steps = RunSteps(Start(run, study, plan, self.cancel), self.manager, name)

    def do(self, task: Task) -> Done:
        """Do one task; errors come through."""
        if self.cancel.cancelled and task.kind != "fail":
            return Done(stopped=True)
        outcome = _DOES[task.kind](self, task)
        self.steps.save_references()
        return outcome or Done(stopped=self.cancel.cancelled)

    def _describe(self, _: Task) -> Described:
        study, manager = self.steps.study, self.manager
        manifest = self.steps.describe()
        first = first_size(study.batch_size, manager)
        # Batches that are filled shall all have the same size.
        most = first if study.fill_batches else most_size(study.batch_size, manager)
        return Described(manifest=manifest, first=first, most=most)

    def _warm(self, _: Task) -> None:
        self.manager.pipeline(None)
        self.manager.clip()

    def _find(self, _: Task) -> Found:
        return Found(work=self.steps.find_work())

    def _refer(self, _: Task) -> None:
        self.steps.refer()

    def _measure(self, task: Task) -> None:
        self.steps.measure(dict(zip(task.trials, task.cells, strict=True)))

    def _make(self, task: Task) -> Stored:
        """All trials of the task at once, or none of them after a cancel."""
        return self._stored(task, list(task.trials), task.size)

    def _make_chunk(self, task: Task) -> Stored:
        """The trials in batches of the size that this worker finds, each stored before the next.

        What is stored already, perhaps by a worker that died of this chunk, is left as it is, and
        the rest is made in batches of the first size: they may have grown too large.
        """
        run = self.steps.run
        there = {trial: run.read_record(trial) for trial in task.trials if run.has(trial)}
        done = done_records(there, self.steps.plan)
        pictures = [trial for trial, record in done.items() if not record.failed]
        left = [trial for trial in task.trials if trial not in done]
        made = self._stored(task, left, task.size if done else "auto", known=bool(pictures))
        return Stored(
            made.stopped,
            trials=(*done, *made.trials),
            picture=made.picture or (pictures[-1] if pictures else ""),
        )

    def _stored(
        self, task: Task, trials: list[str], size: BatchSize, known: bool = False
    ) -> Stored:
        stored: list[str] = []
        pictures = [""]
        wanted = [self.steps.plan.trials_by_id[trial] for trial in trials]
        # All of one kind: the scheduler decides what becomes of it where none comes out.
        sound = kinds(wanted) if known else kinds(wanted) & self.steps.sound
        failures = FailureBudget(len(wanted), sound, unlimited=task.allow_failures)
        for results in self.steps.make(wanted, size, failures=failures):
            stored += [result.trial.id for result in results]
            pictures += [result.trial.id for result in results if result.image is not None]
        return Stored(len(stored) < len(trials), trials=tuple(stored), picture=pictures[-1])

    def _fail(self, task: Task) -> Stored:
        self.steps.fail(task.trials, task.reason)
        return Stored(trials=task.trials)

    def _finish(self, _: Task) -> None:
        self.steps.records = dict(self.steps.run.scan().records)  # others have added to them
        self.steps.finish()


_DOES: dict[TaskKind, Callable[[WorkerSession, Task], Done | None]] = {
    "describe": WorkerSession._describe,
    "warm": WorkerSession._warm,
    "find": WorkerSession._find,
    "refer": WorkerSession._refer,
    "measure": WorkerSession._measure,
    "make": WorkerSession._make,
    "make-chunk": WorkerSession._make_chunk,
    "fail": WorkerSession._fail,
    "finish": WorkerSession._finish,
}


class _Here:
    """This worker process. Pipelines are not safe for threads: `lock` lets one task in at a time.

    name, device: given by `begin`; else Dask knows the name and the job the device.
    """

    lock = threading.Lock()
    name = ""
    device = ""
    session: WorkerSession | None = None


def begin(name: str, device: str) -> None:
    """First thing in a worker process of our own: who it is, and that it ends with its parent."""
    _Here.name, _Here.device = name, device
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the scheduler's to handle
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)  # a half-written file keeps its temporary name

    threading.Thread(target=follow, daemon=True).start()


def handshake(probe: Probe | None, dask_worker: Any = None) -> WorkerInfo:
    """Say who this worker is, and whether it can read and write where the run is."""
    folder = probe.problem() if probe else ""
    return WorkerInfo(_name(dask_worker), _Here.device, own_versions(), folder)


def perform(task: Task) -> Outcome:
    """Do one task of any job. Never raises: what goes wrong is in the outcome."""
    with _Here.lock:
        try:
            job = task.job
            with deterministic(job.threads, job.determinism), _network(job.offline):
                return _session(job).do(task)
        except UnfitWorkerError as error:
            worker = _dask_worker()  # its address is what the scheduler calls it
            return Failed(str(error), unfit=str(worker.address) if worker else _name())
        except Exception as error:
            if type(error).__module__.partition(".")[0] == "workbench":
                return Failed(str(error))
            if isinstance(error, OSError) and error.filename is not None:
                return Failed(f"{error.filename}: {error.strerror or error}")
            if is_full(error):
                doing = "models were loaded or pictures were read"
                return Failed(f"the worker {_name()}: {full_message(doing, error)}")
            return Failed(traceback.format_exc(), fault=True)


def _session(job: Job) -> WorkerSession:
    """The session of this job. Another job takes over the models if they are the same."""
    old = _Here.session
    if old is not None and old.job == job:
        return old
    me = handshake(job.probe)
    if problems := me.problems(job.versions):  # a worker that came after the handshake
        raise UnfitWorkerError(problems[0])
    _Here.session = None  # so that two sets of models are never held at once
    manager = old.manager if old is not None and _same_models(old.job, job) else None
    del old
    _Here.session = WorkerSession(job, me.name, manager)
    return _Here.session


def _same_models(old: Job, new: Job) -> bool:
    def models(job: Job) -> tuple[Any, ...]:
        study = json.loads(job.study)
        settings = [study[name] for name in ("dtype", "base", "runtime", "safety_checker")]
        return job.family, job.models_dir, job.device, settings

    return models(old) == models(new)


def _load_manager(job: Job, study: Study) -> ModelManager:
    device = _Here.device or job.device or own_device()
    problem = device_problem(device)
    if problem:
        raise UnfitWorkerError(f"the worker {_name()} cannot begin: {problem}")
    return load_manager(study, device, Family.model_validate_json(job.family), job.models_dir)


@contextmanager
def _network(offline: bool) -> Iterator[None]:
    """Inside, this process does not touch the network if `offline`; else its own settings hold."""
    before = os.environ.get(OFFLINE_VARIABLE)
    if offline:
        os.environ[OFFLINE_VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(OFFLINE_VARIABLE, None)
        else:
            os.environ[OFFLINE_VARIABLE] = before


def _dask_worker() -> Any:
    if not _Here.name and "distributed" in sys.modules:
        with suppress(ValueError):  # not inside a Dask worker
            return sys.modules["distributed"].get_worker()
    return None


def _name(dask_worker: Any = None) -> str:
    worker = dask_worker or _dask_worker()
    return f"dask {worker.name}" if worker else _Here.name or f"process {os.getpid()}"
