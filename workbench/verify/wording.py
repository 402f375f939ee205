"""A verification as text: the summary first, then what differs."""

from __future__ import annotations

from workbench.verify.result import (
    DIFFERENT,
    IDENTICAL,
    UNCHECKED,
    WITHIN,
    Group,
    Item,
    Outcome,
    Verification,
)
from workbench.verify.state import group_figures

SHOWN = 8
NAMES = 3
_VERDICTS: dict[Outcome, str] = {
    IDENTICAL: "verified: everything is identical",
    WITHIN: "verified: everything is identical or within tolerance",
    DIFFERENT: "NOT verified: something differs",
    UNCHECKED: "not verified in full: something could not be checked",
}
_MARKS: dict[Outcome, str] = {IDENTICAL: "=", WITHIN: "~", DIFFERENT: "!", UNCHECKED: "?"}


def as_text(result: Verification) -> str:
    """The result for a terminal."""
    lines = [f"{result.run}: {_VERDICTS[result.outcome]}", ""]
    width = max(len(group.what) for group in result.groups)
    lines += [f"  {_summary(group, width, result.seed)}" for group in result.groups]
    for outcome, title in (
        (DIFFERENT, "What differs"),
        (UNCHECKED, "What could not be checked"),
        (WITHIN, "What is within tolerance"),
    ):
        lines += _details(result, outcome, title)
    if result.conditions:
        lines += ["", "Conditions that are not those of the run"]
        lines += [f"  {name}: {old} -> {new}" for name, (old, new) in result.conditions.items()]
    return "\n".join(map(_printable, lines))


def _printable(line: str) -> str:
    """A line without what would steer the terminal: names and reasons come from the run's files."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def _summary(group: Group, width: int, seed: int) -> str:
    figures = group_figures(group) if group.items else "none"
    line = f"{_MARKS[group.outcome]} {group.what:<{width}}  {figures}"
    if group.largest:
        line += f"; largest difference {group.largest:.3g} {group.unit}"
    if group.name == "trials" and group.items:
        line += f" (chosen by seed {seed})"
    return f"{line}; {group.note}" if group.note else line


def _details(result: Verification, outcome: Outcome, title: str) -> list[str]:
    found: list[tuple[Group, Item]] = [
        (group, item) for group in result.groups for item in group.items if item.outcome == outcome
    ]
    if not found:
        return []
    lines = ["", title]
    for group in result.groups:
        items = [item for owner, item in found if owner is group]
        if not items:
            continue
        lines.append(f"  {group.what}")
        alike: dict[str, list[str]] = {}
        for item in items:
            alike.setdefault(item.detail, []).append(item.name)
        told = list(alike.items())[:SHOWN]
        lines += [f"    {_names(names)}: {detail}" for detail, names in told]
        left = len(items) - sum(len(names) for _, names in told)
        if left:
            lines.append(f"    … and {left:,} more; --json lists them all")
    return lines


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:NAMES])
    return shown if len(names) <= NAMES else f"{shown} and {len(names) - NAMES:,} more"
