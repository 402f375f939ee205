"""Chance and ceiling of a difference between pictures: across seeds, or between base models.

Two pictures that have nothing to do with each other differ by so much (chance), a picture and
itself pushed once more through the VAE by so little (ceiling), see `References.apart`.
"""

from __future__ import annotations

from workbench.controls import MapKey
from workbench.measuring.across import LOOKS
from workbench.measuring.adherence import Reference
from workbench.measuring.bases import BASES_POSE, pose_map
from workbench.measuring.references import References
from workbench.study import Cell


def apart_reference(references: References, cell: Cell, metric: str) -> Reference:
    """How far apart unrelated pictures are, and equal ones.

    Args:
        references: of the cell's study.
        metric: one that compares pictures with pictures ("diversity_looks", "bases_pose", …).
    """
    if metric == LOOKS:
        return references.looks_apart(cell.source_sha256)
    source, name, settings = cell.map_key
    if metric == BASES_POSE:
        name, settings = pose_map()
    return references.apart(MapKey(source, name, settings))
