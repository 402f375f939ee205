"""Does the judge of words find what outsiders find, on conflicts that nobody has seen?

    python benchmarks/unseen.py [depth canny ...] [--runs FOLDER]

Sources are the first 24 scenes from seed 970000 on, which nothing else uses, that show a boy with
short hair; the prompt asks for a girl with long hair, in two tags and in seven. For each control
type a study is run in FOLDER (50 pictures, once), and the auditor and the pixel detectors look at
the same pictures. Printed for each silhouette word, at scale 1.6: the share of pictures that show
it by the judge, with the report's 95 % interval over sources, and by the auditor; then, in those
pictures in which the detectors can tell, by them and by the judge. The last columns say whether
both find the word in more, or in less, than half of the pictures, and whether the auditor's share
lies in the judge's interval, or that of the detectors is the judge's on the same pictures.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import workbench as wb
from workbench.analysis import per_tag
from workbench.analysis.tags import OBEYED, silhouette_tags
from workbench.paperdoll import TAG_GROUPS, sample_scene
from workbench.paths import models_dir
from workbench.training.audit.conflicts import label
from workbench.training.audit.pixels import UNSURE

if TYPE_CHECKING:
    import pandas as pd

    from workbench.runs import Run

FIRST, COUNT = 970_000, 24
CONTRADICTING = {"a boy", "short hair"}
LENGTHS, SCALE = (2, 7), 1.6


def main() -> None:
    """Run the studies or take up their runs, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("controls", nargs="*", default=["depth", "canny"])
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="FOLDER")
    options = parser.parse_args()
    print("| control, prompt | word | judge | auditor | pixels | judge there | auditor | pixels |")
    print("|---|---|--:|--:|--:|--:|---|---|")
    for control in options.controls:
        run = wb.run(study(control), options.runs / f"unseen-{control}")
        for length in LENGTHS:
            for row in rows(run, length):
                print(f"| {control}, {length} tags | {row} |", flush=True)


def study(control: str) -> wb.Study:
    """Both silhouette words of the prompt contradict all sources."""
    scenes = (n for n in itertools.count(FIRST) if set(sample_scene(n).tags) >= CONTRADICTING)
    return wb.Study.from_dict(
        {
            "name": f"unseen-{control}",
            "sources": [f"paperdoll:{n}" for n in itertools.islice(scenes, COUNT)],
            "controls": [control],
            "prompt": "a girl, long hair, blond hair, black eyes, black coat, winter, snow",
            "lengths": list(LENGTHS),
            "scales": [0, SCALE],
            "seeds": [1],
        }
    )


def rows(run: Run, length: int) -> Iterator[str]:
    """The silhouette words of one prompt, by each who looked."""
    table = run.table[(run.table["length"] == length) & (run.table["scale"] == SCALE)]
    auditor, pixels = (retold(table, seen) for seen in outsiders(run))
    there = table.assign(value=table["value"].where(pixels["value"].notna()))
    frames = [table, auditor, pixels, there]
    found = [per_tag(frame, prefix=OBEYED).set_index("tag") for frame in frames]
    for tag in [tag for tag in found[0].index if tag in silhouette_tags()]:
        judge, heard, seen, beside = (known.reindex([tag]).iloc[0] for known in found)
        inside = judge["low"] - 1e-9 <= heard["mean"] <= judge["high"] + 1e-9
        told = f"{seen['mean']:.2f} of {seen['n_sources']:.0f} | {beside['mean']:.2f}"
        yield (
            f"{tag} | {judge['mean']:.2f} [{judge['low']:.2f}, {judge['high']:.2f}] "
            f"| {heard['mean']:.2f} | {'cannot tell | ' if np.isnan(seen['mean']) else told} "
            f"| {agreed(judge['mean'], heard['mean'], inside)} "
            f"| {agreed(beside['mean'], seen['mean'], np.isclose(beside['mean'], seen['mean']))}"
        )


def agreed(ours: float, theirs: float, alike: bool) -> str:
    """Whether two shares say the same of a word; nothing where one of them is not known."""
    if np.isnan(ours) or np.isnan(theirs):
        return ""
    verdict = "same verdict" if (ours > 0.5) == (theirs > 0.5) else "**other verdict**"
    return f"{verdict}, {'same size' if alike else '**other size**'}"


def outsiders(run: Run) -> Iterator[dict[tuple[str, str], float]]:
    """What the auditor sees, then the detectors: (trial, tag) -> 1 or 0, NaN if they can't tell."""
    trials = list(dict.fromkeys(run.table["trial"]))
    made = label(np.stack([run.picture(t) for t in trials]), [], models_dir() / "paperdoll")
    for answers in (made.auditor, made.pixels):
        yield {
            (trial, tag): np.nan if seen == UNSURE else float(seen == index)
            for trial, groups in zip(trials, answers, strict=True)
            for tags, seen in zip(TAG_GROUPS.values(), groups, strict=True)
            for index, tag in enumerate(tags)
        }


def retold(table: pd.DataFrame, seen: dict[tuple[str, str], float]) -> pd.DataFrame:
    """The table of a run with an outsider's answers in place of the judge's."""
    told = table["metric"].str.startswith(OBEYED)
    tags = table.loc[told, "metric"].str.slice(len(OBEYED))
    frame = table.copy()
    frame.loc[told, "value"] = [
        seen[pair] for pair in zip(table.loc[told, "trial"], tags, strict=True)
    ]
    return frame


if __name__ == "__main__":
    main()
