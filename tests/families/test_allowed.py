"""Protects the machine from model folders: no code of a folder, and no class that nobody needs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_families import FAMILIES, write_tiny_families
from tiny_models import FAMILY

from workbench.families import LocateError
from workbench.families.allowed import class_problem
from workbench.families.check import base_problem
from workbench.families.locate import local_place
from workbench.families.manager import ModelManager
from workbench.paths import data_dir

EVIL = """
from pathlib import Path
Path(__file__).with_name("was-run").touch()
class Evil:
    pass
class EvilConfig:
    pass
"""


def write_index(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.0",
        "requires_safety_checker": True,
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": ["transformers", "CLIPFeatureExtractor"],
        "image_encoder": [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index | changes))
    return folder


def test_files_as_they_are_published_may_be_loaded(tmp_path: Path) -> None:
    assert class_problem(write_index(tmp_path / "published")) == ""
    for base in ("base", "ink"):
        assert class_problem(data_dir() / "models" / "paperdoll" / base) == ""
    write_tiny_families(tmp_path / "tiny")
    for family in FAMILIES.values():
        for ref in (*family.base.values(), *family.controlnets.values()):
            assert class_problem(tmp_path / "tiny" / ref.path) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"unet": ["os", "system"]},
        {"unet": ["diffusers", "DiffusionPipelineX"]},
        {"unet": ["unet", "Evil"]},
        {"unet": ["diffusers", ["Evil"]]},
        {"unet": ["diffusers"]},
        {"text_encoder": ["transformers", "AutoModel"]},
        {"../evil": ["diffusers", "AutoencoderKL"]},
        {"_class_name": ["pipeline", "Evil"]},
        {"_class_name": "os.system"},
        {"scheduler": ["scheduler.evil", "EvilScheduler"]},
    ],
    ids=str,
)
def test_what_nobody_needs_is_refused_before_it_is_loaded(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = write_index(tmp_path / "evil", **changes)
    assert "model_index.json" in class_problem(folder)
    assert class_problem(folder) in base_problem(
        local_place(FAMILY.base_ref("render"), folder), FAMILY
    )


def test_configurations_with_code_of_their_own_are_refused(tmp_path: Path) -> None:
    folder = write_index(tmp_path / "evil")
    (folder / "unet").mkdir()
    for config in ({"auto_map": {"AutoModel": "evil.Evil"}}, {"_class_name": ["a", "b"]}):
        (folder / "unet" / "config.json").write_text(json.dumps(config))
        assert "unet/config.json" in class_problem(folder)
    (tmp_path / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "evil.Evil"}}))
    assert "code of its own" in class_problem(tmp_path)


def test_code_in_a_models_folder_is_never_run(models: Path, tmp_path: Path) -> None:
    """The module lies in the folder and on the path: it could be imported in both ways."""
    other = tmp_path / "models"
    shutil.copytree(models, other)
    base = other / FAMILY.base_ref(FAMILY.default_base).path
    for folder in (base, base / "unet", tmp_path):
        (folder / "evil_part.py").write_text(EVIL)
    index = json.loads((base / "model_index.json").read_text())
    sys.path.insert(0, str(tmp_path))
    try:
        for changes in ({"unet": ["evil_part", "Evil"]}, {"_class_name": ["evil_part", "Evil"]}):
            (base / "model_index.json").write_text(json.dumps(index | changes))
            with pytest.raises(LocateError, match=r"is not loaded: model_index\.json asks for"):
                ModelManager(FAMILY, models_dir=other).pipeline()
    finally:
        sys.path.remove(str(tmp_path))
    assert "evil_part" not in sys.modules and not list(tmp_path.rglob("was-run"))


def test_transformers_runs_no_code_and_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to itself transformers asks on the terminal whether to run the folder's code."""
    from workbench.families.annotators import load_networks
    from workbench.families.locate import local_place
    from workbench.families.refs import NetworkRef

    (tmp_path / "evil.py").write_text(EVIL)
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.EvilConfig"}}
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"")

    def asked(*_: Any) -> str:
        raise AssertionError("a question in the middle of a command")

    monkeypatch.setattr("builtins.input", asked)
    ref = NetworkRef(path="evil", loader="depth-transformers")
    with pytest.raises((LocateError, ValueError)):
        load_networks(ref, lambda ref: local_place(ref, tmp_path), "cpu")
    assert not (tmp_path / "was-run").exists()
