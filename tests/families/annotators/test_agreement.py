"""Protects: what is read is what controlnet-aux's own annotators read with the same weights.

They work on pictures of 64 pixels here, so that neither side resamples anything, and give 8 bits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from annotator_files import CLASSES, annotator, random_state, write_annotator
from torch import nn

from workbench.families.annotators.onemodule import aux_module

BITS = 1.6 / 255


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    coarse = np.random.default_rng(11).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)


def model(loader: str) -> nn.Module:
    made = CLASSES[loader]()
    made.load_state_dict(random_state(loader))
    return made.float().eval()


def ours(loader: str, folder: Path, picture: np.ndarray) -> Any:
    write_annotator(loader, folder)
    return annotator(loader, folder)(picture[None])[0]


@pytest.mark.parametrize(
    ("loader", "module", "detector"),
    [
        ("hed", "hed", "HEDdetector"),
        ("pidinet", "pidi", "PidiNetDetector"),
        ("lineart-anime", "lineart_anime", "LineartAnimeDetector"),
    ],
)
def test_soft_maps(
    loader: str, module: str, detector: str, picture: np.ndarray, tmp_path: Path
) -> None:
    theirs = getattr(aux_module(module), detector)(model(loader))
    wanted = theirs(picture, detect_resolution=64, image_resolution=64, output_type="np")
    got = ours(loader, tmp_path, picture)
    # Anime pictures are enlarged to 256 pixels there by OpenCV's cubic curve, here by torch's.
    allowed = 4 / 255 if loader == "lineart-anime" else BITS
    assert np.abs(got - wanted[:, :, 0] / 255).max() < allowed
    assert got.std() > 0.01


def test_line_art(picture: np.ndarray, tmp_path: Path) -> None:
    net = model("lineart")
    theirs = aux_module("lineart").LineartDetector(net, net)
    wanted = theirs(picture, detect_resolution=64, image_resolution=64, output_type="np")
    got = ours("lineart", tmp_path, picture)
    assert np.abs(got - wanted[:, :, 0] / 255).max() < BITS
    assert got.std() > 0.01


def test_normals_but_for_the_direction_of_x(picture: np.ndarray, tmp_path: Path) -> None:
    theirs = aux_module("normalbae").NormalBaeDetector(model("normalbae"))
    wanted = theirs(picture, detect_resolution=64, image_resolution=64, output_type="np")
    colours = wanted.astype(np.float64) / 127.5 - 1
    got = ours("normalbae", tmp_path, picture)
    assert np.abs(got * [-1, 1, 1] - colours).max() < 2.5 / 127.5
    from workbench.controls._directions import to_picture

    # The control's own picture of them is the one ControlNet was trained on.
    assert np.abs(to_picture(got).astype(int) - wanted.astype(int)).max() <= 2


def test_depth_by_midas(picture: np.ndarray, tmp_path: Path) -> None:
    theirs = aux_module("midas").MidasDetector(model("midas"))
    wanted = theirs(picture, detect_resolution=64, image_resolution=64, output_type="np")
    got = ours("midas", tmp_path, picture)
    stretched = (got - got.min()) / (got.max() - got.min())
    assert np.abs(stretched - wanted[:, :, 0] / 255).max() < BITS


def test_straight_lines(picture: np.ndarray, tmp_path: Path) -> None:
    utils = aux_module("mlsd.utils")
    net = model("mlsd")
    with torch.no_grad():
        wanted = utils.pred_lines(picture, net, [64, 64], 0.1, 0.1)
    got = ours("mlsd", tmp_path, picture)
    assert len(got) > 3
    order = [np.lexsort(lines.round(2).T) for lines in (got, wanted)]
    assert np.allclose(got[order[0]], wanted[order[1]], atol=1e-3)
