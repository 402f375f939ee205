"""Protects: a safety checker is off unless asked for, and what it blocks is a reason, no number."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
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


class Hub:
    """A hub with the guarded base model, from which the base was fetched without its checker."""

    def __init__(self, source: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import huggingface_hub

        for name in ("WORKBENCH_OFFLINE", "HF_HUB_OFFLINE"):
            monkeypatch.setenv(name, "")
        self.source, self.root = source, root
        self.folder = snapshot(root, "some/base")
        shutil.copytree(source, self.folder, ignore=shutil.ignore_patterns("safety_checker"))
        self.files = [str(p.relative_to(source)) for p in source.rglob("*") if p.is_file()]
        self.fetched: list[str] = []
        monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_, **__: self.files)
        monkeypatch.setattr(huggingface_hub.HfApi, "auth_check", lambda *_: None)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.download)

    def download(self, repo: str, *, revision: str, allow_patterns: list[str]) -> str:
        assert (repo, revision) == ("some/base", COMMIT)
        for name in allow_patterns:
            self.fetched.append(name)
            (self.folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(self.source / name, self.folder / name)
        return str(self.folder)


@pytest.fixture
def hub(guarded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    shutil.copytree(guarded / "tiny", tmp_path / "tiny")
    return Hub(guarded / "tiny" / "base", tmp_path, monkeypatch)


FETCHED = FAMILY.model_copy(update={"base": {"render": ModelRef(repo="some/base")}})


def test_the_checker_of_a_fetched_base_is_fetched_when_it_is_asked_for(hub: Hub) -> None:
    assert require_models(FETCHED, ["render"], models=hub.root, safety_checker=True) == ()
    assert hub.fetched == []
    manager = ModelManager(FETCHED, models_dir=hub.root, checks_safety=True)
    grey = np.full((SIDE, SIDE, 3), 90, np.uint8)
    assert manager.safety_checker().blocked([grey]) in ([True], [False])
    assert "safety_checker/model.safetensors" in hub.fetched
    assert {name.partition("/")[0] for name in hub.fetched} == {
        "safety_checker",
        "feature_extractor",
    }


def refusal(hub: Hub, family: Family, base: str = "render") -> str:
    with pytest.raises(LocateError) as caught:
        require_models(family, [base], models=hub.root, safety_checker=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_checker_that_cannot_come_is_refused_before_any_work(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "tiny/ink, comes without one" in refusal(hub, FAMILY, "ink")
    hub.files = [name for name in hub.files if not name.startswith("safety_checker")]
    assert "some/base, comes without one" in refusal(hub, FETCHED)
    monkeypatch.setenv("WORKBENCH_OFFLINE", "1")
    assert "run once without --offline" in refusal(hub, FETCHED)


@pytest.mark.parametrize("name", ["sdxl", "sd35"])
def test_an_architecture_without_checkers_is_refused(hub: Hub, name: str) -> None:
    architecture = get_family(name).architecture
    family = FAMILY.model_copy(update={"architecture": architecture})
    with pytest.raises(LocateError, match=f"architecture {architecture} have none"):
        require_models(family, ["render"], models=hub.root, safety_checker=True)
