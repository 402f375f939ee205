"""Running a study: make what is missing, measure it, store it, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from workbench.families import get_family
from workbench.families.determinism import steady
from workbench.generation.cancel import CancelToken
from workbench.store import RunFolder, build_manifest, disk_errors
from workbench.study import Cell, Plan, Study, Trial, make_plan
from workbench.sweep.progress import ProgressCallback, ProgressMeter

if TYPE_CHECKING:
    from workbench.families.loading import ModelShelf
    from workbench.generation import BatchDone, SampleResult, Step
    from workbench.measuring import Measured, Measurer

REFERENCES = "references.json"
T = TypeVar("T")


@dataclass(frozen=True)
class Work:
    """What a run folder lacks for a plan.

    trials: without a sample, in plan order.
    unmeasured: trial id -> cells whose readings are missing although the sample is there.
    """

    trials: tuple[Trial, ...]
    unmeasured: Mapping[str, tuple[Cell, ...]]


def run_study(
    study: Study,
    folder: str | Path,
    *,
    shelf: ModelShelf | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    batch_size: int | None = None,
) -> RunFolder:
    """Run a study into a folder, or continue the run that is there.

    Samples and readings that are stored are kept: a changed study computes only its new cells, and
    readings missing for a stored sample are taken from the stored picture. Each batch is on disk
    before the next begins, so a killed run loses at most one. What fails is a failed trial with a
    reason and hinders no other; where an error was the reason, the next start tries again.

    Args:
        study: what to run.
        folder: the run folder, made if it does not exist.
        shelf: loaded models of the study's family; None loads them.
        progress: called with a `Progress`, at most five times a second and after each batch.
        cancel: raise it from any thread to stop after the step at work; what is stored stays.
        batch_size: pictures at once; None takes the study's own.

    Returns:
        The run folder. After a cancel its table holds what was measured so far.

    Raises:
        StoreError: the folder is no run, was made with other weights or by another version,
            another process works on it, or it cannot be written.
        StudyError: a source or name does not exist. LocateError: models are missing.
        GenerationError: there is not enough memory for one picture.
    """
    cancel = cancel or CancelToken()
    family = get_family(study.family) if shelf is None else shelf.family
    plan = make_plan(study, resolution=family.resolution)
    run = RunFolder.prepare(folder)
    meter = ProgressMeter(len(plan.trials), progress)
    with run.claim(), steady():
        run.write_study(study)
        run.write_sources(plan.sources)
        meter.phase("loading")
        shelf = shelf or load_shelf(study)
        from workbench.measuring import Measurer
        from workbench.sweep.finishing import finish

        run.write_manifest(_manifest(study, plan, shelf))
        measurer = Measurer(plan, shelf, run.path / REFERENCES)
        meter.phase("preparing")
        work = find_work(run, plan, measurer)
        meter.count_done(len(plan.trials) - len(work.trials))
        if work.trials or work.unmeasured:
            run.drop_index()  # a report on a killed run must not show the table of the last start
        size = batch_size or study.batch_size
        meter.phase("measuring")
        _measure_stored(run, measurer, work.unmeasured, size, cancel)
        meter.phase("generating")
        fill = study.fill_batches
        _generate(run, measurer, work.trials, shelf, size, fill, meter, cancel)
        with disk_errors(run.path / REFERENCES):
            measurer.references.cache.save()
        if not cancel.cancelled:
            meter.phase("finishing")
            finish(run, measurer, cancel)
        run.rebuild_index([cell.id for cell in plan.cells])
        if not cancel.cancelled:
            meter.phase("done")
    return run


def find_work(run: RunFolder, plan: Plan, measurer: Measurer) -> Work:
    """What is left to do. Failed trials are done, as they would fail again, but for errors."""
    trials: list[Trial] = []
    unmeasured: dict[str, tuple[Cell, ...]] = {}
    for trial in plan.trials:
        if not run.has(trial.id):
            trials.append(trial)
            continue
        record = run.read_record(trial.id)
        if record.retry:
            trials.append(trial)
            continue
        cells = measurer.unmeasured(trial.id, record.rows)
        if cells:
            unmeasured[trial.id] = cells
    return Work(tuple(trials), unmeasured)


def load_shelf(study: Study) -> ModelShelf:
    from workbench.families.loading import ModelShelf

    return ModelShelf(get_family(study.family), study.base[0], dtype=study.dtype)


def _manifest(study: Study, plan: Plan, shelf: ModelShelf) -> dict[str, Any]:
    """Load what the plan needs and write down what it is."""
    from workbench.controls import network_needs
    from workbench.generation.schedulers import make_scheduler
    from workbench.measuring.judges import judge_hashes

    controls = sorted({use.control for trial in plan.trials for use in trial.controls})
    needs = network_needs((cell.control, cell.control_settings) for cell in plan.cells)
    family = shelf.family
    hashes: dict[str, str] = {}
    models = {f"base/{name}": family.base_ref(name).title for name in study.base}
    models |= {f"controlnet/{name}": family.controlnet_ref(name).title for name in controls}
    models |= {"clip": family.clip.title}
    models |= {
        f"network/{name}": family.networks[name].title for name in needs if name in family.networks
    }
    judge_hashes(shelf, needs)
    for name in study.base:
        base = shelf.for_base(name)
        for control in (None, *controls):
            base.pipeline(control)
        hashes |= base.weight_hashes()
    scheduler = make_scheduler(study.scheduler, shelf.pipeline(None).scheduler.config)
    return build_manifest(
        study,
        plan.sources,
        device=shelf.device,
        dtype=shelf.dtype,
        models=models,
        weight_hashes=hashes,
        scheduler_config=dict(scheduler.config),
    )


def _measure_stored(
    run: RunFolder,
    measurer: Measurer,
    unmeasured: Mapping[str, tuple[Cell, ...]],
    batch_size: int,
    cancel: CancelToken,
) -> None:
    """Read what is missing off stored samples, without making them again."""
    from workbench.measuring import measure_safely

    for trial_ids in _chunks(list(unmeasured), batch_size):
        if cancel.cancelled:
            return
        records = {trial_id: run.read_record(trial_id) for trial_id in trial_ids}
        for trial_id, record in records.items():
            if record.failed:
                measured = measurer.failed(trial_id, record.failed)
                run.add_rows(trial_id, measured.rows, cells=measured.cells)
        alive = [trial_id for trial_id, record in records.items() if not record.failed]
        samples = [(trial_id, run.read_sample(trial_id)) for trial_id in alive]
        for measured in measure_safely(measurer, samples, unmeasured):
            run.add_rows(
                measured.trial_id, measured.rows, cells=measured.cells, extra=measured.extra
            )


def _generate(
    run: RunFolder,
    measurer: Measurer,
    trials: Sequence[Trial],
    shelf: ModelShelf,
    batch_size: int,
    fill: bool,
    meter: ProgressMeter,
    cancel: CancelToken,
) -> None:
    """Make samples and store each batch with its readings before the next one is begun."""
    from workbench.generation import generate

    expected = 0

    def on_batch(event: BatchDone) -> None:
        nonlocal expected
        expected = len(event.trials)

    def on_step(event: Step) -> None:
        meter.step(event.trials, event.done / event.total)

    meter.begin(trials)
    buffer: list[SampleResult] = []
    results = generate(
        trials,
        measurer.source_maps,
        shelf,
        batch_size=batch_size,
        fill=fill,
        on_step=on_step,
        on_batch=on_batch,
        cancel=cancel,
    )
    for result in results:
        buffer.append(result)
        if len(buffer) == expected:
            meter.finished([made.trial for made in buffer], _store(run, measurer, buffer))
            buffer = []


def _store(
    run: RunFolder, measurer: Measurer, results: Sequence[SampleResult]
) -> np.ndarray | None:
    """Measure and commit one batch; returns its last good picture."""
    from workbench.measuring import measure_safely

    samples = [(r.trial.id, r.image) for r in results if r.image is not None]
    measured = {found.trial_id: found for found in measure_safely(measurer, samples)}
    across = _batch_diversity(measurer, measured, dict(samples))
    for result in results:
        trial = result.trial
        found = measured.get(trial.id) or measurer.failed(trial.id, result.failed_reason)
        run.write_trial(
            trial,
            result.image,
            result.made_by,
            found.rows + [row for cell in found.cells for row in across.get(cell.id, [])],
            cells=found.cells,
            failed=result.failed_reason,
            extra=found.extra,
        )
    return samples[-1][1] if samples else None


def _batch_diversity(
    measurer: Measurer, measured: Mapping[str, Measured], images: Mapping[str, np.ndarray]
) -> dict[str, list[dict[str, Any]]]:
    """Cell id -> diversity rows, for the cells whose seeds are all in this batch.

    Usually these are all: it spares `finish` from writing every record a second time.
    """
    from workbench.measuring import embedding_of
    from workbench.measuring.across import StructureDistances, diversity_rows

    embeddings = {
        trial: vector
        for trial, found in measured.items()
        if (vector := embedding_of(found.extra)) is not None
    }

    distances = StructureDistances(measurer.maps_of(images.__getitem__))
    found: dict[str, list[dict[str, Any]]] = {}
    for group in measurer.seed_groups_within(embeddings):
        for row in diversity_rows(group, embeddings, embeddings, {}, distances):
            found.setdefault(row["cell"], []).append(row)
    return found


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
