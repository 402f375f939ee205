"""Makes the conflict set, or says how judges of words do on the one that is there.

    python benchmarks/conflicts.py             # the table of the set in data/conflicts
    python benchmarks/conflicts.py --make DIR  # make and label it anew, about 20 minutes

The set: generated pictures in which the source contradicts the prompt, over all control types, both
base checkpoints and scales 0 to 2, labelled where the auditor and pixel detectors agree.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from workbench.families.manager import ModelManager
from workbench.families.words import ClipWords
from workbench.paperdoll import TAG_GROUPS
from workbench.paths import data_dir, models_dir
from workbench.training.audit.conflicts import CONFLICTS, label, load_set, save_set, verdicts
from workbench.training.conflict import SEED, SOURCES, draw_conflicts, make_conflicts


def main() -> None:
    """Read the command line, make the set or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--make", type=Path, metavar="DIR")
    folder = parser.parse_args().make
    manager = ModelManager("paperdoll")
    if folder is not None:
        family = manager.family
        conflicts = draw_conflicts(SEED, SOURCES, list(family.controls), list(family.base))
        pictures = make_conflicts(conflicts, manager)
        save_set(label(pictures, conflicts, models_dir() / "paperdoll"), folder)
    print_table(folder or data_dir() / CONFLICTS, manager)


def print_table(folder: Path, manager: ModelManager) -> None:
    """Balanced accuracy and calibration error of the judge of words and of CLIP, word by word."""
    made = load_set(folder)
    words = [tag for tags in TAG_GROUPS.values() for tag in tags]
    judges = (manager.words(), ClipWords(manager.clip(), manager.family.alternatives({})))
    reads = [judge.read(list(made.rgb), words) for judge in judges]
    tables = [verdicts(read.seen, made.agreed, read.probability) for read in reads]
    print("| word | pictures that show it, others | judge | its error | CLIP | its error |")
    print("|---|--:|--:|--:|--:|--:|")
    for own, clip in zip(*tables, strict=True):
        print(
            f"| {own.word} | {own.shown}, {own.others} | {own.balanced:.3f} | {own.error:.3f} "
            f"| {clip.balanced:.3f} | {clip.error:.3f} |"
        )


if __name__ == "__main__":
    main()
