"""What a worker does. It keeps the models of one run warm and works on one task at a time."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench.store import RunFolder
from workbench.store.errors import disk_errors
from workbench.sweep.batches import (
    REFERENCES,
    find_work,
    keep_maps,
    measure_stored,
    store_batch,
)
from workbench.sweep.devices import device_problem, own_device
from workbench.sweep.errors import UnfitWorkerError
from workbench.sweep.fitting import check_fit
from workbench.sweep.greeting import StopFile, folder_trouble
from workbench.sweep.offline import network
from workbench.sweep.tasks import (
    Facts,
    Job,
    Outcome,
    Probe,
    Task,
    folder_problem,
    own_versions,
    version_problem,
)

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager
    from workbench.measuring import Measurer
    from workbench.study import Plan, Study
    from workbench.sweep.making import Maker


class Workshop:
    """Plan, models and measurer of one job, made when first needed and then kept."""

    def __init__(self, job: Job, name: str, manager: ModelManager | None = None) -> None:
        from workbench.families import Family
        from workbench.study import Study, choices_among, make_plan

        self.job = job
        self.name = name
        self.cancel = StopFile(job.stop_file)
        self.run = RunFolder.open(job.folder)
        self.study = Study.model_validate_json(job.study)
        self.manager = _manager(job, self.study) if manager is None else manager
        kept = self.run.read_sources()
        sources = {label: kept[label] for label in self.study.sources}
        self.plan: Plan = make_plan(
            self.study,
            resolution=self.manager.family.resolution,
            choices=choices_among([Family.model_validate_json(job.family)]),
            sources=sources,
        )
        if manager is None:
            check_fit(self.study, self.plan, self.manager)

    @cached_property
    def measurer(self) -> Measurer:
        from workbench.measuring import Measurer

        return Measurer(self.plan, self.manager, self.run.path / REFERENCES)

    @cached_property
    def maker(self) -> Maker:
        from workbench.sweep.making import Maker

        return Maker(self.run, self.study, self.manager, self.measurer, self.cancel, self.name)

    def do(self, task: Task) -> Outcome:
        """Do one task; errors come through."""
        if self.cancel.cancelled and task.kind != "fail":
            return Outcome(stopped=True)
        outcome: Outcome = getattr(self, f"_{task.kind}")(task)
        if "measurer" in self.__dict__:  # it was needed
            with disk_errors(self.run.path / REFERENCES):
                self.measurer.references.cache.save()
        return outcome

    def _prepare(self, _: Task) -> Outcome:
        from workbench.generation.batching import first_size, most_size
        from workbench.sweep.manifesting import manifest_of

        manifest = manifest_of(self.study, self.plan, self.manager).as_json()
        keep_maps(self.run, self.plan, self.measurer)
        work = find_work(self.run, self.plan, self.measurer)
        unmeasured = {trial: [c.id for c in cells] for trial, cells in work.unmeasured.items()}
        # Batches that are filled shall all have the same size.
        most = first_size if self.study.fill_batches else most_size
        return Outcome(
            prepared={
                "manifest": manifest,
                "batch_size": first_size(self.job.batch_size, self.manager),
                "most": most(self.job.batch_size, self.manager),
                "missing": [trial.id for trial in work.trials],
                "unmeasured": unmeasured,
            }
        )

    def _warm(self, _: Task) -> Outcome:
        self.manager.pipeline(None)
        self.manager.clip()
        return Outcome()

    def _refer(self, _: Task) -> Outcome:
        """In the order of the plan, as when one process does everything."""
        from workbench.measuring.across import LOOKS, STRUCTURE
        from workbench.measuring.apart import apart_reference

        cells = {(c.map_key, c.variant, c.full_prompt): c for c in reversed(self.plan.cells)}
        for cell in reversed(cells.values()):
            if self.cancel.cancelled:
                return Outcome(stopped=True)
            self.measurer.nothing(cell.trial_id, [cell], "only chance and ceiling are wanted")
            for metric in (LOOKS, STRUCTURE):
                apart_reference(self.measurer.references, cell, metric)
        return Outcome()

    def _measure(self, task: Task) -> Outcome:
        wanted = {
            trial: [c for c in self.plan.cells_by_trial[trial] if c.id in cells]
            for trial, cells in zip(task.trials, task.cells, strict=True)
        }
        measure_stored(self.run, self.measurer, wanted)
        return Outcome(stored=task.trials)

    def _make(self, task: Task) -> Outcome:
        return self.maker.batch(task)

    def _lot(self, task: Task) -> Outcome:
        return self.maker.lot(task)

    def _fail(self, task: Task) -> Outcome:
        from workbench.generation import SampleResult

        made_by = {"retry": True, "device": self.manager.device, "dtype": self.manager.dtype}
        trials = [self.plan.trials_by_id[trial] for trial in task.trials]
        missing = [trial for trial in trials if not self.run.has(trial.id)]
        results = [SampleResult(trial, None, task.reason, made_by) for trial in missing]
        store_batch(self.run, self.measurer, results, self.name)
        return Outcome(stored=task.trials)

    def _finish(self, _: Task) -> Outcome:
        from workbench.sweep.finishing import finish

        finish(self.run, self.measurer, self.cancel)
        return Outcome(stopped=self.cancel.cancelled)


class _Here:
    """This worker process. Pipelines are not safe for threads: `lock` lets one task in at a time.

    name, device: given by `begin`; else Dask knows the name and the job the device.
    """

    lock = threading.Lock()
    name = ""
    device = ""
    shop: Workshop | None = None


def begin(name: str, device: str) -> None:
    """First thing in a worker process of our own: who it is, and that it ends with its parent."""
    import multiprocessing

    _Here.name, _Here.device = name, device
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)  # a half-written file keeps its temporary name

    threading.Thread(target=follow, daemon=True).start()


def greet(probe: Probe, dask_worker: Any = None) -> Facts:
    """Say who this worker is, and whether it can read and write where the run is."""
    name = _dask_name(dask_worker) if dask_worker is not None else _Here.name
    return Facts(name, os.getpid(), _Here.device, own_versions(), folder_trouble(probe))


def perform(task: Task) -> Outcome:
    """Do one task of any job. Never raises: what goes wrong is in the outcome."""
    from workbench.families.determinism import deterministic
    from workbench.generation.recovery import full_message, is_full

    with _Here.lock:
        try:
            with deterministic(task.job.threads), network(task.job.offline):
                return _workshop(task.job).do(task)
        except UnfitWorkerError as error:
            return Outcome(error=str(error), unfit=_address())
        except Exception as error:
            if type(error).__module__.partition(".")[0] == "workbench":
                return Outcome(error=str(error))
            if isinstance(error, OSError) and error.filename is not None:
                return Outcome(error=f"{error.filename}: {error.strerror or error}")
            if is_full(error):
                doing = "models were loaded or pictures were read"
                return Outcome(error=f"the worker {_name()}: {full_message(doing, error)}")
            return Outcome(error=traceback.format_exc(), fault=True)


def _workshop(job: Job) -> Workshop:
    """The workshop of this job. Another job takes over the models if they are the same."""
    old = _Here.shop
    if old is not None and old.job == job:
        return old
    problem = version_problem(_name(), own_versions(), job.versions)
    if not problem and job.probe is not None:
        problem = folder_problem(_name(), folder_trouble(job.probe))
    if problem:  # a worker that came after the greeting
        raise UnfitWorkerError(problem)
    _Here.shop = None  # so that two sets of models are never held at once
    manager = old.manager if old is not None and _same_models(old.job, job) else None
    del old
    _Here.shop = Workshop(job, _name(), manager)
    return _Here.shop


def _same_models(old: Job, new: Job) -> bool:
    def models(job: Job) -> tuple[Any, ...]:
        study = json.loads(job.study)
        settings = [study[name] for name in ("dtype", "base", "runtime", "safety_checker")]
        return job.family, job.models_dir, job.device, settings

    return models(old) == models(new)


def _manager(job: Job, study: Study) -> ModelManager:
    from workbench.families import Family
    from workbench.families.manager import ModelManager

    device = _Here.device or job.device or own_device()
    problem = device_problem(device)
    if problem:
        raise UnfitWorkerError(f"the worker {_name()} cannot begin: {problem}")
    family = Family.model_validate_json(job.family)
    return ModelManager(
        family,
        study.base[0],
        device=device,
        dtype=study.dtype,
        runtime=study.runtime,
        checks_safety=study.safety_checker,
        models_dir=job.models_dir,
    )


def _name() -> str:
    worker = _dask_worker()
    return _dask_name(worker) if worker else _Here.name or f"process {os.getpid()}"


def _address() -> str:
    """What the scheduler calls this worker; without one its name."""
    worker = _dask_worker()
    return str(worker.address) if worker else _name()


def _dask_worker() -> Any:
    if not _Here.name and "distributed" in sys.modules:
        with suppress(ValueError):  # not inside a Dask worker
            return sys.modules["distributed"].get_worker()
    return None


def _dask_name(worker: Any) -> str:
    return f"dask {worker.name}"
