"""The kept control maps, which reports show, against maps made anew from the sources."""

from __future__ import annotations

import numpy as np

from workbench.controls import MapKey
from workbench.images import ImageError
from workbench.measuring import Measurer
from workbench.store import RunFolder, StoreError
from workbench.verify.result import (
    DIFFERENT,
    IDENTICAL,
    PIXEL_TOLERANCE,
    UNCHECKED,
    WITHIN,
    Group,
    Item,
)

NAME, WHAT = "maps", "control maps"


def check_maps(run: RunFolder, measurer: Measurer, why: str) -> Group:
    """Every kept picture of a control map of the plan against the map itself.

    Args:
        measurer: of the run's plan; it has made the maps.
        why: what may be the cause of a difference, as a clause.
    """
    labels = {source.sha256: label for label, source in measurer.plan.sources.items()}
    keys = dict.fromkeys(cell.map_key for cell in measurer.plan.cells)
    items = [_compare(run, key, f"{key[1]} of {labels[key[0]]}", measurer, why) for key in keys]
    return Group(NAME, WHAT, tuple(items), unit="of 255")


def _compare(run: RunFolder, key: MapKey, name: str, measurer: Measurer, why: str) -> Item:
    try:
        kept = run.read_map(key)
    except (StoreError, ImageError) as error:
        return Item(name, DIFFERENT, detail=f"it cannot be read ({error})")
    if kept is None:
        return Item(name, UNCHECKED, detail="it was not kept: a report makes it anew")
    made = measurer.source_maps[key].picture
    if kept.shape != made.shape:
        return Item(name, DIFFERENT, detail=f"made again it has another size; {why}")
    worst = int(np.abs(kept.astype(int) - made.astype(int)).max())
    if worst == 0:
        return Item(name, IDENTICAL, 0.0)
    outcome = WITHIN if worst <= PIXEL_TOLERANCE else DIFFERENT
    return Item(name, outcome, float(worst), f"largest difference {worst}/255; {why}")
