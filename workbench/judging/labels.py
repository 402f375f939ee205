"""A person's own labelled pictures: a folder of them, and `labels.csv` that says what they show."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

LABELS = "labels.csv"
"""The file of labels, in the folder of the pictures."""
COLUMNS = ("picture", "word", "label")
"""The columns of the file of labels: a picture's path in the folder, a word, yes or no."""
MIN_ROWS = 10
"""With fewer labels nothing can be said."""
MAX_BYTES = 8 * 2**20
_ANSWERS = {"yes": True, "no": False}


class LabelError(ValueError):
    """Labelled pictures that cannot be used; the message is one sentence for the user."""


@dataclass(frozen=True)
class Label:
    """What a person says: the picture (a path below the folder) shows the word, or does not."""

    picture: str
    word: str
    shown: bool


def read_labels(folder: Path) -> tuple[Label, ...]:
    """The labels of a folder, each once, in the order of the file.

    Raises:
        LabelError: there is no file, it lacks a column or has another one, a label is neither yes
            nor no, two labels contradict each other, there are fewer than `MIN_ROWS`, or all of
            them say the same.
    """
    path = folder / LABELS
    form = f"its columns are {', '.join(COLUMNS)} (yes or no)"
    if not path.is_file():
        raise LabelError(f"{folder}: there is no {LABELS}; {form}")
    if path.stat().st_size > MAX_BYTES:
        raise LabelError(f"{path}: is larger than {MAX_BYTES >> 20} MiB")
    found: dict[tuple[str, str], Label] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            _check_columns(path, [str(name).strip() for name in rows.fieldnames or ()], form)
            rows.fieldnames = [str(name).strip() for name in rows.fieldnames or ()]
            for row in rows:
                label = _label(row, f"{path}, line {rows.line_num}")
                known = found.setdefault((label.picture, label.word), label)
                if known != label:
                    raise LabelError(
                        f'{path}: {label.picture} is said both to show "{label.word}" and not to'
                    )
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{path}: cannot be read as CSV in UTF-8: {error}") from error
    labels = tuple(found.values())
    if len(labels) < MIN_ROWS:
        raise LabelError(
            f"{path}: has {len(labels)} labels; {MIN_ROWS} are the least, fifty are enough"
        )
    if len({label.shown for label in labels}) == 1:
        said = "yes" if labels[0].shown else "no"
        raise LabelError(
            f"{path}: all labels are {said}; pictures that show a word and pictures that do not "
            "are both needed"
        )
    return labels


def _check_columns(path: Path, names: list[str], form: str) -> None:
    if odd := [name for name in names if name not in COLUMNS]:
        raise LabelError(f'{path}: has a column "{odd[0][:60]}"; {form}')
    if lost := [name for name in COLUMNS if name not in names]:
        raise LabelError(f"{path}: has no column {lost[0]}; {form}")


def _label(row: dict[str, str | None], where: str) -> Label:
    picture, word, said = ((row.get(name) or "").strip() for name in COLUMNS)
    word = " ".join(word.split())
    if None in row or not picture or not word:
        raise LabelError(f"{where}: needs a picture, a word and yes or no")
    if said.lower() not in _ANSWERS:
        raise LabelError(f'{where}: "{said[:60]}" is neither yes nor no')
    return Label(picture, word, _ANSWERS[said.lower()])
