"""Protects: the listing tells every model that a study may use, what is wrong with it, and under
which licence it comes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run_command
from tiny_families import COMMIT, snapshot

from workbench.families import Family, get_family, load_catalogue
from workbench.families.check import ModelState, family_states, pin_family

SD15 = get_family("sd15")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    for name in ("WORKBENCH_MODELS", "HF_HUB_OFFLINE"):  # a command sets them for good
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("WORKBENCH_OFFLINE", "1")
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def states(family: Family, models: Path) -> dict[str, ModelState]:
    return {state.role: state for state in family_states(family, models)}


def test_judges_that_a_study_may_choose_are_listed_once(models: Path) -> None:
    choices = {role for role, state in states(SD15, models).items() if state.is_choice}
    assert {"clip vit-l-14", "depth dpt-large", "segmentation segformer"} <= choices
    assert {"lineart coarse", "depth midas", "edges pidinet"} <= choices
    usual = {"clip vit-b-16", "depth depth-anything-v2-small", "edges hed", "lineart fine"}
    assert not usual & choices, "these stand among the family's own"


def test_chosen_judges_are_pinned_too(models: Path) -> None:
    folder = snapshot(models, "Intel/dpt-large")
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"")
    pins, unknown = pin_family(SD15, models)
    assert pins == {"Intel/dpt-large": COMMIT}
    assert "zer0int/LongCLIP-GmP-ViT-L-14" in unknown
    assert json.loads((models / "pins.json").read_text("utf-8")) == pins


def test_the_reason_why_a_model_cannot_be_used_is_told(models: Path) -> None:
    dpt = models / "Intel" / "dpt-large"
    dpt.mkdir(parents=True)
    (dpt / "pytorch_model.bin").write_bytes(b"")
    (models / "lllyasviel" / "Annotators").mkdir(parents=True)
    (models / "lllyasviel" / "Annotators" / "sk_model.pth").write_bytes(b"")
    found = states(SD15, models)
    assert "present" in found["depth dpt-large"].text
    assert "cannot be used: it has pickled weights only" in found["depth dpt-large"].text
    assert "it lacks ControlNetHED.pth" in found["network edges"].text
    assert "cannot" not in found["network lineart"].text
    assert found["base v1-5"].text == "missing"
    (models / "pins.json").write_text("[]", "utf-8")
    assert "pins.json" in states(SD15, models)["network segmentation"].text


def test_every_model_comes_with_its_licence_or_its_card(models: Path) -> None:
    found = states(SD15, models)
    assert "no commercial use" in found["network pose"].licence_text
    assert "no commercial use" in found["segmentation segformer"].licence_text
    assert found["ControlNet canny"].licence.startswith("OpenRAIL")
    assert found["base v1-5"].licence == SD15.licence
    assert found["base dreamshaper-8"].licence != SD15.licence
    assert found["CLIP"].licence.startswith("MIT")
    card = "https://huggingface.co/facebook/mask2former-swin-large-ade-semantic"
    assert found["network segmentation"].licence_text == f"see its model card, {card}"
    for family in load_catalogue().values():
        for state in family_states(family, models):
            assert state.licence or state.ref.repo, state.role


def test_the_listing_shows_them_in_groups(models: Path) -> None:
    done = run_command("families", "--models", models, "--offline")
    own, _, rest = done.out.partition("sd15: ")[2].partition("a study may choose instead")
    assert "network pose" in own and "CMU OpenPose, no commercial use" in own
    assert "dpt-large" not in own.partition("judges:")[0]
    assert "    depth dpt-large" in rest
