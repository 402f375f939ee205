"""Running a study: make what is missing, measure it, store it, batch by batch."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from workbench.families import Family, FamilyError, get_family
from workbench.families.determinism import deterministic
from workbench.families.hub import Download, carry_out
from workbench.families.manager import ModelManager
from workbench.generation import CancelToken
from workbench.generation.batching import first_size
from workbench.generation.recovery import FailureBudget, Kind, memory_errors
from workbench.store import Executor, Manifest, Record, RunFolder, Scan, build_table
from workbench.study import Plan, Study, StudyError, Trial, check_syntax, plan_notes
from workbench.study.fields import MAX_BATCH
from workbench.sweep.backends import DASK, ExecutorChoice
from workbench.sweep.devices import own_device
from workbench.sweep.estimate import check_fit, require_plan
from workbench.sweep.order import coarse_first
from workbench.sweep.progress import ProgressCallback, ProgressMeter
from workbench.sweep.scheduler import scheduled
from workbench.sweep.steps import (
    IN_PROCESS,
    RunSteps,
    Start,
    Work,
    complete_scan,
    load_manager,
    planned,
    portions,
)

log = logging.getLogger(__name__)


def run_study(
    study: Study,
    folder: str | Path,
    *,
    manager: ModelManager | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    batch_size: int | None = None,
    executor: ExecutorChoice | None = None,
) -> RunFolder:
    """Run a study into a folder, or continue the run that is there.

    Samples and readings that are stored are kept: a changed study computes only its new cells, and
    readings missing for a stored sample are taken from the stored picture. Each batch is on disk
    before the next begins, so a killed run loses at most one; on a CUDA device, where a batch is
    measured while the next is drawn, at most three. What fails is a failed trial with a reason and
    hinders no other; where an error was the reason, the next start tries again.

    Without a `manager`, a run in which nothing is left to do is returned as it is: no model is
    loaded and nothing is written. Today's weights are then not compared with those that it was made
    with; `workbench verify` does that.

    Args:
        study: what to run.
        folder: the run folder, made if it does not exist.
        manager: loaded models of the study's family; None loads them.
        progress: called with a `Progress`, at most five times a second and after each batch.
        cancel: raise it from any thread to stop after the step at work; what is stored stays.
        batch_size: pictures at once, kept in the run's study; None takes the study's own.
        executor: who does the work, and on which devices; None does it in this process. Workers
            other than this process load their own models: `manager` then gives the family alone.

    Returns:
        The run folder. After a cancel its table holds what was measured so far.

    Raises:
        StoreError: the folder is no run, was made with other weights or by another version,
            another process works on it, or it cannot be written.
        StudyError: a source or name does not exist. LocateError: models are missing.
        GenerationError: there is not enough memory for the models or for one picture.
        ExecutorError: workers cannot be had, are lost, or refuse.
    """
    executor = executor or ExecutorChoice()
    executor.check()
    if batch_size is not None:  # what makes these pictures again must know it
        if not 1 <= batch_size <= MAX_BATCH:
            raise StudyError([f"batch_size: {batch_size} is not between 1 and {MAX_BATCH}"])
        study = study.model_copy(update={"batch_size": batch_size})
    job = _Job(study, RunFolder(folder), cancel or CancelToken(), executor)
    return _carry_out(job, manager, progress)


def run_trials(
    study: Study,
    folder: str | Path,
    trials: Collection[str],
    *,
    manager: ModelManager,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> RunFolder:
    """Make some of a study's pictures, and leave the others for later.

    As `run_study`, in this process, but of the trials that the run folder lacks only those named
    are made; what is read across pictures follows when the last one is there. `progress` counts
    the trials that are named.

    Args:
        trials: their ids; StudyError if the study has no such trial.
        manager: loaded models of the study's family.
    """
    job = _Job(study, RunFolder(folder), cancel or CancelToken(), only=frozenset(trials))
    return _carry_out(job, manager, progress)


@dataclass(frozen=True)
class _Job:
    """What is to be run, and where. only: ids of the trials that are made; None makes all."""

    study: Study
    run: RunFolder
    cancel: CancelToken
    executor: ExecutorChoice = field(default_factory=ExecutorChoice)
    only: frozenset[str] | None = None

    def asked(self, plan: Plan) -> list[Trial]:
        """The trials of the plan that this start is about, in the order in which they are made.

        StudyError for one that is not there.
        """
        if self.only is None:
            return coarse_first(plan.trials)
        if foreign := sorted(self.only - plan.trials_by_id.keys()):
            raise StudyError([f"the study has no trial {foreign[0]}"])
        return coarse_first(trial for trial in plan.trials if trial.id in self.only)


def _carry_out(
    job: _Job, manager: ModelManager | None, progress: ProgressCallback | None
) -> RunFolder:
    study, cancel, executor = job.study, job.cancel, job.executor
    check_syntax(study)
    chosen = study.judges
    family = get_family(study.family).with_judges(chosen) if manager is None else manager.family
    if family.with_judges(chosen) != family:
        raise FamilyError("the models that are loaded are not the judges that the study chooses")
    plan = planned(study, family, manager)
    _tell(plan_notes(study, plan))
    asked = job.asked(plan)
    meter = ProgressMeter(len(asked), progress)
    if manager is None:
        run = job.run
        run.final_scan = complete_scan(run, study, plan, family)
        if run.final_scan is not None:
            meter.count_done(len(asked))
            meter.phase("done")
            return run
    downloads = _downloads(study, plan, family, manager)
    run = RunFolder.prepare(job.run.path)
    # Workers of Dask may be anywhere, and fetch for themselves.
    if executor.kind != DASK and not download(downloads, manager, meter, cancel):
        return run
    if downloads and not plan.knows_reading:  # now that tokenizers are there
        plan = planned(study, family, manager)
        asked = job.asked(plan)
        meter = ProgressMeter(len(asked), progress)
    if study.unit == "tokens" and not plan.reads:
        raise StudyError([f"unit: there is no tokenizer of {study.family} here to count tokens"])
    start = Start(run, study, plan, cancel)
    with run.claim():
        meter.phase("loading")
        ready: AbstractContextManager[Backend]
        if executor.kind == IN_PROCESS:
            ready = _in_process(start, family, manager, executor.device, meter)
        else:
            ready = scheduled(start, family, executor, meter)
        with ready as backend:
            begun = _run(start, backend, asked, meter)
        if not begun:  # the run is as it was
            return run
        records = sorted(backend.records(), key=lambda record: record.trial.id)
        run.write_table(build_table(records, frozenset(cell.id for cell in plan.cells)))
        if cancel.cancelled or plan.trials_by_id.keys() - {record.trial.id for record in records}:
            run.write_study(study)  # only the table of a complete run is newer than its study
            return run
        run.final_scan = Scan({record.trial.id: record for record in records}, {})
        meter.phase("done")
    return run


def _tell(notes: Iterable[str]) -> None:
    for note in notes:
        log.warning("%s", note)


class _Cancelled(Exception):
    """Ends a download."""


def _downloads(
    study: Study, plan: Plan, family: Family, manager: ModelManager | None
) -> tuple[Download, ...]:
    """What is to be fetched first; see `require_plan`."""
    if manager is None:
        return require_plan(study, plan, family)
    # A manager may hold models that are nowhere else.
    return require_plan(study, plan, family, manager.models_dir) if family.from_hub else ()


def download(
    downloads: Sequence[Download],
    manager: ModelManager | None,
    meter: ProgressMeter,
    cancel: CancelToken,
) -> bool:
    """Fetch models, one file after the other, with progress; whether no cancel ended it.

    What has arrived whole is kept. Raises LocateError with the way out.
    """
    report = meter.download(sum(one.bytes for one in downloads))

    def watch(name: str, arrived: int) -> None:
        if cancel.cancelled:
            raise _Cancelled
        report(name, arrived)

    try:
        for one in downloads:
            carry_out(one, None if manager is None else manager.models_dir, watch)
    except _Cancelled:
        return False
    return True


class Backend(Protocol):
    """Does the steps of a run, see `RunSteps`: in this process, or by workers.

    After a cancel every method returns soon; what it returns may then be None.
    """

    def describe(self) -> Manifest | None: ...
    def find_work(self) -> Work | None: ...
    def measure(self, unmeasured: Mapping[str, tuple[str, ...]]) -> None: ...
    def make(self, trials: Sequence[Trial], sound: Collection[Kind]) -> None:
        """Make samples; `sound` are the kinds of which pictures came out before."""
        ...

    def finish(self) -> None: ...
    def records(self) -> Iterable[Record]:
        """All records of the run, of which its table is built."""
        ...


def _run(start: Start, backend: Backend, asked: Sequence[Trial], meter: ProgressMeter) -> bool:
    """Everything between the plan and the table; False if it was cancelled before it began.

    `asked` are the trials that are made where they are missing.
    Nothing of the run is replaced before the models are loaded and found to be those of the run.
    """
    run, plan, cancel = start.run, start.plan, start.cancel
    manifest = backend.describe()
    if manifest is None or cancel.cancelled:
        return False
    run.begin(start.study, plan.sources, manifest, plan.cells)
    meter.phase("preparing")
    work = backend.find_work()
    if work is None:
        return True
    lacking = set(work.trials)
    missing = [trial for trial in asked if trial.id in lacking]
    meter.count_done(len(asked) - len(missing))
    if missing or work.unmeasured:
        run.remove_table()  # a report on a killed run must not show the table of the last start
    meter.phase("measuring")
    backend.measure(work.unmeasured)
    meter.phase("generating")
    meter.begin(missing)
    backend.make(missing, work.sound)
    if not cancel.cancelled and len(missing) == len(lacking):
        meter.phase("finishing")
        backend.finish()
    return True


@contextmanager
def _in_process(
    start: Start,
    family: Family,
    manager: ModelManager | None,
    device: str | None,
    meter: ProgressMeter,
) -> Iterator[InProcess]:
    """The models in this process; None loads them."""
    choice = start.study.runtime.determinism
    with (
        deterministic(choice=choice),
        memory_errors("models were loaded or pictures were read"),
    ):
        if manager is None:
            manager = load_manager(start.study, device or own_device(), family)
            check_fit(start.study, start.plan, manager)
        yield InProcess(RunSteps(start, manager), meter)


class InProcess:
    """The steps of a run, called one after the other in this process."""

    def __init__(self, steps: RunSteps, meter: ProgressMeter) -> None:
        self._steps, self._meter = steps, meter

    def describe(self) -> Manifest:
        workers = [{"name": IN_PROCESS, "device": self._steps.manager.device}]
        who = Executor(kind=IN_PROCESS, workers=workers)
        return self._steps.describe().model_copy(update={"executor": who})

    def find_work(self) -> Work:
        return self._steps.find_work()

    def measure(self, unmeasured: Mapping[str, tuple[str, ...]]) -> None:
        steps = self._steps
        for part in portions(unmeasured, first_size(steps.study.batch_size, steps.manager)):
            if not steps.cancel.cancelled:
                steps.measure(part)

    def make(self, trials: Sequence[Trial], sound: Collection[Kind]) -> None:
        for results in self._steps.make(
            trials,
            self._steps.study.batch_size,
            on_step=self._meter.step,
            failures=FailureBudget(len(trials), set(sound)),
        ):
            pictures = [result.image for result in results if result.image is not None]
            newest = pictures[-1] if pictures else None
            self._meter.finished([result.trial for result in results], newest)
        self._steps.save_references()

    def finish(self) -> None:
        self._steps.finish()

    def records(self) -> Iterable[Record]:
        return self._steps.records.values()
