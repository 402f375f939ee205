"""Protects: how a study computes is recorded with the run, never changes which trials there are,
and what a safety checker blocks is a failed trial of the run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import TINY_WORLD, TinyManager, make_study
from tiny_safety import block_like, write_checker

from workbench.families import FamilyError
from workbench.families.safety import BLOCKED
from workbench.store import StoreError
from workbench.study import Study, make_plan
from workbench.sweep import dry_run, run_study
from workbench.sweep.steps import load_manager
from workbench.verify.run import verify_run


def manager_for(study: Study, models: Path) -> TinyManager:
    return TinyManager(
        TINY_WORLD,
        models_dir=models,
        runtime=study.runtime,
        checks_safety=study.safety_checker,
    )


def small(**changes: Any) -> Study:
    fields = {"sources": ["paperdoll:900001"], "lengths": [2], "seeds": [1, 2]}
    return make_study(**(fields | changes))


def test_the_run_records_what_was_asked_and_what_was_in_force(models: Path, tmp_path: Path) -> None:
    study = small(runtime={"attention": "math", "vae_slicing": True}, batch_size="auto")
    run = run_study(study, tmp_path / "run", manager=manager_for(study, models))
    plain = run_study(small(), tmp_path / "plain", manager=manager_for(small(), models))
    told = run.read_json("manifest.json")
    assert told["safety_checker"] is False
    assert told["runtime"]["asked"]["attention"] == "math"
    assert told["runtime"]["in_force"]["canny"]["attention_kernels"].popitem()[1] == "math"
    assert {record.trial.id for record in run.records()} == set(plain.trial_ids())
    for record in run.records():
        assert record.made_by["runtime"]["vae_slicing"] is True
        assert record.made_by["batch_size"] >= 1
        other = plain.read_sample(record.trial.id).astype(int)
        assert np.abs(run.read_sample(record.trial.id) - other).max() <= 2
    assert Study.from_yaml(run.path / "study.yaml") == study


def test_the_study_chooses_whether_pytorch_repeats_itself_and_verify_follows(
    models: Path, tmp_path: Path
) -> None:
    study = small(runtime={"determinism": "usual"})
    run = run_study(study, tmp_path / "run", manager=manager_for(study, models))
    told = run.read_json("manifest.json")
    assert told["runtime"]["asked"]["determinism"] == "usual"
    assert told["deterministic"]["deterministic_algorithms"] is False
    assert all(r.made_by["runtime"]["determinism"] == "usual" for r in run.records())
    found = verify_run(run.path, manager=manager_for(study, models), trials=1)
    assert found is not None and found.conditions == {}, "the same choice is in force there"
    strict = run_study(small(), tmp_path / "strict", manager=manager_for(small(), models))
    assert strict.read_json("manifest.json")["deterministic"]["deterministic_algorithms"] is True
    assert set(strict.trial_ids()) == set(run.trial_ids())


def test_a_picture_carries_how_it_was_made_into_its_own_study(models: Path, tmp_path: Path) -> None:
    from PIL import Image

    study = small(runtime={"attention": "math"})
    run = run_study(study, tmp_path / "run", manager=manager_for(study, models))
    for trial_id in run.trial_ids():
        text = Image.open(run.sample_path(trial_id)).text["workbench_study"]
        assert "attention: math" in text and "vae_slicing" not in text


def test_blocked_pictures_are_failed_trials_with_the_reason(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models, tmp_path / "models")
    write_checker(tmp_path / "models/tiny/base")
    before = run_study(
        small(), tmp_path / "open", manager=manager_for(small(), tmp_path / "models")
    )
    victim = before.trial_ids()[0]
    study = small(safety_checker=True)
    manager = manager_for(study, tmp_path / "models")
    block_like(manager.safety_checker(), before.read_sample(victim))
    run = run_study(study, tmp_path / "run", manager=manager)
    failed = {record.trial.id: record.failed for record in run.records() if record.failed}
    assert failed == {victim: BLOCKED}
    frame = run.measurements()
    mine = frame[frame["trial"] == victim]
    assert len(mine) and mine["value"].isna().all()
    assert f"the sample failed: {BLOCKED}" in set(mine["reason"])
    assert run.read_json("manifest.json")["safety_checker"] is True
    with pytest.raises(StoreError, match=r"with the safety checker on, not off"):
        run_study(small(), run.path, manager=manager_for(small(), tmp_path / "models"))


def test_a_family_without_a_checker_is_refused_before_any_picture(
    models: Path, tmp_path: Path
) -> None:
    study = small(safety_checker=True)
    with pytest.raises(FamilyError, match="without a safety checker"):
        run_study(study, tmp_path / "run", manager=manager_for(study, models))
    assert not list((tmp_path / "run").rglob("sample.png"))


def test_the_tiles_of_a_folder_stay_as_they_are(models: Path, tmp_path: Path) -> None:
    run_study(small(), tmp_path / "run", manager=manager_for(small(), models))
    tiled = small(runtime={"vae_tiling": True}, seeds=[1, 2, 3])
    with pytest.raises(StoreError, match=r"runtime\.vae_tiling off, not on"):
        run_study(tiled, tmp_path / "run", manager=manager_for(tiled, models))


def test_a_study_without_a_number_of_pictures_can_be_estimated(
    models: Path, tmp_path: Path
) -> None:
    study = small(batch_size="auto")
    plan = dry_run(study, tmp_path / "run", manager=manager_for(study, models))
    assert plan.seconds_estimate is not None and plan.seconds_estimate > 0


def test_the_models_are_loaded_as_the_study_says() -> None:
    study = make_study(runtime={"attention": "eager"}, safety_checker=True)
    manager = load_manager(study)
    assert manager.runtime == study.runtime and manager.checks_safety
    assert make_plan(study, resolution=64).trials == make_plan(make_study(), resolution=64).trials
    with pytest.raises(FamilyError, match="computes on the CPU"):
        load_manager(make_study(runtime={"offload": "model"}))
