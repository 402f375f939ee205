"""Protects studies whose prompts vary by more than tags, from the study to the pages of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_run import TinyManager, make_study

import workbench as wb
from workbench import analysis
from workbench.app.grid import extended
from workbench.study.yamlfile import parse_yaml
from workbench.sweep import run_study

LABELS = ("paperdoll:900001", "paperdoll:900002")
TEXT = "A girl, snow, black coat. It is winter. She smiles."
OWN = dict(zip(LABELS, ("A girl in the snow, winter.", "A boy."), strict=True))
KINDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "words": ({"prompt": TEXT, "unit": "words", "lengths": [2, 5]}, ["2 words", "5 words"]),
    "sentences": (
        {"prompt": TEXT, "unit": "sentences", "lengths": [1, 2]},
        ["1 sentence", "2 sentences"],
    ),
    "tokens": ({"prompt": TEXT, "unit": "tokens", "lengths": [3, 9]}, ["3 tokens", "9 tokens"]),
    "forms": (
        {"prompt": TEXT, "forms": {"short": "A girl, snow", "long": TEXT}, "lengths": []},
        ["short", "long"],
    ),
    "captions": ({"captions": OWN, "unit": "words", "lengths": [1, 4]}, ["1 word", "4 words"]),
    "own forms": (
        {"captions": {k: {"short": t[:6], "long": t} for k, t in OWN.items()}, "lengths": []},
        ["short", "long"],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_runs_and_is_shown(kind: str, manager: TinyManager, tmp_path: Path) -> None:
    values, labels = KINDS[kind]
    study = make_study(seeds=[1], **values)
    run_study(study, tmp_path / "run", manager=manager)
    run = wb.open_run(tmp_path / "run")
    frame = run.table
    named = frame.drop_duplicates("label").sort_values("length")["label"]
    assert [str(label).partition(", cut")[0] for label in named] == labels
    curve = analysis.curve(frame, "clip_full", column="value")
    assert list(curve["label"].drop_duplicates()) == list(named)
    page = run.report().read_text("utf-8")
    assert all(label in page and label in run.page().read_text("utf-8") for label in labels)
    assert run.study == study
    if "captions" not in values:
        kept = frame[frame["metric"].str.startswith("tag:")]
        assert set(kept["metric"]) <= {f"tag:{tag}" for tag in study.tags}


def test_a_run_of_another_kind_is_no_grid_of_tags() -> None:
    """So the app begins a new run beside it."""
    words = make_study(**KINDS["words"][0])
    assert extended(words, make_study(prompt=TEXT, lengths=[1])) is None
    assert parse_yaml(words.to_yaml())["unit"] == "words"
