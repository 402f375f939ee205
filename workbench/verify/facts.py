"""What readings are about: the facts of every cell in the records, held against the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from workbench.store import COLUMNS, Record, cell_facts, plain
from workbench.study import Plan
from workbench.verify.files import Found
from workbench.verify.result import DIFFERENT, IDENTICAL, Group, Item

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager

_OWN = {"cell", "trial", "metric", "value", "chance", "ceiling", "adherence", "reason"}
_FACTS = set(COLUMNS) - _OWN
"""Columns of the table that a reading must take from its cell and its picture."""


def had_another_study(manifest: Mapping[str, Any]) -> bool:
    """Whether the run's history names another form of the study."""
    earlier = manifest.get("earlier")
    return any(
        isinstance(one, Mapping) and one.get("study_hash") != manifest.get("study_hash")
        for one in (earlier if isinstance(earlier, list) else ())
    )


def check_cells(found: Found, plan: Plan, earlier: bool) -> Group:
    """What the records say of the cells of the plan: source, control, prompt, scale, seed, …

    Args:
        found: the run's records; cells of trials that are not whole are left to their own group.
        plan: of the run's study.
        earlier: whether cells of another form of the study may be there.
    """
    items, others = [], 0
    for trial_id, cells in plan.cells_by_trial.items():
        record = found.whole.get(trial_id)
        if record is None:
            continue
        for cell in cells:
            problem = "; ".join(_problems(record, cell.id, plain(cell_facts(cell))))
            outcome = DIFFERENT if problem else IDENTICAL
            items.append(Item(f"cell {cell.id} of trial {trial_id}", outcome, detail=problem))
        known = {cell.id for cell in cells}
        foreign = {*record.cells, *(str(row["cell"]) for row in record.rows)} - known
        if earlier:
            others += len(foreign)
            continue
        none = "the study has no such cell: it was added to the record"
        items += [
            Item(f"cell {name} of trial {trial_id}", DIFFERENT, detail=none)
            for name in sorted(foreign)
        ]
    note = f"{others} more belong to an earlier form of the study" if others else ""
    return Group("cells", "cells as the study has them", tuple(items), note=note)


def _problems(record: Record, cell: str, wanted: Mapping[str, Any]) -> Iterator[str]:
    stored = record.cells.get(cell)
    if stored is None:
        yield "its record does not say what the cell is: the picture was not measured for it yet"
        return
    for name in dict.fromkeys([*wanted, *stored]):
        was, should = stored.get(name), wanted.get(name)
        if was != should:
            yield f"{name} is {_short(was)} in its record, {_short(should)} in the study"
    own = {name for row in record.rows if row["cell"] == cell for name in _FACTS & row.keys()}
    if own:
        yield f"a reading has a {', '.join(sorted(own))} of its own: the record was edited"


def token_problem(record: Record, manager: ModelManager) -> str:
    """What a record says wrongly of its prompt's tokens; "" if nothing."""
    if record.failed and "tokens" not in record.made_by:
        return ""
    count = manager.for_base(record.trial.base).token_count(record.trial.prompt)
    stored = (record.made_by.get("tokens"), record.made_by.get("truncated"))
    if stored == (count.tokens, bool(count.truncated)):
        return ""
    return (
        f"tokens and truncated are {stored[0]} and {stored[1]}, counted again {count.tokens} and "
        f"{bool(count.truncated)}"
    )


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
