"""Reading every number off the stored pictures again, chance and ceiling included."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.generation import BatchKey, CancelToken
from workbench.images import read_image
from workbench.measuring import Measurer, embedding_of, metric_spec
from workbench.measuring.across import seed_groups
from workbench.measuring.adherence import Reference, adherence
from workbench.measuring.bases import base_groups
from workbench.metrics.spec import MetricSpec
from workbench.store import Record, RunFolder, plain
from workbench.study import Cell
from workbench.sweep.steps import ACROSS, learn_text_only, rows_across
from workbench.verify.facts import token_problem
from workbench.verify.files import Found
from workbench.verify.remake import recorded_size
from workbench.verify.result import (
    DIFFERENT,
    IDENTICAL,
    METRIC_TOLERANCE,
    UNCHECKED,
    WITHIN,
    Group,
    Item,
)

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager

Rows = dict[tuple[str, str], Mapping[str, Any]]
FIGURES = ("value", "chance", "ceiling")
UNIT = "of the metric's range"
EDITED = "the record was edited"


def check_readings(
    run: RunFolder,
    found: Found,
    measurer: Measurer,
    manager: ModelManager,
    explain: Callable[[Record, str], str],
    cancel: CancelToken,
    on_done: Callable[[int], None],
) -> Group:
    """Measure all whole pictures of the plan and compare with the rows in their records.

    Pictures are read in batches of the size they were made in. Chance, ceiling and adherence are
    computed from nothing; the run's own cache is not looked at. Prompts are counted in tokens anew.

    Args:
        measurer: of the run's plan, without a cache.
        manager: the models; its tokenizers count.
        explain: what may be why a record's readings differ, as a clause; its second argument is
            what it must be if nothing is known to have changed.
        on_done: told the number of pictures after each batch.
    """
    plan = measurer.plan
    mine = [found.whole[t.id] for t in plan.trials if t.id in found.whole]
    fresh: dict[str, Rows] = {}
    embeddings: dict[str, np.ndarray] = {}
    for record in mine:
        if record.failed:
            nothing = measurer.failed(record.trial.id, record.failed)
            fresh[record.trial.id] = _by_reading(nothing.rows)
    for batch, size in _batches([record for record in mine if not record.failed]):
        if cancel.cancelled:
            return Group("readings", "pictures measured again", ())
        samples = [(r.trial.id, read_image(run.sample_path(r.trial.id))) for r in batch]
        for measured in measurer.measure(samples + samples[-1:] * (size - len(samples))):
            fresh[measured.trial_id] = _by_reading(measured.rows)
            embedding = embedding_of(measured.extra)
            if embedding is not None:
                embeddings[measured.trial_id] = embedding
        on_done(len(batch))
    if measurer.references.needs_text_only:
        learn_text_only(measurer, embeddings)
        for rows in fresh.values():
            _refresh(measurer, rows)
    complete = all(trial.id in found.whole for trial in plan.trials)
    _add_across(run, measurer, found, fresh, embeddings)
    items = []
    for record in mine:
        item = _compare(record, fresh[record.trial.id], measurer, complete)
        miscounted = token_problem(record, manager)
        if miscounted:
            detail = f"{miscounted}; {item.detail}" if item.detail else miscounted
            item = replace(item, outcome=DIFFERENT, detail=detail)
        if item.outcome == DIFFERENT:
            detail = f"{item.detail}; {explain(record, EDITED)}"
            item = replace(item, detail=detail)
        items.append(item)
    for trial_id in found.damaged:
        if trial_id in plan.trials_by_id:
            detail = "its picture or record is damaged"
            items.append(Item(f"trial {trial_id}", UNCHECKED, detail=detail))
    return Group("readings", "pictures measured again", tuple(items), unit=UNIT)


def _batches(records: Sequence[Record]) -> Iterator[tuple[list[Record], int]]:
    """Records as they were probably measured: by kind, with the size of their batch when made.

    Where some are missing a batch is smaller; it is then filled with copies, for rounding's sake.
    """
    kinds: dict[tuple[BatchKey, int], list[Record]] = {}
    for record in records:
        size = recorded_size(record)
        kinds.setdefault((BatchKey.of(record.trial), size), []).append(record)
    for (_, size), members in kinds.items():
        for start in range(0, len(members), size):
            yield members[start : start + size], size


def _refresh(measurer: Measurer, rows: Rows) -> None:
    cells = {cell.id: cell for cell in measurer.plan.cells}
    for key, row in rows.items():
        rows[key] = measurer.refreshed(cells[key[0]], plain(row))


def _add_across(
    run: RunFolder,
    measurer: Measurer,
    found: Found,
    fresh: dict[str, Rows],
    embeddings: Mapping[str, np.ndarray],
) -> None:
    """Diversity, and differences between bases, of groups that are all whole; others cannot be."""

    def whole(groups: list[tuple[Cell, ...]]) -> list[tuple[Cell, ...]]:
        return [group for group in groups if all(c.trial_id in found.whole for c in group)]

    across = rows_across(
        measurer,
        embeddings,
        lambda trial_id: read_image(run.sample_path(trial_id)),
        seeds=whole(seed_groups(measurer.plan)),
        bases=whole(base_groups(measurer.plan)),
    )
    for rows in across.values():
        for row in rows:
            fresh[row["trial"]][row["cell"], row["metric"]] = row


def _compare(record: Record, fresh: Rows, measurer: Measurer, complete: bool) -> Item:
    """One record's rows of the plan's cells against the fresh ones."""
    name = f"trial {record.trial.id}"
    cells = {cell.id for cell in measurer.plan.cells_by_trial[record.trial.id]}
    stored = {key: row for key, row in _by_reading(record.rows).items() if key[0] in cells}
    lacking = [k for k in fresh if k not in stored and (complete or k[1] not in ACROSS)]
    extra = [k for k in stored if k not in fresh and (complete or k[1] not in ACROSS)]
    if lacking or extra:
        metrics = ", ".join(dict.fromkeys(metric for _, metric in [*lacking, *extra]))
        what = "lacks" if lacking else "has readings nobody asked for:"
        return Item(name, DIFFERENT, detail=f"its record {what} {metrics}")
    worst, where, false = 0.0, "", ""
    for key in (key for key in fresh if key in stored):
        spec = metric_spec(key[1])
        for figure in FIGURES:
            old, new = _number(stored[key].get(figure)), _number(fresh[key].get(figure))
            share = _share(old, new, fresh[key], spec)
            if share > worst:
                worst, where = share, f"{figure} of {key[1]} is {old:.6g}, measured again {new:.6g}"
        false = false or _false_conclusion(key[1], stored[key], fresh[key], spec)
    finite = worst if math.isfinite(worst) else None
    if worst > METRIC_TOLERANCE:
        return Item(name, DIFFERENT, finite, where)
    if false:
        return Item(name, DIFFERENT, finite, false)
    return Item(name, WITHIN if worst else IDENTICAL, finite, where)


def _false_conclusion(
    metric: str, row: Mapping[str, Any], fresh: Mapping[str, Any], spec: MetricSpec
) -> str:
    """What is wrong with the adherence and the reason of a stored row; "" if nothing.

    Both follow from the row's own value, chance and ceiling, so they are not given the tolerance of
    a reading; the fresh row only tells why a figure is not to be had.
    """
    reason = str(fresh.get("reason") or "")
    value = _number(row.get("value"))
    own = math.nan
    if metric not in ACROSS and not math.isnan(value):
        reference = Reference(_number(row.get("chance")), _number(row.get("ceiling")), reason)
        own, reason = adherence(value, reference, spec)
    said = _number(row.get("adherence"))
    both_unknown = math.isnan(said) and math.isnan(own)
    if not both_unknown and not math.isclose(said, own, rel_tol=1e-9, abs_tol=1e-9):
        return (
            f"adherence of {metric} is {said:.6g}, but its value, chance and ceiling give {own:.6g}"
        )
    if str(row.get("reason") or "") != reason:
        told = f"“{_cut(row.get('reason'))}”" if row.get("reason") else "missing"
        return f"the reason of {metric} is {told}, " + (
            f"and should be “{_cut(reason)}”" if reason else "and there should be none"
        )
    return ""


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _share(old: float, new: float, row: Mapping[str, Any], spec: MetricSpec) -> float:
    """A difference as a share of the metric's range; infinite where one of them is nothing."""
    if math.isnan(old) or math.isnan(new):
        return 0.0 if math.isnan(old) and math.isnan(new) else math.inf
    if old == new:
        return 0.0
    if spec.low is not None and spec.high is not None:
        width = spec.high - spec.low
    else:
        chance, ceiling = _number(row.get("chance")), _number(row.get("ceiling"))
        known = [abs(v) for v in (chance, ceiling, old, new) if not math.isnan(v)]
        width = max(known)
    return abs(old - new) / width if width > 0 else math.inf


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _by_reading(rows: Sequence[Mapping[str, Any]]) -> Rows:
    return {(row["cell"], row["metric"]): row for row in rows}
