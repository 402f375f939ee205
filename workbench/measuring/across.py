"""Diversity across seeds: how much the pictures of one cell differ when only the seed changes.

Each cell gets its mean distance to the pictures of the other seeds, so that the mean over the
seeds is the mean over all pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from workbench.controls import ControlMap, get_control, resolve
from workbench.measuring.adherence import Reference
from workbench.metrics.spec import Reading
from workbench.study import Cell, Plan
from workbench.study.canonical import short_hash

LOOKS, STRUCTURE = "diversity_looks", "diversity_structure"
ONE_SEED = "there is one seed: diversity needs two"
FAILED = "the sample failed"
PAIRED = "one to one"
NO_SCALE = "a difference between pictures has no adherence"
MapOf = Callable[[str, str, str], ControlMap]
Refer = Callable[[Cell, str], Reference]
"""Looks up chance and ceiling of a metric for a cell, see `References.pairwise`."""


def seed_groups(plan: Plan) -> list[tuple[Cell, ...]]:
    """Cells that differ in nothing but the seed."""
    return groups_but_for(plan, "seed")


def groups_but_for(plan: Plan, free: Literal["seed", "base"]) -> list[tuple[Cell, ...]]:
    """Cells that differ in nothing but the seed, or but the base model."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in plan.cells:
        variant = (cell.variant.setting, cell.variant.label, cell.variant.text, cell.full_prompt)
        fixed = cell.base if free == "seed" else cell.seed
        key = (cell.map_key, fixed, variant, cell.scale, cell.partner)
        groups.setdefault(key, []).append(cell)
    return [tuple(cells) for cells in groups.values()]


def peers(cells: Sequence[Cell], made: Callable[[str], bool]) -> str:
    """Names the pictures that a group's diversity is read off; stored beside the reading."""
    return short_hash(sorted(cell.trial_id for cell in cells if made(cell.trial_id)))


def clip_diversity(embeddings: Sequence[np.ndarray]) -> list[Reading]:
    """Mean of 1 - cosine to the other embeddings (unit norm), one reading per embedding."""
    from workbench.metrics.clip import clip_diversity

    if len(embeddings) < 2:
        return [Reading.nothing(ONE_SEED) for _ in embeddings]
    return [Reading(value) for value in clip_diversity(np.stack(embeddings)).tolist()]


class StructureDistances:
    """Distances of samples' control maps; pairs that several groups share are compared once.

    The distance is 1 - the control's primary metric (the metric itself where lower is better),
    averaged over both directions of the comparison. Where one of the two maps holds nothing (no
    person, no edge), only the direction from the other is known, and it alone counts: what one
    picture has and the other lost is a whole distance (1 for F1 and PCK), not an unknown one. Two
    maps that hold nothing have no distance.
    """

    def __init__(self, map_of: MapOf) -> None:
        self._map_of = map_of
        self._pairs: dict[tuple[str, str, str, str], Reading] = {}

    def readings(
        self, cells: Sequence[Cell], by: tuple[str, str] | None = None, alone: str = ONE_SEED
    ) -> list[Reading]:
        """Mean distance to the other cells' maps, one reading per cell.

        Args:
            by: control and settings (JSON) to compare by; None takes each cell's own.
            alone: the reason where there is no other cell.
        """
        if len(cells) < 2:
            return [Reading.nothing(alone) for _ in cells]
        return [self._mean([self._pair(a, b, by) for b in cells if b is not a]) for a in cells]

    def _mean(self, distances: Sequence[Reading]) -> Reading:
        known = [reading.value for reading in distances if not reading.is_nan]
        return Reading(float(np.mean(known))) if known else distances[0]

    def _pair(self, a: Cell, b: Cell, by: tuple[str, str] | None) -> Reading:
        first, second = sorted((a.trial_id, b.trial_id))
        key = (first, second, *(by or (a.control, a.control_settings)))
        if key not in self._pairs:
            self._pairs[key] = self._distance(*key)
        return self._pairs[key]

    def _distance(self, first: str, second: str, name: str, settings_json: str) -> Reading:
        a, b = (self._map_of(trial, name, settings_json) for trial in (first, second))
        return map_distance(a, b, name, settings_json)


def map_distance(a: ControlMap, b: ControlMap, name: str, settings_json: str) -> Reading:
    """The distance of two control maps as `StructureDistances` defines it."""
    control, settings = resolve(name, settings_json)
    both = [control.agreement(b, a, settings)]
    if not control.same_both_ways(a, b):
        both.append(control.agreement(a, b, settings))
    known = [reading.value for reading in both if not reading.is_nan]
    if not known:
        return both[0]
    better = control.metric(control.primary).higher_is_better
    return Reading(float(np.mean([1.0 - value if better else value for value in known])))


def diversity_rows(
    group: Sequence[Cell],
    embeddings: Mapping[str, np.ndarray],
    made: Container[str],
    stored: Mapping[tuple[str, str], Mapping[str, Any]],
    distances: StructureDistances,
    refer: Refer,
) -> list[dict[str, Any]]:
    """Both diversity rows of every cell of a group.

    Args:
        group: cells that differ in the seed alone.
        embeddings: trial id -> CLIP embedding, as it is stored.
        made: ids of the trials that have a sample; the others get NaN.
        stored: (cell id, metric) -> row from an earlier start, kept if it was read off the same
            pictures.
        distances: compares the maps.
        refer: chance and ceiling, also for values that are kept.
    """
    how = {
        LOOKS: lambda alive: clip_diversity([embeddings[cell.trial_id] for cell in alive]),
        STRUCTURE: distances.readings,
    }
    return group_rows(group, how, made, stored, refer)


def group_rows(
    group: Sequence[Cell],
    how: Mapping[str, Callable[[list[Cell]], list[Reading]]],
    made: Container[str],
    stored: Mapping[tuple[str, str], Mapping[str, Any]],
    refer: Refer,
) -> list[dict[str, Any]]:
    """The rows of every cell of a group, for each metric that reads cells' pictures together.

    Args:
        how: metric -> what reads it off the cells that have a picture, in their order.
        group, made, stored, refer: as in `diversity_rows`.
    """
    name = peers(group, made.__contains__)
    alive = [cell for cell in group if cell.trial_id in made]
    failed = [cell for cell in group if cell.trial_id not in made]
    rows = []
    for metric, read in how.items():
        readings = stored_readings(alive, metric, stored, name)
        found = [Reading.nothing(FAILED)] * len(failed)
        found += read(alive) if readings is None else readings
        for cell, reading in zip([*failed, *alive], found, strict=True):
            rows.append(reading_row(cell, metric, reading, name, refer))
    return rows


def asked(cell: Cell, metric: str) -> str | None:
    """What tells distances of lines that are paired one to one from older ones; None elsewhere."""
    paired = get_control(cell.control).primary.endswith("_matched")
    return PAIRED if paired and metric.endswith("_structure") else None


def reading_row(
    cell: Cell, metric: str, reading: Reading, group: str, refer: Refer
) -> dict[str, Any]:
    """A reading off several pictures as a row of the table, without adherence."""
    reference = refer(cell, metric)
    told = asked(cell, metric)
    return ({} if told is None else {"asked": told}) | {
        "cell": cell.id,
        "trial": cell.trial_id,
        "metric": metric,
        "value": reading.value,
        "chance": reference.chance,
        "ceiling": reference.ceiling,
        "adherence": math.nan,
        "reason": reading.reason or NO_SCALE,
        "peers": group,
    }


def stored_readings(
    cells: Sequence[Cell],
    metric: str,
    stored: Mapping[tuple[str, str], Mapping[str, Any]],
    group: str,
) -> list[Reading] | None:
    """The cells' stored readings if all were so read off these very pictures, else None."""
    rows = [stored.get((cell.id, metric), {}) for cell in cells]
    wanted = [(group, asked(cell, metric)) for cell in cells]
    if any(
        (row.get("peers"), row.get("asked")) != one for row, one in zip(rows, wanted, strict=True)
    ):
        return None
    return [
        Reading(float(row["value"])) if row["value"] is not None else Reading.nothing(row["reason"])
        for row in rows
    ]
