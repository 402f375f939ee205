"""The conflict set: generated pictures in which prompt and control conflict, with labels.

A picture is labelled in a group of tags where two outsiders say the same: the auditor, a network
trained apart from everything it audits, and the detectors of `pixels`, which are no network. The
set is shipped as pictures, so that judges of words can be held against it anywhere.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench.paperdoll import SIDE, TAG_GROUPS
from workbench.training.audit.figures import Figure
from workbench.training.audit.pixels import UNSURE, pixel_answers
from workbench.training.conflict import Conflict

if TYPE_CHECKING:
    from workbench.families.words import WordJudge

CONFLICTS = "conflicts"
"""The shipped set's folder in the data folder."""
COLUMNS = 24
"""Pictures in a row of the shipped sheet."""
SHEET, LABELS = "pictures.webp", "labels.csv"
LEAST = 10
"""A tag needs so many pictures that show it, and that do not, to be judged by."""


@dataclass(frozen=True)
class ConflictSet:
    """Pictures of conflicts and what two outsiders see in them.

    Attributes:
        rgb: uint8 (N, 128, 128, 3).
        conflicts: how each was made.
        auditor, pixels: int (N, 8), index of the tag seen in each group; `pixels` has `UNSURE`.
    """

    rgb: np.ndarray
    conflicts: tuple[Conflict, ...]
    auditor: np.ndarray
    pixels: np.ndarray

    @property
    def agreed(self) -> np.ndarray:
        """What both outsiders see, int (N, 8); `UNSURE` where they differ or cannot tell."""
        return np.where(self.auditor == self.pixels, self.pixels, UNSURE)


def label(rgb: np.ndarray, conflicts: Sequence[Conflict], models_dir: Path) -> ConflictSet:
    """Let the auditor and the pixel detectors look at pictures of conflicts."""
    from workbench.families.judge import load_judge
    from workbench.training.auditor import load_auditor

    read = load_judge(models_dir / "judge").read(rgb, ("segmentation", "pose"))
    pixels = pixel_answers(rgb, read["pose"][:, 0], read["segmentation"])
    auditor = load_auditor(models_dir / "auditor").read(rgb)
    return ConflictSet(rgb, tuple(conflicts), auditor, pixels)


def save_set(made: ConflictSet, folder: Path) -> None:
    """Write the pictures as one lossless sheet and a table of how they were made and labelled."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rows = -(-len(made.rgb) // COLUMNS)
    sheet = np.zeros((rows * SIDE, COLUMNS * SIDE, 3), np.uint8)
    for i, picture in enumerate(made.rgb):
        y, x = i // COLUMNS * SIDE, i % COLUMNS * SIDE
        sheet[y : y + SIDE, x : x + SIDE] = picture
    Image.fromarray(sheet).save(folder / SHEET, lossless=True, quality=60, method=4)
    with (folder / LABELS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        groups = [f"{who}:{group}" for who in ("auditor", "pixels") for group in TAG_GROUPS]
        writer.writerow(["source", "control", "base", "scale", "prompt", "seed", *groups])
        for c, heard, seen in zip(made.conflicts, made.auditor, made.pixels, strict=True):
            words = [*_words(heard), *_words(seen)]
            prompt = ", ".join(c.prompt)
            writer.writerow([c.source, c.control, c.base, f"{c.scale:g}", prompt, c.seed, *words])


def load_set(folder: Path) -> ConflictSet:
    """Read what `save_set` wrote.

    Raises:
        FileNotFoundError: if the folder lacks one of the two files.
    """
    from PIL import Image

    with (folder / LABELS).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    sheet = np.asarray(Image.open(folder / SHEET, formats=("WEBP",)).convert("RGB"))
    tiles = sheet.reshape(-1, SIDE, COLUMNS, SIDE, 3).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)
    conflicts = tuple(
        Conflict(
            int(row["source"]), row["control"], row["base"], float(row["scale"]),
            tuple(row["prompt"].split(", ")), int(row["seed"]),
        )
        for row in rows
    )  # fmt: skip
    auditor, pixels = (
        np.array([[_index(group, row[f"{who}:{group}"]) for group in TAG_GROUPS] for row in rows])
        for who in ("auditor", "pixels")
    )
    return ConflictSet(tiles[: len(rows)], conflicts, auditor, pixels)


@dataclass(frozen=True)
class Verdict:
    """How right a judge is about one word, on pictures whose label is known.

    Attributes:
        word: the tag.
        shown, others: pictures that show it, and that do not.
        sensitivity, specificity: shares judged right among them.
        error: expected calibration error of its probabilities, NaN for a judge without any.
    """

    word: str
    shown: int
    others: int
    sensitivity: float
    specificity: float
    error: float

    @property
    def balanced(self) -> float:
        """Balanced accuracy."""
        return (self.sensitivity + self.specificity) / 2


def verdicts(
    seen: np.ndarray, truth: np.ndarray, probability: np.ndarray | None = None
) -> list[Verdict]:
    """A judge against labels, word by word; words with fewer than `LEAST` pictures are left out.

    Args:
        seen: bool (N, words), all tags in group order. truth: int (N, 8), `UNSURE` where unknown.
        probability: float (N, words).
    """
    found, column = [], 0
    for group, tags in enumerate(TAG_GROUPS.values()):
        known = truth[:, group] != UNSURE
        for index, tag in enumerate(tags):
            shows = truth[known, group] == index
            said = seen[known, column]
            if min(shows.sum(), (~shows).sum()) >= LEAST:
                sure = None if probability is None else probability[known, column]
                error = np.nan if sure is None else calibration_error(sure, shows)
                found.append(
                    Verdict(
                        tag, int(shows.sum()), int((~shows).sum()),
                        float(said[shows].mean()), float((~said[~shows]).mean()), float(error),
                    )
                )  # fmt: skip
            column += 1
    return found


def calibration_error(probability: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error over ten equal bins: float (N,) in [0, 1] against bool (N,).

    M. Naeini, G. Cooper and M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
    binning", AAAI 2015, as in torchmetrics.
    """
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    target = torch.from_numpy(np.asarray(truth, np.int64))
    return float(binary_calibration_error(torch.from_numpy(probability), target, n_bins=10))


def conflict_figures(
    folder: Path, judges: Sequence[tuple[str, WordJudge, bool]]
) -> Iterator[Figure]:
    """Balanced accuracy of judges of words, and of the auditor, on the conflict set.

    Args:
        folder: of the shipped set.
        judges: name, judge, and whether the family's targets hold for it.
    """
    made = load_set(folder)
    words = [tag for tags in TAG_GROUPS.values() for tag in tags]
    share = float(np.mean(made.agreed != UNSURE))
    yield Figure(f"conflict set, {len(made.rgb)} pictures: labels agreed upon", share)
    for name, judge, held in judges:
        read = judge.read(list(made.rgb), words)
        yield from _told(name, verdicts(read.seen, made.agreed, read.probability), held)
    starts = np.cumsum([0, *(len(tags) for tags in TAG_GROUPS.values())])[:-1]
    heard = np.zeros((len(made.rgb), len(words)), bool)
    for group, start in enumerate(starts):
        heard[np.arange(len(heard)), start + made.auditor[:, group]] = True
    yield from _told("auditor, against pixels alone", verdicts(heard, made.pixels), False)


def _told(name: str, found: Sequence[Verdict], held: bool) -> Iterator[Figure]:
    about = f"conflict set, {name}"
    for verdict in found:
        least = 0.90 if held else None
        yield Figure(f"{about}: balanced accuracy, {verdict.word}", verdict.balanced, least=least)
    mean = float(np.mean([verdict.balanced for verdict in found]))
    yield Figure(f"{about}: mean balanced accuracy", mean, least=0.95 if held else None)
    errors = [verdict.error for verdict in found]
    if np.isfinite(errors).all():
        worst = float(np.max(errors))
        most = 0.05 if held else None
        yield Figure(f"{about}: worst calibration error of a word", worst, most=most)


def _words(indices: np.ndarray) -> list[str]:
    groups = zip(TAG_GROUPS.values(), indices, strict=True)
    return ["" if index == UNSURE else tags[int(index)] for tags, index in groups]


def _index(group: str, word: str) -> int:
    return TAG_GROUPS[group].index(word) if word else UNSURE
