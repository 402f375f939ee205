"""Protects the depth control: fair batches, one normalisation for all maps, NaN for flat ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.controls.base import ControlError, ControlMap
from workbench.controls.depth import DepthControl, DepthSettings, normalise
from workbench.metrics import depth

CONTROL, SETTINGS = DepthControl(), DepthSettings()


def brightness(batch: np.ndarray) -> np.ndarray:
    """A stand-in for a depth network: the brighter, the nearer, in units of its own."""
    return (batch.mean(axis=3) * 3 + 40).astype(np.float32)


def ramp(height: int = 20, width: int = 60) -> np.ndarray:
    grey = np.tile(np.linspace(0, 255, width).round().astype(np.uint8), (height, 1))
    return np.repeat(grey[:, :, None], 3, axis=2)


def extract(*pictures: np.ndarray) -> list[ControlMap]:
    return CONTROL.extract(pictures, SETTINGS, {"depth": brightness})


def test_without_a_network_it_says_so() -> None:
    with pytest.raises(ControlError, match="lends none"):
        CONTROL.extract([ramp()], SETTINGS, {})
    assert CONTROL.needs == ("depth",)


def test_the_map_is_inverse_depth_from_zero_to_one() -> None:
    (found,) = extract(ramp())
    assert found.data.dtype == np.float32
    assert (found.data.min(), found.data.max()) == (0, 1)
    low, high = np.percentile(brightness(ramp()[None])[0], [1, 99])
    wanted = np.clip((brightness(ramp()[None])[0] - low) / (high - low), 0, 1)
    assert np.allclose(found.data, wanted, atol=1e-6)
    assert found.picture[0, 0].tolist() == [0, 0, 0]
    assert found.picture[0, -1].tolist() == [255, 255, 255], "near is white"


def test_normalising_ignores_scale_shift_and_outliers() -> None:
    raw = np.random.default_rng(0).random((50, 50))
    assert np.allclose(normalise(raw), normalise(1000 * raw - 30), atol=1e-5)
    spoilt = raw.copy()
    spoilt[0, :5] = 1e4
    assert np.abs(normalise(spoilt)[1:] - normalise(raw)[1:]).max() < 0.02


def test_a_small_thing_before_a_wall_is_still_seen() -> None:
    raw = np.zeros((50, 50))
    raw[20:24, 20:24] = 5
    assert normalise(raw)[21, 21] == 1
    assert normalise(raw).sum() == 16


@pytest.mark.parametrize("value", [0.0, -3.0, 0.7, 1e6])
def test_a_flat_map_is_all_zero(value: float) -> None:
    noise = np.random.default_rng(0).random((9, 9)) * abs(value) * 1e-9
    assert not normalise(np.full((9, 9), value) + noise).any()


def test_broken_networks_are_told() -> None:
    with pytest.raises(ControlError, match="not finite"):
        CONTROL.extract([ramp()], SETTINGS, {"depth": lambda b: np.full(b.shape[:3], np.nan)})
    with pytest.raises(ControlError, match="returned"):
        CONTROL.extract([ramp()], SETTINGS, {"depth": lambda b: b.mean(axis=3)[0]})


def test_one_call_for_each_size() -> None:
    calls: list[tuple[int, ...]] = []

    def network(batch: np.ndarray) -> np.ndarray:
        calls.append(batch.shape)
        return brightness(batch)

    pictures = [ramp(), ramp(30, 30), ramp()[:, ::-1], ramp(30, 30)]
    maps = CONTROL.extract(pictures, SETTINGS, {"depth": network})
    assert calls == [(2, 20, 60, 3), (2, 30, 30, 3)]
    assert np.allclose(maps[2].data, maps[0].data[:, ::-1], atol=1e-6)


def test_a_network_may_answer_at_its_own_size() -> None:
    (found,) = CONTROL.extract([ramp()], SETTINGS, {"depth": lambda b: brightness(b)[:, ::2, ::2]})
    assert found.data.shape == (20, 60)
    assert np.abs(found.data - extract(ramp())[0].data).max() < 0.05


def test_readings_are_those_of_the_metrics() -> None:
    rng = np.random.default_rng(1)
    speckles = rng.integers(0, 128, (2, 16, 16, 3), dtype=np.uint8)
    pictures = [speckle + ramp(16, 16) // 2 for speckle in speckles]
    wanted, got = extract(*pictures)
    readings = {k: r.value for k, r in CONTROL.compare(got, wanted, SETTINGS).items()}
    assert readings == pytest.approx(
        {
            "depth_si_rmse": depth.si_rmse(got.data, wanted.data),
            "depth_rmse": depth.rmse_255(got.data, wanted.data),
            "depth_abs_rel": depth.abs_rel(got.data, wanted.data),
            "depth_delta1": depth.delta_1_25(got.data, wanted.data),
            "depth_pearson": depth.pearson(got.data, wanted.data),
        }
    )
    assert readings["depth_si_rmse"] != pytest.approx(depth.si_rmse(wanted.data, got.data))


def test_directions_are_those_of_the_metrics() -> None:
    kinds = {
        "depth_si_rmse": depth.DepthSiRMSE,
        "depth_rmse": depth.DepthRMSE255,
        "depth_abs_rel": depth.DepthAbsRel,
        "depth_delta1": depth.DepthDelta125,
        "depth_pearson": depth.DepthPearson,
    }
    for spec in CONTROL.metrics:
        assert spec.higher_is_better is kinds[spec.name].higher_is_better


def test_flat_maps() -> None:
    flat, deep = extract(np.full((20, 60, 3), 9, np.uint8), ramp())
    readings = CONTROL.compare(deep, flat, SETTINGS)
    assert all(reading.is_nan and "wanted" in reading.reason for reading in readings.values())
    readings = CONTROL.compare(flat, deep, SETTINGS)
    assert readings["depth_pearson"].value == 0
    assert readings["depth_si_rmse"].value == pytest.approx(float(deep.data.std()), rel=1e-4)
    assert not math.isnan(readings["depth_rmse"].value)


def test_maps_of_unequal_size_are_compared_at_the_size_of_the_wanted_one() -> None:
    small, large = extract(ramp(20, 60), ramp(40, 120))
    readings = CONTROL.compare(large, small, SETTINGS)
    assert readings["depth_pearson"].value > 0.999
    assert readings["depth_rmse"].value < 3


def test_a_drawn_map_is_taken_as_it_is() -> None:
    grey = np.full((4, 4, 3), 51, np.uint8)
    assert np.allclose(CONTROL.from_picture(grey).data, 0.2)
