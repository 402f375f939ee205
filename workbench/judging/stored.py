"""Audits of judges of words, kept among the user's settings and shown with every run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.atomic import write_atomic
from workbench.judging.figures import Figure, WordFigures
from workbench.paths import config_dir
from workbench.prompts import parse_tags
from workbench.store import RunFolder, StoreError, plain
from workbench.study.jsontext import parse_json

FILE = "judge-audit.json"
SCHEMA = 1
_MAX_BYTES = 8 * 2**20
_MAX_VALUES = 200_000
NOT_VALIDATED = "nobody has validated the judge of words on such pictures"
"""What is said where nobody has held the judge against labelled pictures."""

WEAKER = "with the word against without it, which is weaker"
"""What is said of words without alternatives that CLIP has to judge."""


@dataclass(frozen=True)
class JudgeAudit:
    """How a judge of words did on a person's own labelled pictures.

    family: its name. weights: what tells the judge's weights (`families.words.judge_weights`).
    judge: its name. when: ISO 8601. total: over all labels; words: of each word.
    """

    family: str
    weights: str
    judge: str
    when: str
    total: WordFigures
    words: tuple[WordFigures, ...]

    @property
    def short(self) -> str:
        """ "right in 88 % (77–94) of 52 labelled pictures"."""
        return f"right in {self._share} of {self._count('labelled')}"

    @property
    def sentence(self) -> str:
        """The result in one sentence, and for which words it was asked."""
        names = ", ".join(f"“{word.word}”" for word in self.words)
        return (
            f"On {self._count('of your labelled')} the judge was right in {self._share}; it was "
            f"asked about {names}."
        )

    @property
    def _share(self) -> str:
        right = self.total.right
        return f"{100 * right.value:.0f} % ({100 * right.low:.0f}–{100 * right.high:.0f})"

    def _count(self, which: str) -> str:
        count = self.total.pictures
        return f"{count} {which} {'picture' if count == 1 else 'pictures'}"


def audits_path() -> Path:
    """The file of all audits that this user has made."""
    return config_dir() / FILE


def keep_audit(audit: JudgeAudit) -> Path:
    """Write an audit down, in place of an earlier one of the same judge; the path of the file.

    OSError if it cannot be written.
    """
    path = audits_path()
    kept = {**_read(path), _key(audit.family, audit.weights): plain(asdict(audit))}
    text = json.dumps({"schema": SCHEMA, "audits": kept}, indent=1, allow_nan=False)
    write_atomic(path, f"{text}\n".encode())
    return path


def find_audit(family: str, weights: str) -> JudgeAudit | None:
    """The audit of a family's judge with these weights; None if nobody made one here."""
    values = _read(audits_path()).get(_key(family, weights))
    try:
        return None if values is None else _audit(values)
    except (TypeError, KeyError, ValueError):
        return None


def now() -> str:
    """The time of an audit, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Standing:
    """What is known of the judge of a run's words.

    short: a few words, for a table. sentence: for a reader of findings. unknown: words of the run
    that the judge does not know and about which CLIP is asked inside the prompt.
    """

    short: str
    sentence: str
    unknown: tuple[str, ...] = ()


def standing(run: RunFolder, family: str) -> Standing:
    """Who judges the words of a run, and what that was validated on.

    A run of an earlier version did not say who judged: that was CLIP, each word inside the prompt.
    """
    try:
        manifest = run.read_manifest()
    except StoreError:
        manifest = None
    return standing_of((manifest.words if manifest else None) or {}, family)


def standing_of(facts: Mapping[str, Any], family: str) -> Standing:
    """The same from what a manifest says (`ModelManager.word_facts`).

    Your own audit comes first, then what the judge itself was validated on.
    """
    judge, validated, weights, unknown = (
        str(facts.get(name) or "") for name in ("judge", "validated", "weights", "unknown")
    )
    short, rest = NOT_VALIDATED, f"; {NOT_VALIDATED}: {_way_out(family)}."
    if weights and (audit := find_audit(family, weights)):
        short, rest = audit.short, f". {audit.sentence}"
    elif validated:
        short, rest = f"validated: {validated}", f". Validated: {validated.rstrip('.')}."
    weak = parse_tags(unknown)
    if weak:
        names = ", ".join(f"“{word}”" for word in weak)
        rest += f" CLIP is asked about {names} inside the prompt, {WEAKER}."
    who = f"Words are judged by {judge or 'CLIP, each word inside the prompt'}"
    return Standing(short, who + rest, weak)


def _way_out(family: str) -> str:
    command = f"workbench audit judge --family {family or 'FAMILY'} FOLDER"
    return f"“{command}” does, on your own pictures"


def _key(family: str, weights: str) -> str:
    return f"{family}/{weights}"


def _read(path: Path) -> dict[str, Any]:
    """The audits in a file; a damaged or foreign one counts as empty."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return {}
        raw = parse_json(path.read_bytes(), _MAX_VALUES)
    except (OSError, ValueError):
        return {}
    known = isinstance(raw, dict) and raw.get("schema") == SCHEMA
    audits = raw.get("audits") if known else None
    return audits if isinstance(audits, dict) else {}


def _audit(values: dict[str, Any]) -> JudgeAudit:
    words = tuple(_figures(word) for word in values["words"])
    return JudgeAudit(**{**values, "total": _figures(values["total"]), "words": words})


def _figures(values: dict[str, Any]) -> WordFigures:
    """The figures of a word; what could not be counted is null in the file."""
    found: dict[str, Any] = {
        name: Figure(**{key: math.nan if end is None else float(end) for key, end in value.items()})
        for name, value in values.items()
        if isinstance(value, dict)
    }
    return WordFigures(**{**values, **found})
