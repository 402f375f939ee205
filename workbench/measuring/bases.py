"""Between base models: how much the pictures of one cell differ when only the base model changes.

The same source, control, prompt, scale and seed on each base model. Each cell gets its mean
distance to the pictures of the other bases, so that the mean over the bases is the mean over all
their pairs.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from workbench.controls import get_control, network_needs
from workbench.measuring.across import Refer, StructureDistances, group_rows, groups_but_for
from workbench.measuring.judges import Judges
from workbench.study import Cell, Plan

BASES_STRUCTURE, BASES_POSE = "bases_structure", "bases_pose"
NO_OTHER = "the picture of no other base model is there"
POSE = "pose"


def base_groups(plan: Plan) -> list[tuple[Cell, ...]]:
    """Cells that differ in nothing but the base model; empty for a plan with one base."""
    return [group for group in groups_but_for(plan, "base") if len(group) > 1]


def pose_map() -> tuple[str, str]:
    """The control and the settings (JSON) by which poses are compared."""
    return POSE, get_control(POSE).settings().canonical()


def pose_needs(plan: Plan, judges: Judges) -> list[str]:
    """The network for poses, where pictures of several bases are to be compared by it; or nothing.

    It is used only where the plan's own controls load it, or the weights it shares, anyway: a
    model family of large networks must not load one more for this.
    """
    if len({cell.base for cell in plan.cells}) < 2 or POSE not in set(judges.networks()):
        return []
    refs = judges.family.networks
    needs = network_needs((cell.control, cell.control_settings) for cell in plan.cells)
    loaded = {refs[name].title for name in needs if name in refs}
    return [POSE] if POSE in needs or (POSE in refs and refs[POSE].title in loaded) else []


def networks_read(plan: Plan, judges: Judges) -> list[str]:
    """Names of all networks that the plan's readings ask for, in alphabetical order."""
    needs = network_needs((cell.control, cell.control_settings) for cell in plan.cells)
    return sorted({*needs, *judges.family.word_network, *pose_needs(plan, judges)})


def base_rows(
    group: Sequence[Cell],
    made: Container[str],
    stored: Mapping[tuple[str, str], Mapping[str, Any]],
    distances: StructureDistances,
    refer: Refer,
    *,
    pose: bool,
) -> list[dict[str, Any]]:
    """The rows of every cell of a group: the distance of its control map, and of its pose.

    Args:
        group: cells that differ in the base model alone.
        made, stored, distances, refer: as in `across.diversity_rows`.
        pose: whether the figures' joints can be read.
    """
    how = {BASES_STRUCTURE: lambda alive: distances.readings(alive, alone=NO_OTHER)}
    if pose:
        how[BASES_POSE] = lambda alive: distances.readings(alive, pose_map(), alone=NO_OTHER)
    return group_rows(group, how, made, stored, refer)
