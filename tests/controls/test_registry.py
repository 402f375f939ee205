"""Protects the list of control types and the promises each of them makes."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from pydantic import ValidationError

from workbench.controls import CONTROL_NAMES, ControlError, ControlMap, get_control
from workbench.controls.base import Networks
from workbench.paperdoll import render, sample_scene

PICTURES = [
    np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    for seed, size in enumerate([(40, 30, 3), (33, 50, 3), (40, 30, 3)])
]


def person(batch: np.ndarray) -> np.ndarray:
    """Somebody who leans as far as the picture is bright, at any size."""
    joints = sample_scene(1).pose.joints()
    lean = batch.mean(axis=(1, 2, 3), dtype=np.float64)[:, None] / 255 - 0.5
    x = (joints[:, 0] + 0.3 * lean * (joints[:, 1] - 0.5)) * batch.shape[2]
    y = np.broadcast_to(joints[:, 1] * batch.shape[1], x.shape)
    return np.stack([x, y, np.full_like(x, 0.9)], axis=2)[:, None].astype(np.float32)


SCENE = render(sample_scene(2)).rgb
NETWORKS: Networks = {
    "depth": lambda batch: batch.mean(axis=3).astype(np.float32) / 255,
    # Sparse, as edges are: a scribble that is mostly white would be read back as dark on light.
    "edges": lambda batch: (batch[..., 0] > 250).astype(np.float32),
    "normal": lambda batch: batch.astype(np.float32) / 255 + np.float32([-0.5, -0.5, 0.5]),
    "segmentation": lambda batch: batch[..., 0] // 16,
    "pose": person,
}


def test_the_founding_controls_are_there() -> None:
    assert {"canny", "depth", "normal", "segmentation"} <= set(CONTROL_NAMES)
    assert {"hed", "lineart", "lines", "pose", "scribble"} <= set(CONTROL_NAMES)
    assert not {"base", "compare"} & set(CONTROL_NAMES)
    assert list(CONTROL_NAMES) == sorted(CONTROL_NAMES)


def test_an_unknown_control_is_a_clear_error() -> None:
    with pytest.raises(ControlError, match=r"no control type 'cany'; there are: .*mean 'canny'"):
        get_control("cany")
    for odd in ("", "base", "../canny", "canny.CONTROL", "__init__"):
        with pytest.raises(ControlError, match="no control type"):
            get_control(odd)


@pytest.mark.parametrize("name", CONTROL_NAMES)
class TestEvery:
    def test_control_describes_itself(self, name: str) -> None:
        control = get_control(name)
        assert control.name == name
        assert control.label
        names = [spec.name for spec in control.metrics]
        assert len(set(names)) == len(names)
        assert all(metric.startswith(f"{name}_") for metric in names)
        assert all(spec.protocol and spec.label for spec in control.metrics)
        assert control.metric(control.primary) in control.metrics
        assert not inspect.isabstract(type(control))
        with pytest.raises(ControlError, match="has no metric"):
            control.metric("nonsense")

    def test_settings_are_strict_canonical_and_have_defaults(self, name: str) -> None:
        control = get_control(name)
        default = control.settings()
        assert control.settings(default.model_dump()) == default
        again = control.settings_type.model_validate_json(default.canonical())
        assert again.canonical() == default.canonical()
        with pytest.raises(ValidationError, match="nonsense"):
            control.settings({"nonsense": 1})
        assert type(default).comparison_only <= set(type(default).model_fields)

    def test_extraction_keeps_order_and_sizes_and_touches_nothing(self, name: str) -> None:
        control = get_control(name)
        before = [picture.copy() for picture in PICTURES]
        maps = control.extract(PICTURES, control.settings(), NETWORKS)
        for picture, same, found in zip(PICTURES, before, maps, strict=True):
            assert found.picture.shape == picture.shape
            assert found.picture.dtype == np.uint8
            assert np.array_equal(picture, same)
            (alone,) = control.extract([picture], control.settings(), NETWORKS)
            assert np.array_equal(alone.data, found.data)
            assert np.array_equal(alone.picture, found.picture)
        assert control.extract([], control.settings(), NETWORKS) == []

    def test_comparison_gives_every_metric_in_order_within_its_range(self, name: str) -> None:
        control = get_control(name)
        a, b, c = control.extract(PICTURES, control.settings(), NETWORKS)
        for wanted, got in [(a, b), (b, a), (a, c), (a, a)]:
            readings = control.compare(got, wanted, control.settings())
            assert list(readings) == [spec.name for spec in control.metrics]
            for spec in control.metrics:
                value = readings[spec.name].value
                if math.isnan(value):  # a metric may need larger pictures, adherence may not
                    assert readings[spec.name].reason and spec.name != control.primary
                    continue
                assert spec.low is None or value >= spec.low
                assert spec.high is None or value <= spec.high + 1e-9
                if got is wanted:
                    assert value == pytest.approx(spec.best, abs=1e-6)

    def test_a_stored_map_can_be_read_back(self, name: str) -> None:
        control = get_control(name)
        (found,) = control.extract(PICTURES[:1], control.settings(), NETWORKS)
        back = control.from_picture(found.picture)
        assert np.array_equal(back.picture, found.picture)
        assert back.data.dtype == found.data.dtype
        if back.data.shape[:2] != found.picture.shape[:2]:
            return  # joints and segments are measured anew on the drawing, see below
        # Half a step of eight bits; vectors span twice the range and come back to length 1.
        loss = 0.5 / 255 if back.data.ndim == 2 else 3**0.5 / 255
        assert np.abs(back.data.astype(float) - found.data.astype(float)).max() <= loss + 1e-6

    def test_a_stored_map_of_a_scene_says_what_the_map_said(self, name: str) -> None:
        control = get_control(name)
        (found,) = control.extract([SCENE], control.settings(), NETWORKS)
        back = control.from_picture(found.picture)
        value = control.compare(back, found, control.settings())[control.primary].value
        spec = control.metric(control.primary)
        assert value == pytest.approx(spec.best, abs=0.05 if spec.high == 1 else 1)

    @pytest.mark.parametrize(
        "bad",
        [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
    )
    def test_what_is_no_picture_is_refused(self, name: str, bad: np.ndarray) -> None:
        control = get_control(name)
        with pytest.raises(ControlError, match="picture 0 must be uint8"):
            control.extract([bad], control.settings(), NETWORKS)


def test_a_map_must_have_a_picture() -> None:
    with pytest.raises(ControlError, match="uint8 H×W×3"):
        ControlMap(np.zeros((4, 4), np.uint8), np.zeros((4, 4)))
