"""A run made again: every stored picture measured anew, and some pictures made anew."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from workbench.families.manager import ModelManager
from workbench.generation import BatchKey, BatchSizer, CancelToken, SampleResult, Step, generate
from workbench.generation.recovery import FailureBudget
from workbench.images import read_image
from workbench.measuring import Measurer, embedding_of, metric_spec
from workbench.measuring.across import seed_groups
from workbench.measuring.adherence import Reference, adherence
from workbench.measuring.bases import base_groups
from workbench.store import Record, build_table, cell_facts, plain
from workbench.study import Cell, Plan
from workbench.study.fields import MAX_BATCH
from workbench.sweep.steps import ACROSS, learn_text_only, rows_across
from workbench.verify.conditions import Causes
from workbench.verify.diff import (
    RunDifference,
    RunView,
    compare_maps,
    compare_pixels,
    compare_tables,
    short,
)
from workbench.verify.result import (
    DIFFERENT,
    IDENTICAL,
    METRIC_TOLERANCE,
    UNCHECKED,
    WITHIN,
    Group,
    Item,
    Tolerance,
    readings_outcome,
    tolerance,
    worst,
)
from workbench.verify.stored import StoredRun

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


def planned_view(plan: Plan) -> RunView:
    """The run as its plan alone says: trials and the facts of their cells, no readings."""
    records = {
        trial: Record(
            trial=plan.trials_by_id[trial], cells={c.id: plain(cell_facts(c)) for c in cells}
        )
        for trial, cells in plan.cells_by_trial.items()
    }
    sources = {label: source.sha256 for label, source in plan.sources.items()}
    return RunView("the plan", records, sources=sources)


@dataclass(frozen=True)
class Remaker:
    """Makes a stored run again in memory; nothing is written.

    measurer: of the run's plan, without a cache: the run's own chance and ceiling are not looked
    at. causes: what may be why something differs.
    """

    stored: StoredRun
    manager: ModelManager
    measurer: Measurer
    causes: Causes
    cancel: CancelToken

    @property
    def allowed(self) -> Tolerance:
        """What rounding may do in the number format of the models."""
        return tolerance(self.manager.dtype)

    @property
    def plan(self) -> Plan:
        """The plan of the run's study."""
        return self.measurer.plan

    def picture(self, trial: str) -> np.ndarray:
        """A stored picture, uint8 H×W×3."""
        return read_image(self.stored.run.sample_path(trial))

    def measured(self, on_done: Callable[[int], None]) -> RunView:
        """The run with every whole picture of the plan measured again, chance and ceiling included.

        Pictures are read in batches of the size they were made in, and prompts counted in tokens.
        After a cancel some of it is missing.

        Args:
            on_done: told the number of pictures after each batch.
        """
        whole = {t.id: r for t in self.plan.trials if (r := self.stored.records.get(t.id))}
        rows: dict[str, list[Any]] = {
            name: self.measurer.failed(name, r.failed).rows for name, r in whole.items() if r.failed
        }
        embeddings: dict[str, np.ndarray] = {}
        for names, size in _batches([r for r in whole.values() if not r.failed]):
            if self.cancel.cancelled:
                break
            samples = [(name, self.picture(name)) for name in names]
            for found in self.measurer.measure(samples + samples[-1:] * (size - len(samples))):
                rows[found.trial_id] = found.rows
                if (vector := embedding_of(found.extra)) is not None:
                    embeddings[found.trial_id] = vector
            on_done(len(names))
        cells = {cell.id: cell for cell in self.plan.cells}
        if self.measurer.references.needs_text_only:
            learn_text_only(self.measurer, embeddings, rows)
            for name in rows:
                again: dict[str, list[Any]] = {}
                for row in rows[name]:
                    again.setdefault(row["cell"], []).append(plain(row))
                rows[name] = [
                    row
                    for cell, mine in again.items()
                    for row in self.measurer.refreshed(cells[cell], mine)
                ]
        across = rows_across(
            self.measurer,
            embeddings,
            self.picture,
            seeds=_whole(seed_groups(self.plan), rows),
            bases=_whole(base_groups(self.plan), rows),
        )
        for cell, more in across.items():
            rows[cells[cell].trial_id] += more
        view = planned_view(self.plan)
        records = {
            name: view.records[name]
            .model_copy(update={"made_by": self._tokens(whole[name])})
            .with_rows(found, ())
            for name, found in rows.items()
        }
        return RunView("the run made again", records, sources=view.sources, map=self._map)

    def check_maps(self, view: RunView) -> Group:
        """Every kept picture of a control map of the plan against the map made again."""
        labels = {source.sha256: label for label, source in self.plan.sources.items()}
        why = self.causes.of_maps("the kept map was edited")
        stored, items = self.stored.view(self.plan), []
        for key in dict.fromkeys(cell.map_key for cell in self.plan.cells):
            found = compare_maps(stored, view, key, key)
            name = f"{key[1]} of {labels[key[0]]}"
            if found is None:
                detail = "it was not kept: a report makes it anew"
                items.append(Item(name, UNCHECKED, detail=detail))
                continue
            detail = found.problem or f"largest difference {found.worst}/255; {why}"
            if found.outcome == IDENTICAL:
                detail = ""
            worst = None if found.problem else float(found.worst)
            items.append(Item(name, found.outcome, worst, detail))
        return Group("maps", "control maps", tuple(items), unit="of 255")

    def check_readings(self, difference: RunDifference) -> Group:
        """The rows in the records of the plan's cells against those measured again."""
        complete = all(trial.id in self.stored.records for trial in self.plan.trials)
        rows: dict[str, list[Any]] = {}
        for row in difference.readings.itertuples():
            if complete or row.side == "both" or row.metric not in ACROSS:
                rows.setdefault(str(row.trial), []).append(row)
        items = []
        for trial in self.plan.trials:
            if (record := self.stored.records.get(trial.id)) is not None:
                items.append(self._reading_item(record, rows.get(trial.id, [])))
            elif trial.id in self.stored.damaged:
                detail = "its picture or record is damaged"
                items.append(Item(f"trial {trial.id}", UNCHECKED, detail=detail))
        unit = "of the metric's range"
        return Group("readings", "pictures measured again", tuple(items), unit=unit)

    def _reading_item(self, record: Record, rows: Sequence[Any]) -> Item:
        name, largest, detail = f"trial {record.trial.id}", None, ""
        lacking = [row.metric for row in rows if row.side == "right_only"]
        extra = [row.metric for row in rows if row.side == "left_only"]
        if lacking or extra:
            what = "lacks" if lacking else "has readings nobody asked for:"
            false = f"its record {what} {', '.join(dict.fromkeys([*lacking, *extra]))}"
        else:
            worst = max(rows, key=lambda row: row.share, default=None)
            share = 0.0 if worst is None else worst.share
            moved = [row for row in rows if row.value_share > METRIC_TOLERANCE]
            largest = share if math.isfinite(share) else None
            if worst is not None and share:
                old, new = (getattr(worst, f"{worst.figure}_{side}") for side in "ab")
                detail = f"{worst.figure} of {worst.metric} is {old:.6g}, measured again {new:.6g}"
            false = detail if moved or share > self.allowed.ceiling else ""
            false = false or next(filter(None, map(_false_conclusion, rows)), "")
        again, told = self._tokens(record), record.made_by
        if any(told.get(key) != value for key, value in again.items()):
            miscounted = (
                f"tokens and truncated are {told.get('tokens')} and {told.get('truncated')}, "
                f"counted again {again['tokens']} and {again['truncated']}"
            )
            false = "; ".join(filter(None, (miscounted, false or detail)))
        if false:
            why = self.causes.of_readings(record, "the record was edited")
            return Item(name, DIFFERENT, largest, f"{false}; {why}")
        return Item(name, WITHIN if largest else IDENTICAL, largest, detail)

    def check_trials(self, chosen: Sequence[Record], on_step: Callable[[Step], None]) -> Group:
        """Generate the chosen trials and compare with the stored pictures.

        A trial on record as failed must fail again, for the same reason. Pixels depend on the size
        of a batch, by a rounding, but not on what else is in it: batches are filled up to the
        recorded size with copies.
        """
        sizes: dict[int, list[Record]] = {}
        for record in chosen:
            sizes.setdefault(recorded_size(record), []).append(record)
        items = []
        for size, records in sizes.items():
            batches = generate(
                [record.trial for record in records],
                self.measurer.source_maps,
                self.manager,
                batch_size=BatchSizer(size, self.manager, fill=True),
                on_step=on_step,
                cancel=self.cancel,
                failures=FailureBudget(0, unlimited=True),
            )
            of = {record.trial.id: record for record in records}
            items += [self._trial_item(of[r.trial.id], r) for r in chain.from_iterable(batches)]
        failed = sum(bool(record.failed) for record in chosen)
        note = f"{failed} failed by the record" if failed else ""
        return Group("trials", "trials made again", tuple(items), unit="of 255", note=note)

    def _trial_item(self, record: Record, made: SampleResult) -> Item:
        name = f"trial {record.trial.id}"
        if record.failed:
            return _failed_item(name, record.failed, made)
        why = self.causes.of_picture(record, REPLACED, made.made_by)
        if made.image is None:
            return Item(name, DIFFERENT, detail=f"it fails when made again; {why}")
        found = compare_pixels(self.picture(record.trial.id), made.image)
        if found.problem:
            return Item(name, DIFFERENT, detail=f"made again {found.problem}")
        if not found.worst:
            return Item(name, IDENTICAL, 0.0)
        shares = self._moved(record, made.image)
        outcome = worst([found.within(self.allowed), readings_outcome(shares, self.allowed)])
        size, again = record.made_by.get("batch_size"), made.made_by["batch_size"]
        if again != size:
            why = f"made in a batch of {again}, not {size}; {why}"
        mean, largest = (0.0, 0.0) if not shares else (sum(shares) / len(shares), max(shares))
        text = (
            f"largest difference {found.worst}/255, in {found.share:.1%} of the pixels, "
            f"{found.mean:.2g}/255 on average; its readings move by {mean:.2g} of their range on "
            f"average, by {largest:.2g} at most; {why}"
        )
        return Item(name, outcome, float(found.worst), text)

    def _moved(self, record: Record, image: np.ndarray) -> list[float]:
        """How far the readings off a picture made again are from those on record, each as a share
        of its metric's range; those across pictures are left out."""
        (found,) = self.measurer.measure([(record.trial.id, image)])
        again = record.model_copy(update={"rows": (), "cells": {}})
        tables = [
            build_table([one], {cell.id for cell in found.cells})
            for one in (record, again.with_rows(found.rows, found.cells))
        ]
        alone = [table[~table["metric"].isin(ACROSS)] for table in tables]
        return list(compare_tables(alone[0], alone[1], ["cell", "metric"])["value_share"])

    def _map(self, key: Any) -> np.ndarray:
        return self.measurer.source_maps[key].picture

    def _tokens(self, record: Record) -> dict[str, Any]:
        """What a record must say of the tokens of its prompt."""
        unread = record.failed and "tokens" not in record.made_by
        if unread or record.trial.picture:
            return {}
        count = self.manager.for_base(record.trial.base).token_count(record.trial.prompt)
        return {"tokens": count.tokens, "truncated": bool(count.truncated)}


def _batches(records: Sequence[Record]) -> Iterator[tuple[list[str], int]]:
    """Trials as they were probably measured: by kind, with the size of their batch when made.

    Where some are missing a batch is smaller; it is then filled with copies, for rounding's sake.
    """
    kinds: dict[tuple[BatchKey, int], list[str]] = {}
    for record in records:
        key = (BatchKey.of(record.trial), recorded_size(record))
        kinds.setdefault(key, []).append(record.trial.id)
    for (_, size), members in kinds.items():
        for start in range(0, len(members), size):
            yield members[start : start + size], size


def _whole(groups: Sequence[tuple[Cell, ...]], rows: dict[str, Any]) -> list[tuple[Cell, ...]]:
    """Groups of cells whose trials are all there; of others nothing can be said."""
    return [group for group in groups if all(cell.trial_id in rows for cell in group)]


def _false_conclusion(row: Any) -> str:
    """What is wrong with the adherence and the reason of a stored row; "" if nothing.

    Both follow from the row's own value, chance and ceiling, so they are not given the tolerance of
    a reading; the fresh row only tells why a figure is not to be had.
    """
    said, own = row.adherence_a, math.nan
    told, reason = (text if isinstance(text, str) else "" for text in (row.reason_a, row.reason_b))
    if row.metric not in ACROSS and not math.isnan(row.value_a):
        reference = Reference(row.chance_a, row.ceiling_a, reason)
        own, reason = adherence(row.value_a, reference, metric_spec(row.metric))
    both_unknown = math.isnan(said) and math.isnan(own)
    if not both_unknown and not math.isclose(said, own, rel_tol=1e-9, abs_tol=1e-9):
        return (
            f"adherence of {row.metric} is {said:.6g}, but its value, chance and ceiling give "
            f"{own:.6g}"
        )
    if told == reason:
        return ""
    is_ = f"“{short(told, 80)}”" if told else "missing"
    should = f"should be “{short(reason, 80)}”" if reason else "there should be none"
    return f"the reason of {row.metric} is {is_}, and {should}"


def _failed_item(name: str, reason: str, made: SampleResult) -> Item:
    """A trial on record as failed, made again."""
    if made.image is not None:
        return Item(name, DIFFERENT, detail="it was recorded as failed, but can be made")
    why = made.failed_reason
    if made.made_by.get("retry"):
        detail = f"it failed, and can be neither made nor judged here: {why}"
        return Item(name, UNCHECKED, detail=detail)
    if _NUMBER.sub("", why) == _NUMBER.sub("", reason):  # colours differ by a rounding
        return Item(name, IDENTICAL)
    detail = f"it fails again, but not for the recorded reason: {why}"
    return Item(name, DIFFERENT, detail=detail)
