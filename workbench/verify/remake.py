"""Making some trials again, each in a batch of the size it was first made in."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.controls import ControlMap, MapKey
from workbench.generation import BatchSizer, CancelToken, SampleResult, Step, generate
from workbench.images import read_image
from workbench.store import Record, RunFolder
from workbench.study.fields import MAX_BATCH
from workbench.verify.result import (
    DIFFERENT,
    IDENTICAL,
    PIXEL_TOLERANCE,
    UNCHECKED,
    WITHIN,
    Group,
    Item,
)

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager

UNIT = "of 255"
_NUMBER = re.compile(r"\d+")
REPLACED = "picture and record were replaced, or this machine does not repeat itself"


def choose(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """`count` records by chance (all if there are fewer), in an order that the seed decides."""
    # Random.random() is the one method whose sequence Python promises never to change.
    draw = random.Random(seed)
    keys = {r.trial.id: draw.random() for r in sorted(records, key=lambda r: r.trial.id)}
    return sorted(records, key=lambda r: keys[r.trial.id])[:count]


def recorded_size(record: Record) -> int:
    """The size of the batch in which a picture was made; no larger than a study may ask for."""
    return min(max(1, int(record.made_by.get("batch_size") or 1)), MAX_BATCH)


def check_trials(
    run: RunFolder,
    chosen: Sequence[Record],
    maps: Mapping[MapKey, ControlMap],
    manager: ModelManager,
    explain: Callable[[Record, str], str],
    cancel: CancelToken,
    on_step: Callable[[Step], None],
) -> Group:
    """Generate the chosen trials and compare with the stored pictures.

    A trial on record as failed must fail again, for the same reason.

    Pixels depend on the size of a batch, by a rounding, but not on what else is in it: batches are
    filled up to the recorded size with copies.

    Args:
        maps: control maps of the sources, as `Measurer.source_maps`.
        explain: what may be why a record's picture differs, as a clause; its second argument is
            what it must be if nothing is known to have changed.
    """
    sizes: dict[int, list[Record]] = {}
    for record in chosen:
        sizes.setdefault(recorded_size(record), []).append(record)
    items = []
    for size, records in sizes.items():
        of = {record.trial.id: record for record in records}
        batches = generate(
            [record.trial for record in records],
            maps,
            manager,
            batch_size=BatchSizer(size, manager, fill=True),
            on_step=on_step,
            cancel=cancel,
            allow_failures=True,
        )
        for result in chain.from_iterable(batches):
            record = of[result.trial.id]
            if record.failed:
                items.append(_compare_failed(record, result))
                continue
            stored = read_image(run.sample_path(record.trial.id))
            made = {"batch_size": result.made_by["batch_size"]}
            why = explain(record, REPLACED)
            items.append(_compare(record, stored, result.image, made, why))
    failed = sum(bool(record.failed) for record in chosen)
    note = f"{failed} failed by the record" if failed else ""
    return Group("trials", "trials made again", tuple(items), unit=UNIT, note=note)


def _compare_failed(record: Record, result: SampleResult) -> Item:
    name = f"trial {record.trial.id}"
    if result.image is not None:
        return Item(name, DIFFERENT, detail="it was recorded as failed, but can be made")
    why = result.failed_reason
    if result.made_by.get("retry"):
        detail = f"it failed, and can be neither made nor judged here: {why}"
        return Item(name, UNCHECKED, detail=detail)
    if _NUMBER.sub("", why) == _NUMBER.sub("", record.failed):  # colours differ by a rounding
        return Item(name, IDENTICAL)
    detail = f"it fails again, but not for the recorded reason: {why}"
    return Item(name, DIFFERENT, detail=detail)


def _compare(
    record: Record,
    stored: np.ndarray,
    image: np.ndarray | None,
    made: Mapping[str, Any],
    why: str,
) -> Item:
    name = f"trial {record.trial.id}"
    if image is None:
        return Item(name, DIFFERENT, detail=f"it fails when made again; {why}")
    if image.shape != stored.shape:
        return Item(name, DIFFERENT, detail="made again it has another size")
    distance = np.abs(image.astype(int) - stored.astype(int))
    worst = int(distance.max())
    if worst == 0:
        return Item(name, IDENTICAL, 0.0)
    share = float((distance.max(axis=-1) > 0).mean())
    size = record.made_by.get("batch_size")
    if made["batch_size"] != size:
        why = f"made in a batch of {made['batch_size']}, not {size}; {why}"
    text = f"largest difference {worst}/255, in {share:.1%} of the pixels; {why}"
    return Item(name, WITHIN if worst <= PIXEL_TOLERANCE else DIFFERENT, float(worst), text)
