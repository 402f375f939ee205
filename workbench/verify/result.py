"""What a verification found, item by item, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Outcome = Literal["identical", "within tolerance", "different", "not checked"]
IDENTICAL: Outcome = "identical"
WITHIN: Outcome = "within tolerance"
DIFFERENT: Outcome = "different"
UNCHECKED: Outcome = "not checked"
_WORST: tuple[Outcome, ...] = (DIFFERENT, UNCHECKED, WITHIN, IDENTICAL)

PIXEL_TOLERANCE = 2
"""Largest difference of a pixel, of 255, that rounding in another batch size explains."""
METRIC_TOLERANCE = 1e-3
"""Largest difference of a reading, as a share of its metric's range."""


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

    def count(self, outcome: Outcome) -> int:
        """How many items came out so."""
        return sum(item.outcome == outcome for item in self.items)

    @property
    def outcome(self) -> Outcome:
        """The worst outcome among the items; "identical" for a group without any."""
        found = {item.outcome for item in self.items}
        return next((outcome for outcome in _WORST if outcome in found), IDENTICAL)

    @property
    def largest(self) -> float | None:
        """The largest difference that was measured, None if none was."""
        known = [item.difference for item in self.items if item.difference is not None]
        return max(known, default=None)


@dataclass(frozen=True)
class Verification:
    """The result of verifying a run.

    digest: hash of what was verified (`workbench.verify.digest`). conditions: name -> (when the run
    was made, now), for whatever is not the same. now: versions and device of the verification.
    seed: what chose the trials that were made again.
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
        found = {group.outcome for group in self.groups}
        return next((outcome for outcome in _WORST if outcome in found), IDENTICAL)

    @property
    def exit_code(self) -> int:
        """0: identical or within tolerance. 1: something differs. 2: something not checked."""
        return {IDENTICAL: 0, WITHIN: 0, DIFFERENT: 1, UNCHECKED: 2}[self.outcome]

    def group(self, name: str) -> Group | None:
        """One group by name."""
        return next((group for group in self.groups if group.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values, every item included."""
        return {
            "run": self.run,
            "when": self.when,
            "result": self.outcome,
            "exit_code": self.exit_code,
            "digest": self.digest,
            "seed": self.seed,
            "tolerances": tolerances(),
            "conditions": {k: list(v) for k, v in self.conditions.items()},
            "now": dict(self.now),
            "groups": [
                {**counts(group), "items": [asdict(item) for item in group.items]}
                for group in self.groups
            ],
        }


def counts(group: Group) -> dict[str, Any]:
    """A group in figures, without its items."""
    return {
        "name": group.name,
        "what": group.what,
        "outcome": group.outcome,
        "total": len(group.items),
        "identical": group.count(IDENTICAL),
        "within_tolerance": group.count(WITHIN),
        "different": group.count(DIFFERENT),
        "not_checked": group.count(UNCHECKED),
        "largest_difference": group.largest,
        "unit": group.unit,
        "note": group.note,
    }


def tolerances() -> dict[str, str]:
    """The tolerances in words."""
    return {
        "pixels": f"{PIXEL_TOLERANCE}/255",
        "readings": f"{METRIC_TOLERANCE:g} of the metric's range",
    }
