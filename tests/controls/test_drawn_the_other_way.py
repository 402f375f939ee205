"""Protects maps that somebody drew: the wrong way round, finer than 8 bits, or with nothing in."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from workbench.controls import ControlMap, extract, get_control, map_warning
from workbench.controls.depth import normalise
from workbench.images import ImageError, read_values
from workbench.study import load_source

LINES = ("canny", "hed", "lineart", "lines")


def drawing(side: int = 64) -> np.ndarray:
    """Light lines on black."""
    picture = np.zeros((side, side, 3), np.uint8)
    cv2.rectangle(picture, (12, 10), (50, 44), (255, 255, 255), 1)
    cv2.line(picture, (5, 60), (58, 52), (255, 255, 255), 1)
    return picture


def source(folder: Path, picture: np.ndarray, control: str, **settings: Any) -> Any:
    Image.fromarray(picture).save(folder / "drawn.png")
    chosen = get_control(control)
    return load_source("map:drawn.png", folder, 64, (chosen, chosen.settings(settings)))


@pytest.mark.parametrize("name", LINES)
def test_dark_lines_on_paper_are_turned_around_and_told(name: str, tmp_path: Path) -> None:
    right, wrong = source(tmp_path, drawing(), name), source(tmp_path, 255 - drawing(), name)
    assert right.note == ""
    assert "drawn.png was inverted" in wrong.note
    assert np.array_equal(right.image, wrong.image)
    assert right.image.mean() < 64
    kept = source(tmp_path, 255 - drawing(), name, invert=False)
    assert kept.image.mean() > 128
    forced = source(tmp_path, drawing(), name, invert=True)
    assert forced.image.mean() > 128 and "as the study says" in forced.note


def test_the_copy_in_a_run_folder_is_not_turned_again(tmp_path: Path) -> None:
    control = get_control("canny")
    drawer = (control, control.settings({"invert": True}))
    first = source(tmp_path, 255 - drawing(), "canny", invert=True)
    run = tmp_path / "run"
    (run / "sources").mkdir(parents=True)
    Image.fromarray(first.image).save(run / "sources" / "kept.png")
    index = {"map:drawn.png": {"file": "kept.png", "sha256": first.sha256, "tags": []}}
    (run / "sources.json").write_text(json.dumps(index))
    assert load_source("map:drawn.png", run, 64, drawer).sha256 == first.sha256


@pytest.mark.parametrize("name", [*LINES, "depth", "normal"])
def test_a_setting_that_is_not_made_changes_no_trial(name: str) -> None:
    control = get_control(name)
    for text in (control.settings().canonical(), control.settings().map_canonical()):
        assert "invert" not in text and "meaning" not in text
    assert '"invert":true' in control.settings({"invert": True}).map_canonical()
    assert control.settings_type.model_validate_json(control.settings().canonical())


def hills(side: int = 64) -> np.ndarray:
    """Distances in millimetres, 500 at the lower border and 3500 at the upper one, uint16."""
    rows = np.linspace(3500, 500, side)[:, None]
    return np.rint(rows + 40 * np.sin(np.arange(side) / 5)).astype(np.uint16)


def test_millimetres_in_16_bits_keep_their_depth(tmp_path: Path) -> None:
    far = hills()
    found = source(tmp_path, far, "depth", meaning="metres")
    wanted = normalise(1 / far.astype(np.float64))
    assert np.abs(found.image[..., 0] / 255 - wanted).max() <= 0.5 / 255 + 1e-6
    assert len(np.unique(found.image)) > 150
    assert found.image[-1].mean() > found.image[0].mean()
    assert found.note == ""


def test_what_is_unknown_is_the_farthest(tmp_path: Path) -> None:
    far = hills()
    far[20:30, 20:30] = 0
    found = source(tmp_path, far, "depth", meaning="metres")
    assert (found.image[22:28, 22:28] == 0).all()
    assert found.image[40:].min() > 0
    with pytest.raises(ImageError, match="holds no depth"):
        source(tmp_path, np.zeros((64, 64), np.uint16), "depth", meaning="metres")


def test_depth_inside_out_is_told_of_and_only_swapped_when_asked(tmp_path: Path) -> None:
    asis = source(tmp_path, hills(), "depth")
    assert "farther away at its lower border" in asis.note
    assert asis.image[-1].mean() < asis.image[0].mean()
    swapped = source(tmp_path, hills(), "depth", invert=True)
    assert np.array_equal(swapped.image, 255 - asis.image)
    assert "as the study says" in swapped.note


def test_floats_are_read_as_they_are_and_8_bits_are_no_numbers(tmp_path: Path) -> None:
    values = np.linspace(-3, 90, 64 * 64, dtype=np.float32).reshape(64, 64)
    Image.fromarray(values).save(tmp_path / "depth.tiff")
    assert np.array_equal(read_values(tmp_path / "depth.tiff"), values)
    Image.fromarray(drawing()).save(tmp_path / "grey.png")
    assert read_values(tmp_path / "grey.png") is None


def test_normals_with_green_down_are_told_of_and_turned_when_asked(tmp_path: Path) -> None:
    up = np.zeros((64, 64, 3), np.uint8) + np.array([128, 218, 218], np.uint8)  # faces up
    up[:20] = (40, 128, 218)
    down = up.copy()
    down[..., 1] = 255 - down[..., 1]
    assert source(tmp_path, up, "normal").note == ""
    assert "faces down" in source(tmp_path, down, "normal").note
    assert np.array_equal(source(tmp_path, down, "normal", invert=True).image, up)


def test_maps_that_cannot_steer_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    with caplog.at_level(logging.WARNING):
        extract(flat, "canny")
    assert "the map of the picture (Canny edges) is empty: nothing of it is drawn" in caplog.text

    def said(name: str, picture: np.ndarray) -> str:
        control = get_control(name)
        return map_warning(control, control.settings(), control.from_picture(picture), "it")

    speck = np.zeros((64, 64, 3), np.uint8)
    speck[3, 3:6] = 255
    for name in LINES:
        assert said(name, drawing()) == ""
        assert "hardly anything" in said(name, speck)
        assert "nearly solid: " in said(name, 255 - drawing())
    assert "has no person" in said("pose", np.zeros((64, 64, 3), np.uint8))
    assert "flat" in said("depth", flat)
    assert said("depth", np.repeat(hills()[..., None] // 14, 3, 2).astype(np.uint8)) == ""
    assert "solid: all of it is" in said("segmentation", flat)
    nothing = ControlMap(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.float32))
    normal = get_control("normal")
    assert "no normals" in map_warning(normal, normal.settings(), nothing, "it")
