"""Protects: what a judge or extractor lacks is said before a study begins, not hours into it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotator_files import FOLDER, family_with
from safetensors.numpy import save_file
from tiny_models import FAMILY

from workbench.families import Family, LocateError
from workbench.families import loaders as module
from workbench.families.check import require_models

NETWORKS = {
    "edges": {"loader": "hed", "path": FOLDER},
    "depth": {"loader": "depth-transformers", "path": "depth"},
}


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """Models in which a study of soft edges and depth finds everything, as far as files go."""
    shutil.copytree(models / "tiny", tmp_path / "tiny")
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "ControlNetHED.pth").write_bytes(b"")
    (tmp_path / "depth").mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / "depth" / name).write_bytes(b"")
    save_file({"weight": np.zeros(1)}, tmp_path / "depth" / "model.safetensors")
    return tmp_path


def family() -> Family:
    return FAMILY.model_copy(update={"networks": family_with(NETWORKS).networks})


def problems(folder: Path, *networks: str) -> str:
    with pytest.raises(LocateError) as error:
        require_models(family(), [], [], networks or NETWORKS, folder)
    return str(error.value)


def test_whole_folders_are_no_problem(folder: Path) -> None:
    assert require_models(family(), [], [], NETWORKS, folder) == ()


def test_a_missing_weight_file_is_named_with_where_it_is_published(folder: Path) -> None:
    (folder / FOLDER / "ControlNetHED.pth").unlink()
    text = problems(folder)
    assert text.startswith("network edges: ") and "\n" not in text
    assert "it lacks ControlNetHED.pth of lllyasviel/Annotators" in text
    assert str(folder / FOLDER) in text


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_pickled, "pickled weights only"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "preprocessor_config.json"),
    ],
)
@pytest.mark.parametrize("name", ["depth", "tiny/clip"])
def test_a_folder_that_cannot_be_loaded_is_refused(
    folder: Path, name: str, harm: Callable[[Path], Any], words: str
) -> None:
    harm(folder / name)
    text = problems(folder)
    assert words in text and str(folder / name) in text and "\n" not in text


def test_a_clip_without_tokenizer_is_refused(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.json"):
        (folder / "tiny" / "clip" / name).unlink(missing_ok=True)
    assert "it has no tokenizer" in problems(folder)


def test_a_missing_package_is_named_with_the_way_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = {"controlnet_aux", "cv2"}
    monkeypatch.setattr(
        module, "find_spec", lambda name: None if name in gone else util.find_spec(name)
    )
    text = problems(folder)
    assert "network edges: the loader hed needs packages" in text
    assert text.endswith("pip install controlnet-aux opencv-python-headless")


def test_a_network_that_the_family_lacks_is_told_with_those_it_has(folder: Path) -> None:
    text = problems(folder, "normal")
    assert "network normal" in text and "has no such network; it has: edges, depth" in text
