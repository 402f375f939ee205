"""Protects the normal control: the field's colours, ControlNet's normals from depth, fair NaN."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from workbench.controls import get_control
from workbench.controls._directions import FULL_DEPTH, REFERENCE_SIDE, from_depth, resize_normals
from workbench.controls.base import ControlError, ControlMap
from workbench.controls.normal import CONTROL, NormalSettings
from workbench.metrics import normals
from workbench.paperdoll import render, sample_scene

SETTINGS = NormalSettings()
FROM_DEPTH = NormalSettings(method="from_depth")
PICTURE = np.zeros((40, 60, 3), np.uint8)


def ball(height: int = 64, width: int = 64) -> np.ndarray:
    """The normals of a ball before a wall, float32 H×W×3."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = (x - width / 2) / (height / 2.5), (height / 2 - y) / (height / 2.5)
    inside = x * x + y * y < 1
    z = np.sqrt(np.maximum(1 - x * x - y * y, 0))
    found = np.where(inside[..., None], np.stack([x, y, z], axis=2), (0, 0, 1))
    return (found / np.linalg.norm(found, axis=2, keepdims=True)).astype(np.float32)


def dome(height: int = 64, width: int = 64) -> np.ndarray:
    """Inverse depth of a bump before a slope, float32 H×W."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    bump = np.exp(-((x - 0.5) ** 2 + (y - 0.4) ** 2) / 0.05)
    return (0.5 * y + bump).astype(np.float32)


def estimated(values: np.ndarray, picture: np.ndarray = PICTURE) -> ControlMap:
    (found,) = CONTROL.extract([picture], SETTINGS, {"normal": lambda batch: values[None]})
    return found


def facing(*vector: float) -> list[int]:
    """The colour of a surface which faces this way."""
    found = estimated(np.full((40, 60, 3), vector, np.float32))
    assert (found.picture == found.picture[0, 0]).all()
    return found.picture[0, 0].tolist()


def test_blue_is_front_green_is_up_red_is_left() -> None:
    assert facing(0, 0, 1) == [128, 128, 255]
    assert facing(0, 1, 0) == [128, 255, 128]
    assert facing(0, -1, 0) == [128, 0, 128]
    assert facing(-1, 0, 0) == [255, 128, 128]
    assert facing(1, 0, 0) == [0, 128, 128]
    assert facing(0, 0, 0) == [128, 128, 128]


def test_vectors_come_to_length_one() -> None:
    found = estimated(ball() * 3.5, np.zeros((64, 64, 3), np.uint8))
    assert found.data.dtype == np.float32
    assert np.allclose(found.data, ball(), atol=1e-6)


def test_pictures_are_read_back() -> None:
    found = estimated(ball(), np.zeros((64, 64, 3), np.uint8))
    again = CONTROL.from_picture(found.picture)
    assert normals.angles(again.data, found.data).max() < 0.5
    assert np.array_equal(again.picture, found.picture)


def test_colours_that_are_no_normals_are_undefined() -> None:
    picture = estimated(ball(), np.zeros((64, 64, 3), np.uint8)).picture.copy()
    for column, grey in enumerate((0, 128, 255)):
        picture[:, column] = grey
    found = CONTROL.from_picture(picture)
    assert not found.data[:, :3].any()
    assert np.allclose(np.linalg.norm(found.data[:, 3:], axis=2), 1, atol=1e-6)


@pytest.mark.parametrize("method", ["estimated", "from_depth"])
def test_networks_are_asked_for_what_the_method_needs(method: str) -> None:
    settings = NormalSettings(method=method)
    needed = {"estimated": "normal", "from_depth": "depth"}[method]
    assert CONTROL.needs_for(settings) == (needed,)
    with pytest.raises(ControlError, match=f"needs the network '{needed}'"):
        CONTROL.extract([PICTURE], settings, {})
    with pytest.raises(ControlError, match="returned"):
        CONTROL.extract([PICTURE], settings, {needed: lambda b: b[0, 0]})
    bad = np.full((1, 40, 60, 3) if needed == "normal" else (1, 40, 60), np.nan)
    with pytest.raises(ControlError, match="not finite"):
        CONTROL.extract([PICTURE], settings, {needed: lambda b: bad})


def test_four_channels_are_no_normals() -> None:
    with pytest.raises(ControlError, match="4 values a pixel"):
        estimated(np.zeros((40, 60, 4), np.float32))


def test_one_call_for_each_size() -> None:
    calls: list[tuple[int, ...]] = []

    def network(batch: np.ndarray) -> np.ndarray:
        calls.append(batch.shape)
        return batch.astype(np.float32) + (0, 0, 1)

    rng = np.random.default_rng(0)
    sizes = [(20, 60), (30, 30), (20, 60)]
    pictures = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]
    maps = CONTROL.extract(pictures, SETTINGS, {"normal": network})
    assert calls == [(2, 20, 60, 3), (1, 30, 30, 3)]
    for picture, found in zip(pictures, maps, strict=True):
        assert np.array_equal(
            found.data, CONTROL.extract([picture], SETTINGS, {"normal": network})[0].data
        )


def test_from_depth_is_the_annotators() -> None:
    """Written as in the MiDaS annotator, on depth which has its size and range already."""
    depth = dome(384, 500)
    low, high = np.percentile(depth, [1, 99])
    depth = (depth - low) / (high - low) * FULL_DEPTH
    share = depth / FULL_DEPTH
    x = cv2.Sobel(depth, cv2.CV_64F, 1, 0, ksize=3)
    y = cv2.Sobel(depth, cv2.CV_64F, 0, 1, ksize=3)
    z = np.ones_like(x) * (np.pi * 2.0)
    x[share < 0.3] = 0
    y[share < 0.3] = 0
    theirs = np.stack([x, y, z], axis=2)
    theirs /= np.sum(theirs**2.0, axis=2, keepdims=True) ** 0.5
    theirs = (theirs * 127.5 + 127.5).clip(0, 255)
    ours = CONTROL.extract(
        [np.zeros((384, 500, 3), np.uint8)],
        NormalSettings(method="from_depth", bg_threshold=0.3),
        {"depth": lambda b: depth[None]},
    )[0].picture
    assert np.abs(ours - theirs).max() <= 1
    assert REFERENCE_SIDE == 384


def test_depth_gives_the_side_a_surface_faces() -> None:
    across, down = np.tile(np.linspace(0, 1, 50), (50, 1)), np.linspace(0, 1, 50)[:, None]
    nearer_right = from_depth(across, 6, 0)[25, 25]
    assert nearer_right[0] < -0.3
    assert nearer_right[1] == pytest.approx(0)
    floor = from_depth(np.broadcast_to(down, (50, 50)), 6, 0)[25, 25]
    assert floor[1] > 0.3
    assert floor[0] == pytest.approx(0)


def test_unit_and_size_of_the_depth_do_not_matter() -> None:
    one = from_depth(dome(), 6, 0.1)
    assert np.allclose(from_depth(dome() * 900 - 70, 6, 0.1), one, atol=1e-3)
    large = resize_normals(from_depth(dome(256, 256), 6, 0.1), (64, 64))
    inner = np.s_[2:-2, 2:-2]
    assert normals.mean_angle(large[inner], one[inner]) < 2


def test_a_and_threshold_do_what_they_say() -> None:
    steep, flat = from_depth(dome(), 1, 0), from_depth(dome(), 50, 0)
    assert flat[..., 2].mean() > steep[..., 2].mean() + 0.1
    cut = from_depth(dome(), 1, 0.5)
    assert np.array_equal(cut[0], np.tile([[0, 0, 1]], (64, 1)))
    assert np.array_equal(cut[25:40, 28:36], steep[25:40, 28:36])


def test_normals_from_the_renderers_depth_are_near_the_truth() -> None:
    scene = render(sample_scene(800_003))
    found = from_depth(scene.depth, SETTINGS.a, SETTINGS.bg_threshold)
    assert normals.mean_angle(found, scene.normal) < 15
    mirrored = found * np.float32([-1, 1, 1])
    assert normals.mean_angle(mirrored, scene.normal) > normals.mean_angle(found, scene.normal) + 2


def test_readings_are_those_of_the_metrics() -> None:
    wanted = estimated(ball(), np.zeros((64, 64, 3), np.uint8))
    got = estimated(np.roll(ball(), 5, axis=1), np.zeros((64, 64, 3), np.uint8))
    readings = CONTROL.compare(got, wanted, SETTINGS)
    assert list(readings) == [spec.name for spec in CONTROL.metrics]
    scores = normals.normal_scores(got.data, wanted.data)
    assert [reading.value for reading in readings.values()] == [
        scores.mean,
        scores.median,
        scores.within_11,
        scores.within_22,
        scores.within_30,
    ]


def test_maps_of_unequal_size_are_compared_at_the_size_of_the_wanted_one() -> None:
    small = ControlMap(np.zeros((64, 64, 3), np.uint8), ball())
    large = ControlMap(np.zeros((192, 192, 3), np.uint8), ball(192, 192))
    for wanted, got in ((small, large), (large, small)):
        assert CONTROL.compare(got, wanted, SETTINGS)["normal_mean_angle"].value < 3
    halved = resize_normals(ball(192, 192), (64, 64))
    assert np.allclose(np.linalg.norm(halved, axis=2), 1, atol=1e-5)


def test_flat_and_undefined_maps_leave_nothing_to_compare() -> None:
    other = ControlMap(np.zeros((40, 60, 3), np.uint8), ball(40, 60))
    slope = CONTROL.extract([PICTURE], FROM_DEPTH, {"depth": lambda b: np.full(b.shape[:3], 0.7)})
    assert np.array_equal(slope[0].data, np.tile(np.float32([0, 0, 1]), (40, 60, 1)))
    painted = CONTROL.from_picture(np.full((40, 60, 3), (90, 170, 240), np.uint8))
    for wanted in (slope[0], painted):
        readings = CONTROL.compare(other, wanted, SETTINGS)
        assert {r.reason for r in readings.values()} == {
            "the wanted map is flat, all its normals are the same"
        }
        assert all(r.is_nan for r in readings.values())
    black = CONTROL.from_picture(np.zeros((40, 60, 3), np.uint8))
    readings = CONTROL.compare(other, black, SETTINGS)
    assert {r.reason for r in readings.values()} == {"the wanted map has no normals"}
    # A sample without normals is as wrong as chance, not without a value.
    assert CONTROL.compare(black, other, SETTINGS)["normal_mean_angle"].value == 90


@pytest.mark.parametrize(
    "values",
    [{"method": "guess"}, {"a": 0}, {"a": math.inf}, {"bg_threshold": 1.1}, {"bg_thresh": 0.1}],
)
def test_wrong_settings_name_their_field(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as error:
        NormalSettings.model_validate(values)
    assert [problem["loc"] for problem in error.value.errors()] == [tuple(values)]


def test_directions_are_those_of_the_metrics() -> None:
    kinds = {"mean_angle": normals.NormalMeanAngle, "median_angle": normals.NormalMedianAngle}
    for spec in get_control("normal").metrics:
        kind = kinds.get(spec.name.removeprefix("normal_"), normals.NormalWithin)
        assert spec.higher_is_better is kind.higher_is_better
