"""Protects the canny control: OpenCV's own edges, sensible settings, NaN where nothing is drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torchmetrics.classification import BinaryF1Score

from workbench.controls import get_control
from workbench.controls.base import ControlMap
from workbench.controls.canny import TOLERANCE, CannyControl, CannySettings
from workbench.metrics import edges

CONTROL = CannyControl()


def scene(shift: int = 0) -> np.ndarray:
    """A red disk and a blue box on white, uint8 80×100×3."""
    picture = np.full((80, 100, 3), 255, np.uint8)
    cv2.circle(picture, (30 + shift, 40), 18, (200, 30, 30), -1)
    cv2.rectangle(picture, (60 + shift, 20), (85 + shift, 60), (20, 40, 190), -1)
    return picture


def extract(picture: np.ndarray, **settings: float) -> ControlMap:
    return CONTROL.extract([picture], CannySettings(**settings), {})[0]


@pytest.mark.parametrize(("low", "high"), [(100, 200), (50, 80), (10, 900)])
def test_the_map_is_opencvs(low: int, high: int) -> None:
    found = extract(scene(), low=low, high=high)
    assert found.data.dtype == np.bool_
    assert np.array_equal(found.data, cv2.Canny(scene(), low, high) == 255)
    assert np.array_equal(found.picture[:, :, 0], found.data * np.uint8(255))


def test_colour_alone_makes_an_edge() -> None:
    picture = np.zeros((20, 20, 3), np.uint8)
    picture[:, :10] = (200, 0, 0)
    picture[:, 10:] = (0, 102, 0)  # the same grey
    assert extract(picture).data.any()


def test_blur_takes_away_speckles() -> None:
    noisy = np.clip(scene() + np.random.default_rng(0).normal(0, 60, (80, 100, 3)), 0, 255)
    noisy = noisy.astype(np.uint8)
    assert extract(noisy, blur=2).data.sum() < 0.5 * extract(noisy).data.sum()


def test_strided_pictures_are_read_rightly() -> None:
    flipped = scene()[:, ::-1]
    assert np.array_equal(extract(flipped).data, extract(flipped.copy()).data)


def test_strict_f1_is_torchmetrics_on_opencv_maps() -> None:
    a, b = scene(), scene(1)
    readings = CONTROL.compare(extract(b), extract(a), CannySettings(tolerance=0))
    maps = [torch.from_numpy((cv2.Canny(p, 100, 200) > 0).astype(np.int64)) for p in (b, a)]
    theirs = float(BinaryF1Score()(*maps))
    assert 0 < theirs < 1
    assert readings["canny_f1_strict"].value == pytest.approx(theirs, abs=1e-6)
    assert readings["canny_f1"].value == pytest.approx(theirs, abs=1e-6)


def test_the_tolerance_is_a_fraction_of_the_diagonal() -> None:
    wanted, got = extract(scene()), extract(scene(3))
    diagonal = float(np.hypot(80, 100))
    tight = CONTROL.compare(got, wanted, CannySettings(tolerance=2.9 / diagonal))
    wide = CONTROL.compare(got, wanted, CannySettings(tolerance=3.1 / diagonal))
    assert tight["canny_f1"].value < 0.99
    assert wide["canny_f1"].value == 1
    assert wide["canny_f1_strict"] == tight["canny_f1_strict"]


def test_precision_is_about_the_sample_and_recall_about_the_wish() -> None:
    wanted, extra = scene(), scene()
    cv2.circle(extra, (30, 40), 6, (0, 0, 0), -1)
    more = CONTROL.compare(extract(extra), extract(wanted), CannySettings())
    assert more["canny_recall"].value == 1
    assert more["canny_precision"].value < 0.95
    less = CONTROL.compare(extract(wanted), extract(extra), CannySettings())
    assert less["canny_recall"].value < 0.95
    assert less["canny_precision"].value == 1


def test_nothing_wanted_is_nan_and_nothing_made_is_zero() -> None:
    plain, drawn = extract(np.full((80, 100, 3), 99, np.uint8)), extract(scene())
    for got in (plain, drawn):
        readings = CONTROL.compare(got, plain, CannySettings())
        assert all(reading.is_nan for reading in readings.values())
        assert {reading.reason for reading in readings.values()} == {"the wanted map has no edges"}
    readings = CONTROL.compare(plain, drawn, CannySettings())
    assert [readings[k].value for k in ("canny_f1", "canny_recall", "canny_f1_strict")] == [0] * 3
    assert readings["canny_precision"].is_nan
    assert "compared map" in readings["canny_precision"].reason


def test_maps_of_unequal_size_are_compared_at_the_size_of_the_wanted_one() -> None:
    wanted = extract(scene())
    for factor in (2, 3):
        large = np.repeat(np.repeat(scene(), factor, axis=0), factor, axis=1)
        readings = CONTROL.compare(extract(large), wanted, CannySettings())
        assert readings["canny_f1"].value > 0.9


def test_drawn_lines_are_read_at_half_brightness() -> None:
    drawing = np.zeros((2, 4, 3), np.uint8)
    drawing[0] = [[127] * 3, [128] * 3, [255, 255, 255], [0, 255, 0]]
    found = CONTROL.from_picture(drawing)
    assert found.data.tolist() == [[False, True, True, False], [False] * 4]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"low": -1}, "low"),
        ({"high": 3000}, "high"),
        ({"low": 150, "high": 100}, "high"),
        ({"blur": 21}, "blur"),
        ({"tolerance": 0.2}, "tolerance"),
        ({"low": "much"}, "low"),
        ({"high": float("nan")}, "high"),
    ],
)
def test_wrong_settings_name_their_field(settings: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as error:
        CannySettings.model_validate(settings)
    assert [problem["loc"] for problem in error.value.errors()] == [(field,)]


def test_the_same_settings_have_the_same_name() -> None:
    written = CannySettings.model_validate({"high": 200, "low": 100, "tolerance": None, "blur": 0})
    assert written.canonical() == CannySettings().canonical()
    assert CannySettings(tolerance=0.01).canonical() != CannySettings().canonical()
    assert CannySettings(tolerance=0.01).map_canonical() == CannySettings().map_canonical()
    assert CannySettings(low=90).map_canonical() != CannySettings().map_canonical()


def test_direction_and_tolerance_are_those_of_the_metric() -> None:
    assert TOLERANCE == edges.DEFAULT_FRACTION
    for spec in get_control("canny").metrics:
        assert spec.higher_is_better is edges.EdgeF1.higher_is_better
