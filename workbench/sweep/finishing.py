"""What can only be said once all samples of a plan are there: diversity, and late references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.controls import ControlMap
from workbench.generation import CancelToken
from workbench.measuring import Measurer, embedding_of
from workbench.measuring.across import (
    LOOKS,
    STRUCTURE,
    StructureDistances,
    diversity_row,
    is_current,
    looks,
    peers,
    seed_groups,
)
from workbench.metrics.spec import Reading
from workbench.store import Record, RunFolder
from workbench.store.records import plain
from workbench.study import Cell

Row = dict[str, Any]
FAILED = "the sample failed"


def finish(run: RunFolder, measurer: Measurer, cancel: CancelToken | None = None) -> int:
    """Bring every stored row of the plan up to date and add the diversity across seeds.

    Values that were read off the same pictures before are kept; chance, ceiling and adherence are
    looked up anew. Only records in which something changed are written.

    Returns:
        How many records were written. After a cancel the rest is left for the next start.
    """
    plan = measurer.plan
    embeddings: dict[str, np.ndarray] = {}
    stored: dict[tuple[str, str], Mapping[str, Any]] = {}
    made: set[str] = set()
    for trial in plan.trials:
        record = run.read_record(trial.id)
        if not record.failed:
            made.add(trial.id)
        embedding = embedding_of(record.extra)
        if embedding is not None:
            embeddings[trial.id] = embedding
        for row in record.rows:
            if row["metric"] in (LOOKS, STRUCTURE):
                stored[row["cell"], row["metric"]] = row
    learn_text_only(measurer, embeddings)
    distances = StructureDistances(_map_source(run, measurer))
    across: dict[str, list[Row]] = {}
    for group in seed_groups(plan):
        for row in _diversity(group, embeddings, made, stored, distances):
            across.setdefault(row["cell"], []).append(row)
    written = 0
    for trial in plan.trials:
        if cancel is not None and cancel.cancelled:
            break
        cells = plan.cells_by_trial[trial.id]
        written += _update(run, measurer, run.read_record(trial.id), cells, across)
    measurer.references.cache.save()
    return written


def learn_text_only(measurer: Measurer, embeddings: Mapping[str, np.ndarray]) -> None:
    """Give the measurer the text-only pictures, where ceilings are taken from them."""
    if not measurer.references.needs_text_only:
        return
    groups: dict[str, list[np.ndarray]] = {}
    for trial in measurer.plan.trials:
        if trial.control is None and trial.id in embeddings:
            groups.setdefault(trial.prompt, []).append(embeddings[trial.id])
    found = {prompt: np.stack(vectors) for prompt, vectors in groups.items()}
    measurer.references.learn_text_only(found)


def _diversity(
    group: tuple[Cell, ...],
    embeddings: Mapping[str, np.ndarray],
    made: set[str],
    stored: Mapping[tuple[str, str], Mapping[str, Any]],
    distances: StructureDistances,
) -> list[Row]:
    """Both diversity rows of every cell of a group."""
    name = peers(group, made.__contains__)
    alive = [cell for cell in group if cell.trial_id in made]
    rows = [
        diversity_row(cell, metric, Reading.nothing(FAILED), name)
        for cell in group
        if cell.trial_id not in made
        for metric in (LOOKS, STRUCTURE)
    ]
    for metric in (LOOKS, STRUCTURE):
        old = [stored.get((cell.id, metric)) for cell in alive]
        if all(is_current(row, name) for row in old):
            rows += [dict(row) for row in old if row is not None]
            continue
        if metric == LOOKS:
            readings = looks([embeddings[cell.trial_id] for cell in alive])
        else:
            readings = distances.readings(alive)
        pairs = zip(alive, readings, strict=True)
        rows += [diversity_row(cell, metric, reading, name) for cell, reading in pairs]
    return rows


def _map_source(run: RunFolder, measurer: Measurer) -> Any:
    """Maps of samples: those of this session from memory, others extracted from the picture."""

    def map_of(trial_id: str, control: str, settings: str) -> ControlMap:
        key = (trial_id, control, settings)
        known = measurer.memory.get(key)
        if known is None:
            known = measurer.extract(control, settings, [run.read_sample(trial_id)])[0]
            measurer.memory.put(key, known)
        return known

    return map_of


def _update(
    run: RunFolder,
    measurer: Measurer,
    record: Record,
    cells: tuple[Cell, ...],
    across: Mapping[str, list[Row]],
) -> bool:
    """Write one record's rows anew if they changed."""
    mine = {cell.id: cell for cell in cells}
    old = [dict(row) for row in record.rows if row["cell"] in mine]
    new: list[Row] = []
    for cell in cells:
        wanted = set(measurer.expected(cell))
        own = [row for row in old if row["cell"] == cell.id and row["metric"] in wanted]
        new += [row if record.failed else measurer.refreshed(cell, row) for row in own]
        new += across.get(cell.id, [])
    if _same(old, new):
        return False
    run.add_rows(record.trial.id, new, cells=cells)
    return True


def _same(old: list[Row], new: list[Row]) -> bool:
    def key(rows: list[Row]) -> dict[tuple[str, str], Any]:
        return {
            (row["cell"], row["metric"]): {k: v for k, v in plain(row).items() if k != "trial"}
            for row in rows
        }

    return key(old) == key(new)
