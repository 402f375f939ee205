"""`verification.json`: what a run folder and its report say about the last verification."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from workbench.atomic import write_atomic
from workbench.store import RunFolder, StoreError
from workbench.verify.digest import run_digest
from workbench.verify.result import IDENTICAL, Group, Verification, counts, tolerances

FILE = "verification.json"
SCHEMA = 1
_KEPT_ITEMS = 20


def write_state(run: RunFolder, result: Verification) -> None:
    """Keep the result in the run folder, small: figures, and the first items that differ.

    OSError where the folder cannot be written.
    """
    groups = []
    for group in result.groups:
        odd = [asdict(item) for item in group.items if item.outcome != IDENTICAL]
        groups.append({**counts(group), "items": odd[:_KEPT_ITEMS]})
    data = {
        "schema": SCHEMA,
        "when": result.when,
        "result": result.outcome,
        "digest": result.digest,
        "seed": result.seed,
        "tolerances": tolerances(),
        "conditions": {name: list(pair) for name, pair in result.conditions.items()},
        "now": dict(result.now),
        "groups": groups,
    }
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(run.path / FILE, text.encode("utf-8"))


def read_state(run: RunFolder) -> dict[str, Any] | None:
    """The kept result, or None if there is none that can be read."""
    try:
        state = run.read_json(FILE)
    except StoreError:
        return None
    if not isinstance(state, dict) or state.get("schema") != SCHEMA:
        return None
    return state


def state_sentence(run: RunFolder, digest: str = "") -> str:
    """The verification state of a run in one or two sentences, for its report.

    `digest` is that of the run, where it is known already.
    """
    how = f"run “workbench verify {run.path.name}” to check it"
    state = read_state(run)
    if state is None:
        return f"Not verified: {how}."
    try:
        day = str(state["when"]).replace("T", " ")[:16] + " UTC"
        groups = {str(group["name"]): group for group in state["groups"]}
        found = _figures(groups)
        if state["digest"] != (digest or run_digest(run)):
            return f"Verified on {day}, but the run has changed since: {how} again."
        if state["result"] == "different":
            odd = sum(int(group["different"]) for group in groups.values())
            noun = "difference" if odd == 1 else "differences"
            return f"Verification on {day} found {odd} {noun}: {found}."
        if state["result"] == "not checked":
            missing = sum(int(group["not_checked"]) for group in groups.values())
            noun = "item" if missing == 1 else "items"
            return f"Verified in part on {day}, {missing} {noun} could not be checked: {found}."
        return f"Verified on {day}: {found}."
    except (KeyError, TypeError, ValueError):
        return f"Not verified: {how}."


def group_figures(group: Group) -> str:
    """ "198 of 198 identical", or the parts: "190 identical, 8 within tolerance"."""
    return _parts(counts(group))


def _figures(groups: dict[str, dict[str, Any]]) -> str:
    names = (
        ("pictures", "pictures and records checked"),
        ("readings", "pictures re-measured"),
        ("trials", "trials regenerated"),
    )
    parts = []
    for name, what in names:
        group = groups.get(name)
        if group is None or not group["total"]:
            parts.append(f"no {what}")
            continue
        figures = _parts(group)
        count, _, word = figures.rpartition(" of ")
        if count:
            total, _, outcome = word.partition(" ")
            parts.append(f"{count} of {total} {what} {outcome}")
        else:
            parts.append(f"{group['total']:,} {what}: {figures}")
    return "; ".join(parts)


def _parts(group: dict[str, Any]) -> str:
    total = int(group["total"])
    named = (
        ("identical", "identical"),
        ("within_tolerance", "within tolerance"),
        ("different", "different"),
        ("not_checked", "not checked"),
    )
    found = [(int(group[key]), word) for key, word in named if int(group[key])]
    if len(found) == 1:
        return f"{found[0][0]:,} of {total:,} {found[0][1]}"
    return ", ".join(f"{count:,} {word}" for count, word in found)
