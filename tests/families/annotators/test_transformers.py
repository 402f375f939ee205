"""Protects: depth and segmentation by any folder that transformers' own classes saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from annotator_files import family_with
from tiny_networks import CLASSES, dpt, save, segformer

from workbench.families import FamilyError, LocateError
from workbench.families.annotators.transformers_models import gives_metres
from workbench.families.manager import ModelManager


def _depth_anything(kind: str = "relative") -> tuple[Any, Any]:
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTImageProcessor,
    )

    backbone = Dinov2Config(
        image_size=32,
        patch_size=8,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=8,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=10 if kind == "metric" else 1,
    )
    processor = DPTImageProcessor(size={"height": 32, "width": 32}, ensure_multiple_of=8)
    return DepthAnythingForDepthEstimation(config), processor


def _upernet() -> tuple[Any, Any]:
    from transformers import (
        ConvNextConfig,
        SegformerImageProcessor,
        UperNetConfig,
        UperNetForSemanticSegmentation,
    )

    backbone = ConvNextConfig(
        hidden_sizes=[8, 16, 16, 32],
        depths=[1, 1, 1, 1],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = UperNetConfig(
        backbone_config=backbone,
        hidden_size=16,
        auxiliary_in_channels=16,
        auxiliary_channels=16,
        num_labels=CLASSES,
    )
    processor = SegformerImageProcessor(size={"height": 64, "width": 64})
    return UperNetForSemanticSegmentation(config), processor


def _mask2former() -> tuple[Any, Any]:
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    swin = SwinConfig(
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=swin,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        dim_feedforward=32,
        num_attention_heads=2,
        num_queries=6,
        num_labels=CLASSES,
    )
    processor = Mask2FormerImageProcessor(
        size={"height": 64, "width": 64}, num_labels=CLASSES, ignore_index=255
    )
    return Mask2FormerForUniversalSegmentation(config), processor


DEPTHS = {"dpt": dpt, "depth-anything": _depth_anything}
SEGMENTERS = {"segformer": segformer, "upernet": _upernet, "mask2former": _mask2former}
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
    model = save(_depth_anything("metric"), tmp_path / "model")
    assert gives_metres(model.config)
    found = network("depth", tmp_path)(pictures)
    from transformers import DPTImageProcessorPil

    processor = DPTImageProcessorPil.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        fed = processor(images=pictures[0], return_tensors="pt")["pixel_values"]
        metres = model(pixel_values=fed).predicted_depth[0].numpy()
    assert np.allclose(found[0] * metres, 1, rtol=1e-3)
    assert not gives_metres(_depth_anything()[0].config)


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
    save(_depth_anything(), tmp_path / "other" / "model")
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
