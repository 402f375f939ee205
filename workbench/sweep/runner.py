"""Running a study: make what is missing, measure it, store it, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workbench.families import Family, FamilyError, get_family
from workbench.families.determinism import deterministic
from workbench.generation.cancel import CancelToken
from workbench.store import Executor, RunFolder, disk_errors
from workbench.study import Plan, Study, StudyError, Trial, make_plan
from workbench.study.fields import MAX_BATCH
from workbench.sweep.batches import (
    IN_PROCESS,
    REFERENCES,
    chunks,
    find_work,
    keep_maps,
    measure_stored,
    store_batch,
)
from workbench.sweep.devices import own_device
from workbench.sweep.executors import ExecutorChoice
from workbench.sweep.fitting import check_fit
from workbench.sweep.progress import ProgressCallback, ProgressMeter
from workbench.sweep.require import require_plan

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager
    from workbench.generation import Step
    from workbench.measuring import Measurer


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
    before the next begins, so a killed run loses at most one. What fails is a failed trial with a
    reason and hinders no other; where an error was the reason, the next start tries again.

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
    cancel = cancel or CancelToken()
    executor = executor or ExecutorChoice()
    executor.check()
    if batch_size is not None:  # what makes these pictures again must know it
        if not 1 <= batch_size <= MAX_BATCH:
            raise StudyError([f"batch_size: {batch_size} is not between 1 and {MAX_BATCH}"])
        study = study.model_copy(update={"batch_size": batch_size})
    chosen = study.judges
    family = get_family(study.family).with_judges(chosen) if manager is None else manager.family
    if family.with_judges(chosen) != family:
        raise FamilyError("the models that are loaded are not the judges that the study chooses")
    plan = make_plan(study, resolution=family.resolution)
    if manager is None:
        require_plan(study, plan, family)
    run = RunFolder.prepare(folder)
    meter = ProgressMeter(len(plan.trials), progress)
    with run.claim():
        run.write_study(study)
        run.write_sources(plan.sources)
        meter.phase("loading")
        if executor.kind == "in-process":
            _run_here(run, study, plan, family, manager, executor.device, meter, cancel)
        else:
            from workbench.sweep.coordinator import run_with_workers

            run_with_workers(run, study, plan, family, executor, study.batch_size, meter, cancel)
        run.write_table(run.build_table())
        if not cancel.cancelled:
            meter.phase("done")
    return run


def _run_here(
    run: RunFolder,
    study: Study,
    plan: Plan,
    family: Family,
    manager: ModelManager | None,
    device: str | None,
    meter: ProgressMeter,
    cancel: CancelToken,
) -> None:
    """Everything between the plan and the table, in this process."""
    from workbench.generation.recovery import memory_errors

    with deterministic(), memory_errors("models were loaded or pictures were read"):
        if manager is None:
            manager = load_manager(study, device or own_device())
            check_fit(study, plan, manager)
        from workbench.generation.batching import first_size
        from workbench.measuring import Measurer
        from workbench.sweep.finishing import finish
        from workbench.sweep.manifesting import manifest_of

        workers = [{"name": IN_PROCESS, "device": manager.device}]
        who = Executor(kind=IN_PROCESS, workers=workers)
        manifest = manifest_of(study, plan, manager)
        run.write_manifest(manifest.model_copy(update={"executor": who}))
        run.write_cells(plan.cells)
        measurer = Measurer(plan, manager, run.path / REFERENCES)
        keep_maps(run, plan, measurer)
        meter.phase("preparing")
        work = find_work(run, plan, measurer)
        meter.count_done(len(plan.trials) - len(work.trials))
        if work.trials or work.unmeasured:
            run.remove_table()  # a report on a killed run must not show the table of the last start
        meter.phase("measuring")
        for trials in chunks(list(work.unmeasured), first_size(study.batch_size, manager)):
            if not cancel.cancelled:
                measure_stored(run, measurer, {trial: work.unmeasured[trial] for trial in trials})
        meter.phase("generating")
        _generate(
            run, measurer, work.trials, manager, study.batch_size, study.fill_batches, meter, cancel
        )
        with disk_errors(run.path / REFERENCES):
            measurer.references.cache.save()
        if not cancel.cancelled:
            meter.phase("finishing")
            finish(run, measurer, cancel)


def load_manager(study: Study, device: str = "cpu") -> ModelManager:
    """The models of a study, on a device of this process."""
    from workbench.families.manager import ModelManager

    return ModelManager(
        get_family(study.family).with_judges(study.judges),
        study.base[0],
        device=device,
        dtype=study.dtype,
        runtime=study.runtime,
        checks_safety=study.safety_checker,
    )


def _generate(
    run: RunFolder,
    measurer: Measurer,
    trials: Sequence[Trial],
    manager: ModelManager,
    batch_size: int | Literal["auto"],
    fill: bool,
    meter: ProgressMeter,
    cancel: CancelToken,
) -> None:
    """Make samples and store each batch with its readings before the next one is begun."""
    from workbench.generation import BatchSizer, generate

    def on_step(event: Step) -> None:
        meter.step(event.trials, event.done / event.total)

    meter.begin(trials)
    for results in generate(
        trials,
        measurer.source_maps,
        manager,
        batch_size=BatchSizer(batch_size, manager, fill=fill),
        on_step=on_step,
        cancel=cancel,
        allow_failures=len(trials) < len(measurer.plan.trials),
    ):
        meter.finished([made.trial for made in results], store_batch(run, measurer, results))
