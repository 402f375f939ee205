"""What a verification found, item by item: as figures, as text, and as a run keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from workbench.atomic import write_atomic
from workbench.formats import printable
from workbench.store import RunFolder, StoreError

Outcome = Literal["identical", "within tolerance", "different", "not checked"]
IDENTICAL: Outcome = "identical"
WITHIN: Outcome = "within tolerance"
DIFFERENT: Outcome = "different"
UNCHECKED: Outcome = "not checked"
_BY_WEIGHT: tuple[Outcome, ...] = (DIFFERENT, UNCHECKED, WITHIN, IDENTICAL)
EXIT_CODES: dict[Outcome, int] = {IDENTICAL: 0, WITHIN: 0, DIFFERENT: 1, UNCHECKED: 2}

PIXEL_TOLERANCE = 2
"""Largest difference of a pixel, of 255, that rounding explains in float32."""
METRIC_TOLERANCE = 1e-3
"""Largest difference of a reading off the same picture, as a share of its metric's range."""


@dataclass(frozen=True)
class Tolerance:
    """How far another kernel, memory order, card or size of a batch may move a picture.

    pixel: largest difference of a channel, of 255. mean: of all channels of the picture, of 255.
    reading: of all readings off the picture on average, as a share of their metrics' ranges. A
    single reading of half precision may move further, where it counts what lies near a threshold.
    ceiling: largest difference of a chance or ceiling, which are read off pictures of the VAE.
    """

    pixel: int
    mean: float
    reading: float
    ceiling: float

    @property
    def sentence(self) -> str:
        """The bounds for a reader."""
        return (
            f"{self.pixel}/255 and {self.mean:g}/255 on average, readings by {self.reading:g} of "
            "their range on average"
        )


TOLERANCES = {
    "float32": Tolerance(PIXEL_TOLERANCE, 0.1, METRIC_TOLERANCE, METRIC_TOLERANCE),
    "float16": Tolerance(16, 1.0, 0.005, 0.01),
    "bfloat16": Tolerance(128, 8.0, 0.02, 0.05),
}
"""Bounds by number format, above what `python benchmarks/tolerances.py` prints."""


def tolerance(*dtypes: object) -> Tolerance:
    """The bounds of a number format; of several the widest. Of unknown ones those of float32."""
    known = [TOLERANCES.get(str(dtype), TOLERANCES["float32"]) for dtype in dtypes]
    return max(known, key=lambda one: one.pixel)


def readings_outcome(shares: Sequence[float], allowed: Tolerance) -> Outcome:
    """How readings off two pictures of one trial compare, by their differences as shares of their
    ranges (infinite where one of two is not a number)."""
    largest = max(shares, default=0.0)
    if not largest:
        return IDENTICAL
    mean = sum(shares) / len(shares)
    return WITHIN if largest <= METRIC_TOLERANCE or mean <= allowed.reading else DIFFERENT


FILE = "verification.json"
SCHEMA = 1
_KEPT_ITEMS = 20
_SHOWN, _NAMES = 8, 3
_VERDICTS: dict[Outcome, str] = {
    IDENTICAL: "verified: everything is identical",
    WITHIN: "verified: everything is identical or within tolerance",
    DIFFERENT: "NOT verified: something differs",
    UNCHECKED: "not verified in full: something could not be checked",
}
_MARKS: dict[Outcome, str] = {IDENTICAL: "=", WITHIN: "~", DIFFERENT: "!", UNCHECKED: "?"}
_TITLES: dict[Outcome, str] = {
    DIFFERENT: "What differs",
    UNCHECKED: "What could not be checked",
    WITHIN: "What is within tolerance",
}


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The one that weighs most; "identical" where there is none."""
    found = set(outcomes)
    return next((outcome for outcome in _BY_WEIGHT if outcome in found), IDENTICAL)


@dataclass(frozen=True)
class Item:
    """One thing that was checked.

    name: what it is. outcome: how it compares. difference: the largest difference in the unit of
    its group, None where there is none to give. detail: one sentence on what differs and why, ""
    where nothing does.
    """

    name: str
    outcome: Outcome
    difference: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Group:
    """Checks of one kind.

    name: "study", "weights", "sources", "pictures", "cells", "table", "maps", "readings", "trials"
    or "report".
    what: what the items are, in the plural. unit: of `Item.difference`. note: one sentence on the
    group as a whole, or "".
    """

    name: str
    what: str
    items: tuple[Item, ...]
    unit: str = ""
    note: str = ""

    @classmethod
    def unchecked(cls, name: str, what: str, reason: str) -> Group:
        """A group of which nothing could be checked."""
        return cls(name, what, (Item(what, UNCHECKED, detail=reason),))

    def count(self, outcome: Outcome) -> int:
        """How many items came out so."""
        return sum(item.outcome == outcome for item in self.items)

    @property
    def outcome(self) -> Outcome:
        """The worst outcome among the items; "identical" for a group without any."""
        return worst(item.outcome for item in self.items)

    @property
    def largest(self) -> float | None:
        """The largest difference that was measured, None if none was."""
        known = [item.difference for item in self.items if item.difference is not None]
        return max(known, default=None)

    def figures(self) -> dict[str, Any]:
        """The group in figures, without its items."""
        return {
            "name": self.name,
            "what": self.what,
            "outcome": self.outcome,
            "total": len(self.items),
            **{outcome.replace(" ", "_"): self.count(outcome) for outcome in _MARKS},
            "largest_difference": self.largest,
            "unit": self.unit,
            "note": self.note,
        }


@dataclass(frozen=True)
class Verification:
    """The result of verifying a run.

    digest: hash of what was verified (`workbench.verify.stored.run_digest`). conditions: name ->
    (when the run was made, now), for whatever is not the same. now: versions and device of the
    verification. seed: what chose the trials that were made again.
    """

    run: str
    when: str
    digest: str
    groups: tuple[Group, ...]
    conditions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    now: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def outcome(self) -> Outcome:
        """The worst outcome of all groups."""
        return worst(group.outcome for group in self.groups)

    @property
    def exit_code(self) -> int:
        """0: identical or within tolerance. 1: something differs. 2: something not checked."""
        return EXIT_CODES[self.outcome]

    def group(self, name: str) -> Group | None:
        """One group by name."""
        return next((group for group in self.groups if group.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values, every item included."""
        allowed = tolerance(self.now.get("dtype"))
        return {
            "run": self.run,
            "when": self.when,
            "result": self.outcome,
            "exit_code": self.exit_code,
            "digest": self.digest,
            "seed": self.seed,
            "tolerances": {**asdict(allowed), "readings": METRIC_TOLERANCE},
            "conditions": {name: list(pair) for name, pair in self.conditions.items()},
            "now": dict(self.now),
            "groups": [
                {**group.figures(), "items": [asdict(item) for item in group.items]}
                for group in self.groups
            ],
        }


def as_text(result: Verification) -> str:
    """The result for a terminal: the summary first, then what differs."""
    lines = [f"{result.run}: {_VERDICTS[result.outcome]}", ""]
    width = max(len(group.what) for group in result.groups)
    lines += [f"  {_summary(group, width, result.seed)}" for group in result.groups]
    for outcome, title in _TITLES.items():
        details = [line for group in result.groups for line in _details(group, outcome)]
        lines += ["", title, *details] if details else []
    if result.conditions:
        lines += ["", "Conditions that are not those of the run"]
        lines += [f"  {name}: {old} -> {new}" for name, (old, new) in result.conditions.items()]
    return "\n".join(map(printable, lines))


def _summary(group: Group, width: int, seed: int) -> str:
    counts = _counts(group.figures()) if group.items else "none"
    line = f"{_MARKS[group.outcome]} {group.what:<{width}}  {counts}"
    if group.largest:
        line += f"; largest difference {group.largest:.3g} {group.unit}"
    if group.name == "trials" and group.items:
        line += f" (chosen by seed {seed})"
    return f"{line}; {group.note}" if group.note else line


def _details(group: Group, outcome: Outcome) -> list[str]:
    """What is said of the group's items of one outcome; those of which the same is said at once."""
    alike: dict[str, list[str]] = {}
    for item in group.items:
        if item.outcome == outcome:
            alike.setdefault(item.detail, []).append(item.name)
    if not alike:
        return []
    lines, told = [f"  {group.what}"], 0
    for detail, names in list(alike.items())[:_SHOWN]:
        more = f" and {len(names) - _NAMES:,} more" if len(names) > _NAMES else ""
        lines.append(f"    {', '.join(names[:_NAMES])}{more}: {detail}")
        told += len(names)
    left = group.count(outcome) - told
    return [*lines, f"    … and {left:,} more; --json lists them all"] if left else lines


def _counts(figures: Mapping[str, Any], what: str = "") -> str:
    """ "198 of 198 identical", or the parts: "190 identical, 8 within tolerance"."""
    total = int(figures["total"])
    found = [(count, word) for word in _MARKS if (count := int(figures[word.replace(" ", "_")]))]
    if len(found) == 1:
        return f"{found[0][0]:,} of {total:,} {what and f'{what} '}{found[0][1]}"
    parts = ", ".join(f"{count:,} {word}" for count, word in found)
    return f"{total:,} {what}: {parts}" if what else parts


def write_state(run: RunFolder, result: Verification) -> None:
    """Keep the result in the run folder, small: figures, and the first items that differ.

    OSError where the folder cannot be written.
    """
    values = {"schema": SCHEMA, **result.to_dict()}
    for name in ("run", "exit_code"):
        del values[name]
    for group in values["groups"]:
        odd = [item for item in group["items"] if item["outcome"] != IDENTICAL]
        group["items"] = odd[:_KEPT_ITEMS]
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(run.path / FILE, text.encode("utf-8"))


def read_state(run: RunFolder) -> dict[str, Any] | None:
    """The kept result, or None if there is none that can be read."""
    try:
        state = run.read_json(FILE)
    except StoreError:
        return None
    return state if isinstance(state, dict) and state.get("schema") == SCHEMA else None


def state_sentence(run: RunFolder, digest: str) -> str:
    """The verification state of a run in one or two sentences, for its report.

    Args:
        digest: of the run as it is (`workbench.verify.stored.run_digest`).
    """
    how = f"run “workbench verify” with the path of this run folder ({run.path.name})"
    state = read_state(run)
    if state is None:
        return f"Not verified: {how}."
    try:
        day = str(state["when"]).replace("T", " ")[:16] + " UTC"
        groups = {str(group["name"]): group for group in state["groups"]}
        found = "; ".join(
            _counts(groups[name], what) if groups.get(name, {}).get("total") else f"no {what}"
            for name, what in (
                ("pictures", "pictures and records checked"),
                ("readings", "pictures re-measured"),
                ("trials", "trials regenerated"),
            )
        )
        if state["digest"] != digest:
            return f"Verified on {day}, but the run has changed since: {how} again."
        if state["result"] == DIFFERENT:
            count = sum(int(group["different"]) for group in groups.values())
            noun = "difference" if count == 1 else "differences"
            return f"Verification on {day} found {count} {noun}: {found}."
        if state["result"] == UNCHECKED:
            count = sum(int(group["not_checked"]) for group in groups.values())
            noun = "item" if count == 1 else "items"
            return f"Verified in part on {day}, {count} {noun} could not be checked: {found}."
        return f"Verified on {day}: {found}."
    except (KeyError, TypeError, ValueError, AttributeError):
        return f"Not verified: {how}."
