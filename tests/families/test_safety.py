"""Protects: a safety checker is off unless asked for, and what it blocks is a reason, no number."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_hub import FakeHub, files_in, serving, small_hub
from samples import make_samples
from tiny_families import COMMIT, snapshot
from tiny_models import FAMILY, SIDE, make_maps, make_trial
from tiny_safety import block_like, write_checker

from workbench.families import Family, FamilyError, LocateError, ModelRef, get_family
from workbench.families.check import require_models
from workbench.families.manager import ModelManager
from workbench.families.safety import BLOCKED

TRIALS = [make_trial(seed=seed) for seed in range(3)]
MAPS = make_maps()


@pytest.fixture(scope="module")
def guarded(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny models, of which one base brings a safety checker along."""
    folder = tmp_path_factory.mktemp("guarded")
    shutil.copytree(models, folder, dirs_exist_ok=True)
    write_checker(folder / "tiny" / "base")
    return folder


def pictures(manager: ModelManager) -> list[Any]:
    return make_samples(TRIALS, MAPS, manager)


def test_a_blocked_picture_is_a_failed_trial_and_the_others_are_untouched(guarded: Path) -> None:
    plain = pictures(ModelManager(FAMILY, models_dir=guarded))
    manager = ModelManager(FAMILY, models_dir=guarded, checks_safety=True)
    block_like(manager.safety_checker(), plain[1].image)
    checked = pictures(manager)
    assert [result.failed_reason for result in checked] == ["", BLOCKED, ""]
    assert checked[1].image is None
    for place in (0, 2):
        assert (checked[place].image == plain[place].image).all()
    assert not any(result.failed_reason for result in plain), "off unless asked for"


def test_the_checker_computes_in_float32_as_judges_do(guarded: Path) -> None:
    manager = ModelManager(FAMILY, models_dir=guarded, dtype="float16", checks_safety=True)
    assert manager.safety_checker().model.dtype == torch.float32
    assert manager.safety_checker() is manager.safety_checker()
    grey = np.full((SIDE, SIDE, 3), 90, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    block_like(manager.safety_checker(), grey)
    assert manager.safety_checker().blocked([grey, noise, grey]) == [True, False, True]


def test_a_base_without_a_checker_is_refused_with_one_sentence(guarded: Path) -> None:
    manager = ModelManager(FAMILY, "ink", models_dir=guarded, checks_safety=True)
    with pytest.raises(FamilyError, match=r"tiny/ink comes without a safety checker") as caught:
        manager.safety_checker()
    assert "\n" not in str(caught.value)


def test_weights_that_are_missing_are_the_same_refusal(guarded: Path, tmp_path: Path) -> None:
    shutil.copytree(guarded, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tiny/base/safety_checker/model.safetensors").unlink()
    with pytest.raises(FamilyError, match="without a safety checker"):
        ModelManager(FAMILY, models_dir=tmp_path).safety_checker()


@pytest.fixture
def hub(guarded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with the guarded base model, from which the base was fetched without its checker."""
    source = guarded / "tiny" / "base"
    with serving(small_hub({"some/base": files_in(source)}, COMMIT), tmp_path, monkeypatch) as hub:
        shutil.copytree(guarded / "tiny", tmp_path / "models" / "tiny")
        without = shutil.ignore_patterns("safety_checker")
        shutil.copytree(source, snapshot(tmp_path / "hub", "some/base"), ignore=without)
        yield hub


FETCHED = FAMILY.model_copy(update={"base": {"render": ModelRef(repo="some/base")}})


def test_the_checker_of_a_fetched_base_is_fetched_when_it_is_asked_for(hub: FakeHub) -> None:
    (missing,) = require_models(FETCHED, ["render"], safety_checker=True)
    assert hub.asked == []
    manager = ModelManager(FETCHED, checks_safety=True)
    grey = np.full((SIDE, SIDE, 3), 90, np.uint8)
    assert manager.safety_checker().blocked([grey]) in ([True], [False])
    assert "some/base/safety_checker/model.safetensors" in hub.asked
    assert sorted(hub.asked) == sorted(f"some/base/{file.name}" for file in missing.missing)
    assert {name.split("/")[2] for name in hub.asked} <= {"safety_checker", "feature_extractor"}


def refusal(family: Family, base: str = "render") -> str:
    with pytest.raises(LocateError) as caught:
        require_models(family, [base], safety_checker=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_checker_that_cannot_come_is_refused_before_any_work(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "tiny/ink, comes without one" in refusal(FAMILY, "ink")
    known = hub.repos["some/base"]
    files = {k: v for k, v in known.files.items() if not k.startswith("safety_checker")}
    hub.repos["some/base"] = replace(known, files=files)
    assert "some/base, comes without one" in refusal(FETCHED)
    monkeypatch.setenv("WORKBENCH_OFFLINE", "1")
    assert "run once without --offline" in refusal(FETCHED)


@pytest.mark.parametrize("name", ["sdxl", "sd35"])
@pytest.mark.usefixtures("hub")
def test_an_architecture_without_checkers_is_refused(name: str) -> None:
    architecture = get_family(name).architecture
    family = FAMILY.model_copy(update={"architecture": architecture})
    with pytest.raises(LocateError, match=f"architecture {architecture} have none"):
        require_models(family, ["render"], safety_checker=True)
