"""Protects line art: the formula of controlnet-aux, lines at every size, a network per method."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from workbench.controls import network_needs
from workbench.controls.base import ControlError, ControlMap
from workbench.controls.lineart import LineartControl, LineartSettings, standard_lines
from workbench.metrics.structure import ms_ssim, ssim
from workbench.paperdoll import render, sample_scene

CONTROL, SETTINGS = LineartControl(), LineartSettings()


def drawn(side: int, thickness: int, paper: int = 230, ink: int = 40) -> np.ndarray:
    """A circle and a line in dark ink, the same drawing at every size."""
    picture = np.full((side, side, 3), paper, np.uint8)
    cv2.circle(picture, (side // 2, side // 2), side // 4, (ink, ink, ink), thickness)
    cv2.line(picture, (side // 10, side // 8), (side // 3, side // 8), (ink, ink, ink), thickness)
    return picture


def extract(*pictures: np.ndarray, settings: LineartSettings = SETTINGS) -> list[ControlMap]:
    return CONTROL.extract(pictures, settings, {})


def reference(picture: np.ndarray) -> np.ndarray:
    """The published formula, its blur by SciPy in double precision."""
    x = picture.astype(np.float64)
    # OpenCV cuts the window of a float picture at 4 sigma and mirrors without the rim.
    g = gaussian_filter(x, (6.0, 6.0, 0), mode="mirror", truncate=4.0)
    intensity = np.min(g - x, axis=2).clip(0, 255)
    intensity /= max(16, np.median(intensity[intensity > 8]))
    return np.clip(intensity * 127, 0, 255)


@pytest.mark.parametrize("size", [(512, 512), (512, 640)])
def test_at_512_it_is_the_published_formula(size: tuple[int, int]) -> None:
    scene = cv2.resize(render(sample_scene(3)).rgb, size[::-1], interpolation=cv2.INTER_CUBIC)
    (found,) = extract(scene)
    wanted = reference(scene)
    assert wanted.max() > 200
    off = np.abs(found.picture[..., 0] - wanted)
    assert off.max() <= 1.5
    assert np.array_equal(found.picture[..., 0], np.rint(found.data * 255))


def test_the_blur_grows_with_the_shorter_side() -> None:
    tall = np.concatenate([drawn(64, 2), drawn(64, 2)])
    (found,) = extract(tall)
    assert np.array_equal(found.picture[..., 0], standard_lines(tall, 6 * 64 / 512))


def test_lines_are_found_at_small_and_large_sizes_alike() -> None:
    picture = drawn(512, 5)
    shrunk = cv2.resize(picture, (128, 128), interpolation=cv2.INTER_AREA)
    small, large = extract(shrunk, picture)
    for found in (small, large):
        assert found.data.dtype == np.float32
        assert found.data.max() > 0.4
        assert 0.005 < (found.data > 0.3).mean() < 0.1, "thin lines, not areas"
    lines = cv2.resize(large.data, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(lines.ravel(), small.data.ravel())[0, 1] > 0.9


def test_lines_are_where_the_ink_is() -> None:
    picture = drawn(128, 2)
    (found,) = extract(picture)
    ink = picture[..., 0] < 100
    assert found.data[ink].mean() > 10 * found.data[~ink].mean()


def test_faint_pictures_are_not_blown_up() -> None:
    (flat,) = extract(np.full((64, 64, 3), 130, np.uint8))
    assert not flat.data.any()
    (faint,) = extract(drawn(64, 1, paper=130, ink=125))
    assert faint.data.max() <= 5 / 16 * 127 / 255


def test_settings_act() -> None:
    scene = render(sample_scene(3)).rgb
    base, wide, strict = (
        extract(scene, settings=LineartSettings(**values))[0].data
        for values in ({}, {"sigma": 20}, {"threshold": 60})
    )
    assert wide.sum() > base.sum()
    assert 0 < strict.sum() < base.sum()
    for wrong in ({"method": "coarse"}, {"sigma": 0}, {"threshold": -1}):
        with pytest.raises(ValidationError):
            CONTROL.settings(wrong)


@pytest.mark.parametrize(
    ("method", "needed"), [("realistic", "lineart"), ("anime", "lineart_anime")]
)
def test_each_method_asks_for_its_network(method: str, needed: str) -> None:
    settings = CONTROL.settings({"method": method})
    assert CONTROL.needs_for(settings) == (needed,)
    assert network_needs([("lineart", settings.canonical()), ("lineart", "")]) == [needed]
    calls = []

    def network(batch: np.ndarray) -> np.ndarray:
        calls.append(len(batch))
        return batch[..., 1].astype(np.float32) / 255

    pictures = [drawn(40, 1), drawn(48, 1), drawn(40, 2)]
    maps = CONTROL.extract(pictures, settings, {needed: network})
    assert calls == [2, 1]
    for picture, found in zip(pictures, maps, strict=True):
        assert np.array_equal(found.picture, picture)
    with pytest.raises(ControlError, match=f"by the method {method!r} needs the network"):
        CONTROL.extract(pictures, settings, {"edges": network})


def test_the_standard_method_needs_none() -> None:
    assert CONTROL.needs_for(SETTINGS) == CONTROL.needs == ()


def test_readings_are_those_of_the_metrics() -> None:
    wanted, got = extract(drawn(200, 2), np.roll(drawn(200, 2), 2, axis=1))
    readings = CONTROL.compare(got, wanted, SETTINGS)
    assert readings["lineart_ssim"].value == pytest.approx(ssim(got.data, wanted.data))
    assert readings["lineart_ms_ssim"].value == pytest.approx(ms_ssim(got.data, wanted.data))
    assert 0 < readings["lineart_ssim"].value < 0.95


def test_f1_forgives_small_shifts_and_weak_ink_but_no_more() -> None:
    picture = drawn(200, 1)

    def f1(other: np.ndarray, **values: float) -> float:
        settings = LineartSettings(**values)  # type: ignore[arg-type]
        return CONTROL.compare(*extract(other, picture), settings)["lineart_f1"].value

    shifted = [f1(np.roll(picture, pixels, axis=0)) for pixels in (0, 2, 3, 6)]
    # 0.0075 × 283 pixels are 2.1 pixels.
    assert shifted[:2] == [1, 1]
    assert shifted == sorted(shifted, reverse=True)
    assert shifted[-1] < 0.4
    assert f1(np.roll(picture, 2, axis=0), tolerance=0) < 0.4
    assert f1(drawn(200, 1, ink=120)) > 0.95
    noise = np.random.default_rng(0).normal(0, 1, picture.shape)
    noisy = [f1(np.clip(picture + s * noise, 0, 255).astype(np.uint8)) for s in (0, 20, 60)]
    assert noisy == sorted(noisy, reverse=True)
    assert f1(np.full_like(picture, 9)) == 0


def test_the_tolerance_does_not_change_the_map() -> None:
    assert LineartSettings(tolerance=0.01).map_canonical() == SETTINGS.map_canonical()
    assert LineartSettings(sigma=5).map_canonical() != SETTINGS.map_canonical()


def test_a_picture_without_lines_leaves_nothing_to_compare() -> None:
    flat, full = extract(np.full((64, 64, 3), 130, np.uint8), drawn(64, 1))
    readings = CONTROL.compare(full, flat, SETTINGS)
    assert all(reading.is_nan and "no lines" in reading.reason for reading in readings.values())
    assert not CONTROL.compare(flat, full, SETTINGS)["lineart_ssim"].is_nan
