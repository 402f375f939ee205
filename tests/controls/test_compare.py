"""Protects what the command line calls: any two pictures of any size and kind."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torchmetrics.classification import BinaryF1Score

from workbench.controls import ControlError, compare, extract, get_control
from workbench.images import ImageError, encode_png

NETWORKS = {"depth": lambda batch: batch.mean(axis=3).astype(np.float32)}


def scene(width: int = 120, height: int = 80) -> np.ndarray:
    picture = np.full((height, width, 3), 255, np.uint8)
    cv2.circle(picture, (width // 3, height // 2), height // 4, (200, 30, 30), -1)
    cv2.rectangle(
        picture, (width // 2, height // 4), (3 * width // 4, 3 * height // 4), (20, 40, 190), -1
    )
    return picture


def test_extracting_gives_the_map_at_the_pictures_size() -> None:
    found = extract(scene(), "canny", low=50)
    assert np.array_equal(found.data, cv2.Canny(scene(), 50, 200) > 0)
    assert extract(scene(70, 90), "depth", networks=NETWORKS).data.shape == (90, 70)


def test_comparing_agrees_with_torchmetrics_on_opencv_maps() -> None:
    a, b = scene(), np.roll(scene(), 1, axis=0)
    strict = compare(b, a, "canny", tolerance=0)["canny_f1"].value
    maps = [torch.from_numpy((cv2.Canny(p, 100, 200) > 0).astype(np.int64)) for p in (b, a)]
    assert strict == pytest.approx(float(BinaryF1Score()(*maps)), abs=1e-6)
    assert 0 < strict < 1


def test_rmse_agrees_with_a_numpy_loop() -> None:
    a, b = scene(), scene()[::-1].copy()
    b[:20] //= 2
    value = compare(b, a, "depth", networks=NETWORKS)["depth_rmse"].value
    maps = []
    for picture in (a, b):
        raw = picture.astype(float).mean(axis=2)
        low, high = np.percentile(raw, [1, 99])
        maps.append(np.clip((raw - low) / (high - low), 0, 1))
    total = 0.0
    for x, y in zip(maps[0].ravel(), maps[1].ravel(), strict=True):
        total += (255 * x - 255 * y) ** 2
    assert value == pytest.approx((total / a[:, :, 0].size) ** 0.5, rel=1e-5)
    assert value > 1


@pytest.mark.parametrize("control", ["canny", "depth"])
def test_a_picture_agrees_with_itself_in_every_form(control: str) -> None:
    rgb = scene()
    grey = rgb[:, :, 1]
    solid = np.full((*grey.shape, 1), 255, np.uint8)
    forms = [
        (rgb, np.concatenate([rgb, solid], axis=2)),
        (grey, np.repeat(grey[:, :, None], 3, axis=2)),
        (grey, np.concatenate([grey[:, :, None], solid], axis=2)),
        (rgb, (rgb / 255).astype(np.float32)),
        (rgb, rgb.astype(np.uint16) * 257),
    ]
    primary = {"canny": "canny_f1_strict", "depth": "depth_pearson"}[control]
    for a, b in forms:
        readings = compare(b, a, control, networks=NETWORKS)
        assert readings[primary].value == pytest.approx(1)


def test_the_compared_picture_is_brought_to_the_target() -> None:
    twice = compare(scene(240, 160), scene(), "canny")
    assert twice["canny_f1"].value > 0.9
    # A wider picture is cut in the middle: white wings do not matter.
    winged = np.full((80, 200, 3), 255, np.uint8)
    winged[:, 40:160] = scene()
    assert compare(winged, scene(), "canny")["canny_f1_strict"].value == 1
    assert compare(winged, scene(), "depth", networks=NETWORKS)["depth_rmse"].value == 0


def test_files_are_read_like_arrays(tmp_path: Path) -> None:
    files = [tmp_path / "preds.png", tmp_path / "target.png"]
    pictures = [np.roll(scene(), 2, axis=0), scene()]
    for file, picture in zip(files, pictures, strict=True):
        file.write_bytes(encode_png(picture))
    assert compare(files[0], str(files[1]), "canny") == compare(*pictures, "canny")
    assert np.array_equal(extract(files[1], "canny").data, extract(scene(), "canny").data)


def test_very_small_pictures_work() -> None:
    for size in (1, 2, 3):
        dot = np.zeros((size, size, 3), np.uint8)
        readings = compare(scene(), dot, "canny")
        assert all(reading.is_nan for reading in readings.values())


def test_wrong_calls_are_clear() -> None:
    with pytest.raises(ControlError, match="no control type"):
        compare(scene(), scene(), "nope")
    with pytest.raises(ControlError, match="lends none"):
        extract(scene(), "depth")
    with pytest.raises(ImageError, match="the compared picture"):
        compare(np.zeros((2, 2, 7), np.uint8), scene(), "canny")
    with pytest.raises(ValidationError, match="lo"):
        extract(scene(), "canny", lo=1)


@pytest.mark.parametrize("name", ["canny", "hed", "lineart", "scribble", "lines"])
def test_what_is_the_same_both_ways_is_compared_once(name: str) -> None:
    control = get_control(name)
    settings = control.settings()
    rng = np.random.default_rng(3)
    drawn = np.zeros((3, 96, 96, 3), np.uint8)
    for picture in drawn[:2]:
        for x, y, u, v in rng.integers(5, 90, (6, 4)).tolist():
            cv2.line(picture, (x, y), (u, v), (255, 255, 255), 2)
    a, b, nothing = (control.from_picture(picture) for picture in drawn)
    assert control.same_both_ways(a, b)
    assert control.agreement(a, b, settings) == control.agreement(b, a, settings)
    assert 0 < control.agreement(a, b, settings).value < 1
    assert not control.same_both_ways(a, nothing)


def test_a_faint_map_makes_a_direction() -> None:
    control = get_control("hed")
    bright = np.zeros((64, 64, 3), np.uint8)
    bright[20:22] = 255
    a, b = control.from_picture(bright), control.from_picture(bright // 4)
    assert not control.same_both_ways(a, b)
