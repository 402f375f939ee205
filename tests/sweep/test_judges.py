"""Protects: with another judge stored pictures are read anew, and none of them is made again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import NO_WORLD, TinyManager, make_study
from transformers import CLIPModel

import workbench.study.plan
from workbench.controls import get_control
from workbench.families import FamilyError
from workbench.study import Choices, FamilyChoice
from workbench.sweep import dry_run, run_study

OFFERED = {"clip": {"other": {"path": "tiny/other"}}}


@pytest.fixture
def family(models: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tiny family with a second CLIP to choose."""
    folder = models / "tiny" / "other"
    if not folder.is_dir():
        shutil.copytree(models / "tiny" / "clip", folder)
        model = CLIPModel.from_pretrained(folder)
        torch.manual_seed(7)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        model.save_pretrained(folder)
    known = Choices(
        {"paperdoll": FamilyChoice(("render",), ("depth", "canny"), judges={"clip": ("other",)})},
        lambda name: get_control(name).settings_type,
    )
    monkeypatch.setattr(workbench.study.plan, "installed_choices", lambda: known)
    values = NO_WORLD.model_dump() | {"judges": OFFERED}
    return type(NO_WORLD).model_validate(values)


def test_another_clip_reads_the_stored_pictures(family: Any, models: Path, tmp_path: Path) -> None:
    captions = {"paperdoll:900001": "a girl", "paperdoll:900002": "a boy, snow"}
    given: dict[str, Any] = {"captions": captions, "lengths": [], "seeds": [1]}
    first = make_study(**given)
    run = run_study(first, tmp_path / "run", manager=TinyManager(family, models_dir=models))
    before = run.measurements()
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("sample.png")}
    second = make_study(**given, judges={"clip": "other"})
    chosen = family.with_judges(second.judges)
    run = run_study(second, tmp_path / "run", manager=TinyManager(chosen, models_dir=models))
    after = run.measurements()
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("sample.png")} == files
    keys = ["source", "scale", "seed", "metric"]
    old, new = (frame.set_index(keys)["value"].sort_index() for frame in (before, after))
    assert list(old.index) == list(new.index)
    metrics = old.index.get_level_values("metric")
    canny, looks = metrics.str.startswith("canny"), metrics == "clip_source"
    assert (old[canny].dropna() == new[canny].dropna()).all()
    assert (old[looks] != new[looks]).all()
    models_used = run.read_json("manifest.json")["models"]
    assert models_used["clip"] == "tiny/other"
    assert not any(metric.startswith("tag") for metric in after["metric"])


def test_a_dry_run_asks_for_the_chosen_judges(
    family: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("workbench.sweep.estimate.get_family", lambda _: family)
    monkeypatch.setattr(
        "workbench.sweep.estimate.require_plan", lambda _study, _plan, f: seen.append(f) or ("x",)
    )
    study = make_study(judges={"clip": "other"})
    dry_run(study, tmp_path / "run")
    assert seen == [family.with_judges(study.judges)]


def test_models_that_are_not_the_chosen_judges_are_refused(
    family: Any, models: Path, tmp_path: Path
) -> None:
    study = make_study(judges={"clip": "other"})
    with pytest.raises(FamilyError, match="not the judges that the study chooses"):
        run_study(study, tmp_path / "run", manager=TinyManager(family, models_dir=models))
    assert not (tmp_path / "run").exists()
