"""Protects: depth and segmentation by any folder that transformers' own classes saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from annotator_files import family_with
from tiny_networks import CLASSES, depth_anything, dpt, mask2former, save, segformer, upernet

from workbench.families import FamilyError, LocateError
from workbench.families.annotators.transformers_models import gives_metres
from workbench.families.manager import ModelManager

DEPTHS = {"dpt": dpt, "depth-anything": depth_anything}
SEGMENTERS = {"segformer": segformer, "upernet": upernet, "mask2former": mask2former}
LOADER = {"depth": "depth-transformers", "segmentation": "segmentation-transformers"}


def network(name: str, models: Path) -> Callable[[Any], Any]:
    family = family_with({name: {"loader": LOADER[name], "path": "model"}})
    return ModelManager(family, models_dir=models).network(name)


@pytest.fixture
def pictures() -> np.ndarray:
    coarse = np.random.default_rng(2).integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


@pytest.mark.parametrize("kind", list(DEPTHS))
def test_depth(kind: str, tmp_path: Path, pictures: np.ndarray) -> None:
    torch.manual_seed(0)
    model = save(DEPTHS[kind](), tmp_path / "model")
    read = network("depth", tmp_path)
    found = read(pictures)
    assert found.dtype == np.float32
    assert found.shape[0] == 3 and found.ndim == 3
    assert np.isfinite(found).all()
    for index in range(3):
        alone = read(pictures[index : index + 1])[0]
        assert np.allclose(alone, found[index], rtol=1e-4, atol=1e-5)
    # By hand: this processor brings pictures to 32×32 and to values around zero.
    from transformers import DPTImageProcessorPil

    processor = DPTImageProcessorPil.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        fed = processor(images=pictures[0], return_tensors="pt")["pixel_values"]
        wanted = model(pixel_values=fed).predicted_depth[0].numpy()
    assert np.allclose(found[0], wanted, rtol=1e-4, atol=1e-5)


def test_metres_are_turned_so_that_near_is_large(tmp_path: Path, pictures: np.ndarray) -> None:
    torch.manual_seed(0)
    model = save(depth_anything("metric"), tmp_path / "model")
    assert gives_metres(model.config)
    found = network("depth", tmp_path)(pictures)
    from transformers import DPTImageProcessorPil

    processor = DPTImageProcessorPil.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        fed = processor(images=pictures[0], return_tensors="pt")["pixel_values"]
        metres = model(pixel_values=fed).predicted_depth[0].numpy()
    assert np.allclose(found[0] * metres, 1, rtol=1e-3)
    assert not gives_metres(depth_anything()[0].config)


@pytest.mark.parametrize("kind", list(SEGMENTERS))
def test_segmentation(kind: str, tmp_path: Path, pictures: np.ndarray) -> None:
    torch.manual_seed(3)
    save(SEGMENTERS[kind](), tmp_path / "model")
    read = network("segmentation", tmp_path)
    found = read(pictures)
    assert found.dtype == np.uint8
    assert found.shape == pictures.shape[:3]
    assert found.max() < CLASSES
    alone = np.concatenate([read(pictures[index : index + 1]) for index in range(3)])
    assert (alone == found).mean() > 0.999
    assert (read(pictures) == found).all()


def test_the_control_paints_what_the_network_says(tmp_path: Path, pictures: np.ndarray) -> None:
    from workbench.controls import get_control

    torch.manual_seed(3)
    save(segformer(150), tmp_path / "model")
    read = network("segmentation", tmp_path)
    control = get_control("segmentation")
    settings = control.settings({"classes": "ade20k"})
    (made,) = control.extract([pictures[0]], settings, {"segmentation": read})
    assert (made.data == read(pictures[:1])[0]).all()


def test_too_many_classes_and_other_kinds_are_refused(tmp_path: Path) -> None:
    save(segformer(300), tmp_path / "model")
    with pytest.raises(FamilyError, match="300 classes"):
        network("segmentation", tmp_path)
    save(depth_anything(), tmp_path / "other" / "model")
    with pytest.raises(FamilyError, match="kind depth_anything is not read"):
        network("segmentation", tmp_path / "other")


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    save(dpt(), tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.unlink()
    torch.save({}, tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(FamilyError, match=r"model cannot be loaded as a model for .*safetensors"):
        network("depth", tmp_path)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_folder_that_lacks_a_file_is_told_in_one_sentence(tmp_path: Path, name: str) -> None:
    save(segformer(), tmp_path / "model")
    (tmp_path / "model" / name).unlink()
    with pytest.raises(FamilyError, match="cannot be loaded as a model for") as error:
        network("segmentation", tmp_path)
    assert "\n" not in str(error.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocateError, match=r"model.*WORKBENCH_MODELS"):
        network("depth", tmp_path)


def test_loading_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    save(segformer(), tmp_path / "model")
    capfd.readouterr()
    caplog.clear()
    network("segmentation", tmp_path)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert caplog.records == []
