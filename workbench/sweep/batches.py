"""What is left of a plan, and one batch of it measured and stored; whoever runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from workbench.store import Record, RunFolder
from workbench.study import Cell, Plan, Trial

if TYPE_CHECKING:
    from workbench.generation import SampleResult
    from workbench.measuring import Measured, Measurer

IN_PROCESS = "in-process"
"""The worker's name where the process that was started does the work itself."""
REFERENCES = "references.json"
"""The file of chance and ceiling in a run folder."""
T = TypeVar("T")


@dataclass(frozen=True)
class Work:
    """What a run folder lacks for a plan.

    trials: without a sample, in plan order.
    unmeasured: trial id -> cells whose readings are missing although the sample is there.
    """

    trials: tuple[Trial, ...]
    unmeasured: Mapping[str, tuple[Cell, ...]]


def keep_maps(run: RunFolder, plan: Plan, measurer: Measurer) -> None:
    """Keep the control maps of the sources beside them, so that nobody has to make them again."""
    keys = dict.fromkeys(cell.map_key for cell in plan.cells)
    run.write_maps({key: measurer.source_maps[key].picture for key in keys})


def find_work(run: RunFolder, plan: Plan, measurer: Measurer) -> Work:
    """What is left to do. Failed trials are done, as they would fail again, but for errors."""
    trials: list[Trial] = []
    unmeasured: dict[str, tuple[Cell, ...]] = {}
    records = run.scan().records
    for trial in plan.trials:
        record = records.get(trial.id)
        if record is None or record.retry:
            trials.append(trial)
            continue
        cells = measurer.unmeasured(trial.id, record.rows)
        if cells:
            unmeasured[trial.id] = cells
    return Work(tuple(trials), unmeasured)


def done_record(run: RunFolder, trial: str) -> Record | None:
    """The record of a trial that need not be made: it is there whole and did not fail by an error.

    `trial` is its id.
    """
    if not run.has(trial):
        return None
    record = run.read_record(trial)
    return None if record.retry else record


def measure_stored(
    run: RunFolder, measurer: Measurer, unmeasured: Mapping[str, Sequence[Cell]]
) -> None:
    """Read what is missing off stored samples, without making them again; all at once."""
    from workbench.measuring import measure_safely

    records = {trial_id: run.read_record(trial_id) for trial_id in unmeasured}
    for trial_id, record in records.items():
        if record.failed:
            measured = measurer.failed(trial_id, record.failed)
            run.add_rows(trial_id, measured.rows, cells=measured.cells)
    alive = [trial_id for trial_id, record in records.items() if not record.failed]
    samples = [(trial_id, run.read_sample(trial_id)) for trial_id in alive]
    for measured in measure_safely(measurer, samples, unmeasured):
        run.add_rows(measured.trial_id, measured.rows, cells=measured.cells, extra=measured.extra)


def store_batch(
    run: RunFolder,
    measurer: Measurer,
    results: Sequence[SampleResult],
    worker: str = IN_PROCESS,
) -> np.ndarray | None:
    """Measure and commit one batch; returns its last good picture. `worker` goes on record."""
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
            {**result.made_by, "worker": worker},
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
    from workbench.measuring.apart import apart_reference

    embeddings = {
        trial: vector
        for trial, found in measured.items()
        if (vector := embedding_of(found.extra)) is not None
    }

    distances = StructureDistances(measurer.maps_of(images.__getitem__))
    refer = partial(apart_reference, measurer.references)
    found: dict[str, list[dict[str, Any]]] = {}
    for group in measurer.seed_groups_within(embeddings):
        for row in diversity_rows(group, embeddings, embeddings, {}, distances, refer):
            found.setdefault(row["cell"], []).append(row)
    return found


def chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
