"""Diversity across seeds: how much the pictures of one cell differ when only the seed changes.

Each cell gets its mean distance to the pictures of the other seeds, so that the mean over the
seeds is the mean over all pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import numpy as np

from workbench.controls import ControlMap, get_control
from workbench.metrics.spec import Reading
from workbench.study import Cell, Plan
from workbench.study.canonical import short_hash

LOOKS, STRUCTURE = "diversity_looks", "diversity_structure"
ONE_SEED = "there is one seed: diversity needs two"
FAILED = "the sample failed"
NO_SCALE = "diversity has no chance and no ceiling"
MapOf = Callable[[str, str, str], ControlMap]


def seed_groups(plan: Plan) -> list[tuple[Cell, ...]]:
    """Cells that differ in nothing but the seed."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in plan.cells:
        variant = (cell.variant.setting, cell.variant.label, cell.variant.text, cell.full_prompt)
        key = (cell.map_key, cell.base, variant, cell.scale, cell.partner)
        groups.setdefault(key, []).append(cell)
    return [tuple(cells) for cells in groups.values()]


def peers(cells: Sequence[Cell], made: Callable[[str], bool]) -> str:
    """Names the pictures that a group's diversity is read off; stored beside the reading."""
    return short_hash(sorted(cell.trial_id for cell in cells if made(cell.trial_id)))


def looks(embeddings: Sequence[np.ndarray]) -> list[Reading]:
    """Mean of 1 - cosine to the other embeddings (unit norm), one reading per embedding."""
    if len(embeddings) < 2:
        return [Reading.nothing(ONE_SEED) for _ in embeddings]
    vectors = np.stack(embeddings).astype(float)
    distance = 1.0 - vectors @ vectors.T
    np.fill_diagonal(distance, 0.0)
    mean = np.maximum(distance.sum(axis=1) / (len(vectors) - 1), 0.0)
    return [Reading(float(value)) for value in mean]


class StructureDistances:
    """Distances of samples' control maps; pairs that several groups share are compared once.

    The distance is 1 - the control's primary metric (the metric itself where lower is better),
    averaged over both directions of the comparison.
    """

    def __init__(self, map_of: MapOf) -> None:
        self._map_of = map_of
        self._pairs: dict[tuple[str, str, str, str], Reading] = {}

    def readings(self, cells: Sequence[Cell]) -> list[Reading]:
        """Mean distance to the other cells' maps, one reading per cell."""
        if len(cells) < 2:
            return [Reading.nothing(ONE_SEED) for _ in cells]
        return [self._mean([self._pair(a, b) for b in cells if b is not a]) for a in cells]

    def _mean(self, distances: Sequence[Reading]) -> Reading:
        known = [reading.value for reading in distances if not reading.is_nan]
        return Reading(float(np.mean(known))) if known else distances[0]

    def _pair(self, a: Cell, b: Cell) -> Reading:
        first, second = sorted((a.trial_id, b.trial_id))
        key = (first, second, a.control, a.control_settings)
        if key not in self._pairs:
            self._pairs[key] = self._distance(*key)
        return self._pairs[key]

    def _distance(self, first: str, second: str, name: str, settings_json: str) -> Reading:
        control = get_control(name)
        settings = control.settings_type.model_validate_json(settings_json)
        maps = [self._map_of(trial, name, settings_json) for trial in (first, second)]
        found = []
        for wanted, got in (maps, maps[::-1]):
            reading = control.compare(wanted, got, settings)[control.primary]
            if reading.is_nan:
                return reading
            better = control.metric(control.primary).higher_is_better
            found.append(1.0 - reading.value if better else reading.value)
        return Reading(float(np.mean(found)))


def diversity_rows(
    group: Sequence[Cell],
    embeddings: Mapping[str, np.ndarray],
    made: Container[str],
    stored: Mapping[tuple[str, str], Mapping[str, Any]],
    distances: StructureDistances,
) -> list[dict[str, Any]]:
    """Both diversity rows of every cell of a group.

    Args:
        group: cells that differ in the seed alone.
        embeddings: trial id -> CLIP embedding, as it is stored.
        made: ids of the trials that have a sample; the others get NaN.
        stored: (cell id, metric) -> row from an earlier start, kept if it was read off the same
            pictures.
        distances: compares the maps.
    """
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


def diversity_row(cell: Cell, metric: str, reading: Reading, group: str) -> dict[str, Any]:
    """A diversity reading as a row of the long table; it has no chance, ceiling or adherence."""
    return {
        "cell": cell.id,
        "trial": cell.trial_id,
        "metric": metric,
        "value": reading.value,
        "chance": math.nan,
        "ceiling": math.nan,
        "adherence": math.nan,
        "reason": reading.reason or NO_SCALE,
        "peers": group,
    }


def is_current(row: Mapping[str, Any] | None, group: str) -> bool:
    """Whether a stored diversity row was read off these very pictures."""
    return row is not None and row.get("peers") == group
