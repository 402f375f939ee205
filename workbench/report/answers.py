"""The findings of a run as statements for reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench import analysis
from workbench.formats import number

if TYPE_CHECKING:
    import pandas as pd

MARKS = {
    "rises": "↑",
    "falls": "↓",
    "no clear effect": "≈",
    "no clear difference": "≈",
    "cannot tell": "?",
    "comes first": "1",
    "by some metrics only": "≈",
    "tips": "↧",
    "": "★",
}
KINDS = {
    "control": "Control",
    "prompt": "Prompt",
    "tags": "Words",
    "length": "Prompt length",
    "interaction": "Prompt length × scale",
    "closeness": "Closeness",
    "diversity": "Diversity",
    "sweet spot": "Sweet spot",
    "pair": "Two controls",
    "ranking": "Ranking",
    "effects": "Type by type",
    "bases": "Between base models",
}
BETWEEN_BASES = "between base models"


@dataclass(frozen=True)
class Statement:
    """One finding as shown: what it is about, a mark for its direction, and the sentence.

    ``claim + evidence + rest`` is the sentence; ``evidence`` is its part in brackets, or "".
    """

    kind: str
    mark: str
    direction: str
    claim: str
    evidence: str
    rest: str


@dataclass(frozen=True)
class Answer:
    """All findings about one control type, one pair of them, or all types against each other."""

    label: str
    statements: tuple[Statement, ...]


def answers(frame: pd.DataFrame, labels: Mapping[str, str]) -> tuple[Answer, ...]:
    """All findings, grouped by what they speak of, in the order of the labels.

    Args:
        labels: control type or pair -> what it is called. What is said of all of them follows, or
            comes first where there are many.
    """
    found: dict[str, list[Statement]] = {control: [] for control in labels}
    for finding in analysis.findings(frame):
        text = finding.text
        head, colon, tail = text.partition(": ")
        # Statements between bases belong to no base, so they stand together and keep their names.
        about = BETWEEN_BASES if finding.kind == "bases" else finding.control
        if colon and head.lower() == about.lower():
            text = tail[:1].upper() + tail[1:]
        found.setdefault(about, []).append(
            Statement(
                KINDS.get(finding.kind, finding.kind.capitalize()),
                MARKS.get(finding.direction, "·"),
                finding.direction or "best",
                *_in_three(text),
            )
        )
    heads = {analysis.ALL_CONTROLS: "All control types", BETWEEN_BASES: "Between base models"}
    names = heads | dict(labels)
    order = [*(name for name in heads if name in found and len(labels) > analysis.FEW)]
    order += [name for name in found if name not in order]
    return tuple(Answer(names.get(name, name), tuple(found[name])) for name in order)


def balance_sentence(
    spots: pd.DataFrame, frame: pd.DataFrame, labels: Mapping[str, str]
) -> tuple[str, ...]:
    """The best balance of prompt and control of each control type, in a sentence; none if nothing.

    Only curves of three scales or more say anything about a best one, and of what is not clearly
    worse over all of them nothing is the best.

    Args:
        spots: as `analysis.sweet_spot` returns them. frame: the labelled long frame.
        labels: control type -> what it is called; of many of them nothing is said here.
    """
    scales = frame[frame["setting"] == "length"].groupby(["control", "length"])["scale"]
    ends = scales.agg(["nunique", "min", "max"])
    told = []
    for control, mine in (
        spots.groupby("control", sort=False) if len(labels) <= analysis.FEW else ()
    ):
        parts = []
        for row in analysis.records(mine):
            end = ends.loc[(control, row["length"])]
            if end["nunique"] < 3 or not row["scale_low"] <= row["scale_high"]:
                continue
            low, high = number(row["scale_low"]), number(row["scale_high"])
            if (row["scale_low"], row["scale_high"]) == (end["min"], end["max"]):
                continue
            within = "" if low == high else f" ({low} to {high} is not clearly worse)"
            parts.append(f"scale {number(row['scale'])} with {row['label']}{within}")
        if parts:
            name = labels.get(str(control), str(control))
            told.append(f"{name} and prompt are in the best balance at {', '.join(parts)}.")
    return tuple(told)


def _in_three(text: str) -> tuple[str, str, str]:
    """A sentence before, in and after its brackets, where it has just one pair of them."""
    if text.count("(") != 1 or text.count(")") != 1 or text.index("(") > text.index(")"):
        return text, "", ""
    start, end = text.index("("), text.index(")") + 1
    return text[:start], text[start:end], text[end:]
