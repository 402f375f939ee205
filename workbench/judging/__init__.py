"""Judges of words held against a person's own labelled pictures.

`audit_judge` reads a folder of pictures with `labels.csv` by a judge of words; the result is kept
(`keep_audit`) and shown with every run whose words that judge reads (`standing`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench.judging.figures import Figure, WordFigures, word_figures
from workbench.judging.labels import COLUMNS, LABELS, MIN_ROWS, Label, LabelError, read_labels
from workbench.judging.stored import (
    NOT_VALIDATED,
    WEAKER,
    JudgeAudit,
    Standing,
    audits_path,
    find_audit,
    keep_audit,
    now,
    standing,
    standing_of,
)

if TYPE_CHECKING:
    from workbench.families.words import WordJudge

__all__ = [
    "COLUMNS",
    "LABELS",
    "MIN_ROWS",
    "NOT_VALIDATED",
    "WEAKER",
    "Figure",
    "JudgeAudit",
    "Label",
    "LabelError",
    "Standing",
    "WordFigures",
    "audit_judge",
    "audits_path",
    "find_audit",
    "keep_audit",
    "read_labels",
    "standing",
    "standing_of",
]


def audit_judge(folder: Path, judge: WordJudge, family: str, weights: str) -> JudgeAudit:
    """Hold a judge of words against the labelled pictures of a folder.

    Args:
        folder: the pictures, and `labels.csv` with the columns picture, word, label.
        judge: reads them, each picture once for all its words.
        family, weights: what tells the judge from others, for the file of audits.

    Raises:
        LabelError: the labels cannot be used, or the judge cannot be asked about a word.
        ImageError: a picture cannot be read.
    """
    from workbench.images import read_image

    labels = read_labels(folder)
    for word in dict.fromkeys(label.word for label in labels):
        if not judge.knows(word):
            raise LabelError(
                f'the judge of words ({judge.name}) cannot be asked about "{word}": take it out of '
                f"{LABELS}, or name a --study that gives it alternatives or another judge"
            )
    asked: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        asked.setdefault(label.picture, []).append(index)
    probability, seen = np.zeros(len(labels)), np.zeros(len(labels), bool)
    for picture, places in asked.items():
        found = judge.read([read_image(folder / picture)], [labels[i].word for i in places])
        probability[places], seen[places] = found.probability[0], found.seen[0]
    pictures = np.array([label.picture for label in labels])
    shown = np.array([label.shown for label in labels])
    words = np.array([label.word for label in labels])

    def figures(word: str, mine: np.ndarray) -> WordFigures:
        return word_figures(word, pictures[mine], shown[mine], probability[mine], seen[mine])

    each = tuple(figures(str(word), words == word) for word in dict.fromkeys(words))
    total = figures("", np.ones(len(labels), bool))
    return JudgeAudit(family, weights, judge.name, now(), total, each)
