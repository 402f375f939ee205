"""What can only be said once all samples of a plan are there.

Diversity across seeds, differences between base models, and late references.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from workbench.generation import CancelToken
from workbench.measuring import Measurer, embedding_of
from workbench.measuring.across import (
    LOOKS,
    STRUCTURE,
    StructureDistances,
    diversity_rows,
    seed_groups,
)
from workbench.measuring.apart import apart_reference
from workbench.measuring.bases import (
    BASES_POSE,
    BASES_STRUCTURE,
    base_groups,
    base_rows,
    pose_needs,
)
from workbench.store import Record, RunFolder, cell_facts, disk_errors, plain
from workbench.study import Cell

Row = dict[str, Any]
ACROSS = (LOOKS, STRUCTURE, BASES_STRUCTURE, BASES_POSE)
"""Metrics that are read off several pictures at once."""


def finish(run: RunFolder, measurer: Measurer, cancel: CancelToken | None = None) -> int:
    """Bring every stored row of the plan up to date and add what is read across pictures.

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
        embedding = embedding_of(record.extra)
        if embedding is not None:  # else it failed, or could not be measured
            made.add(trial.id)
            embeddings[trial.id] = embedding
        for row in record.rows:
            if row["metric"] in ACROSS:
                stored[row["cell"], row["metric"]] = row
    learn_text_only(measurer, embeddings)
    distances = StructureDistances(measurer.maps_of(run.read_sample))
    refer = partial(apart_reference, measurer.references)
    across: dict[str, list[Row]] = {}
    for group in seed_groups(plan):
        for row in diversity_rows(group, embeddings, made, stored, distances, refer):
            across.setdefault(row["cell"], []).append(row)
    pose = bool(pose_needs(plan, measurer.judges))
    for group in base_groups(plan):
        for row in base_rows(group, made, stored, distances, refer, pose=pose):
            across.setdefault(row["cell"], []).append(row)
    written = 0
    for trial in plan.trials:
        if cancel is not None and cancel.cancelled:
            break
        cells = plan.cells_by_trial[trial.id]
        written += _update(run, measurer, run.read_record(trial.id), cells, across)
    with disk_errors(run.path):
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


def _update(
    run: RunFolder,
    measurer: Measurer,
    record: Record,
    cells: tuple[Cell, ...],
    across: Mapping[str, list[Row]],
) -> bool:
    """Write one record's rows anew if they, or the facts of their cells, changed.

    Readings that the plan does not ask for go, such as those between base models of which one is
    left.
    """
    mine = {cell.id: cell for cell in cells}
    old = [dict(row) for row in record.rows if row["cell"] in mine]
    new: list[Row] = []
    for cell in cells:
        wanted = set(measurer.expected(cell))
        own = [row for row in old if row["cell"] == cell.id and row["metric"] in wanted]
        new += [row if record.failed else measurer.refreshed(cell, row) for row in own]
        new += across.get(cell.id, [])
    told = all(record.cells.get(cell.id) == plain(cell_facts(cell)) for cell in cells)
    if told and _same(old, new):
        return False
    run.add_rows(record.trial.id, new, cells=cells, only=True)
    return True


def _same(old: list[Row], new: list[Row]) -> bool:
    def key(rows: list[Row]) -> dict[tuple[str, str], Any]:
        return {
            (row["cell"], row["metric"]): {k: v for k, v in plain(row).items() if k != "trial"}
            for row in rows
        }

    return key(old) == key(new)
