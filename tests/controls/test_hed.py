"""Protects soft edges: one call a size, values as the network gives them, NaN where none are."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.controls.base import ControlError, ControlMap
from workbench.controls.hed import HedControl, HedSettings
from workbench.metrics.edges import edge_scores
from workbench.metrics.structure import ms_ssim, ssim
from workbench.metrics.thinning import thin

CONTROL, SETTINGS = HedControl(), HedSettings()


def redness(batch: np.ndarray) -> np.ndarray:
    """A stand-in for an edge network: the red channel."""
    return batch[..., 0].astype(np.float32) / 255


def picture(seed: int, height: int = 40, width: int = 50) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def extract(*pictures: np.ndarray) -> list[ControlMap]:
    return CONTROL.extract(pictures, SETTINGS, {"edges": redness})


def test_the_map_is_what_the_network_says() -> None:
    (found,) = extract(picture(1))
    assert found.data.dtype == np.float32
    assert np.array_equal(found.data, redness(picture(1)))
    assert np.array_equal(found.picture, np.repeat(picture(1)[..., :1], 3, axis=2))


def test_one_call_for_each_size() -> None:
    calls: list[tuple[int, ...]] = []

    def network(batch: np.ndarray) -> np.ndarray:
        calls.append(batch.shape)
        return redness(batch)

    pictures = [picture(1), picture(2, 30, 30), picture(3), picture(4, 30, 30)]
    maps = CONTROL.extract(pictures, SETTINGS, {"edges": network})
    assert calls == [(2, 40, 50, 3), (2, 30, 30, 3)]
    for image, found in zip(pictures, maps, strict=True):
        assert np.array_equal(found.data, redness(image[None])[0])


def test_a_network_may_answer_at_its_own_size_and_overshoot() -> None:
    network = {"edges": lambda b: 2 * redness(b)[:, ::2, ::2] - 0.5}
    (found,) = CONTROL.extract([picture(1)], SETTINGS, network)
    assert found.data.shape == (40, 50)
    assert (found.data.min(), found.data.max()) == (0, 1)


def test_missing_and_broken_networks_are_told() -> None:
    with pytest.raises(ControlError, match=r"Soft edges \(HED\) needs the network 'edges'"):
        CONTROL.extract([picture(1)], SETTINGS, {})
    with pytest.raises(ControlError, match="not finite"):
        CONTROL.extract([picture(1)], SETTINGS, {"edges": lambda b: redness(b) * np.nan})
    for wrong in (lambda b: redness(b)[0], lambda b: redness(b)[:0], lambda b: b):
        with pytest.raises(ControlError, match="returned"):
            CONTROL.extract([picture(1)], SETTINGS, {"edges": wrong})


def test_readings_are_those_of_the_metrics() -> None:
    wanted, got = extract(picture(1, 180, 200), picture(2, 180, 200) // 2)
    readings = CONTROL.compare(got, wanted, SETTINGS)
    assert readings["hed_ssim"].value == pytest.approx(ssim(got.data, wanted.data))
    assert readings["hed_ms_ssim"].value == pytest.approx(ms_ssim(got.data, wanted.data))
    lines = [thin(one.data > 0.25) for one in (got, wanted)]
    assert readings["hed_f1"].value == pytest.approx(
        edge_scores(*lines, 0.0075 * np.hypot(180, 200)).f1
    )


def test_small_maps_say_what_is_missing() -> None:
    wanted, got = extract(picture(1), picture(2))
    reading = CONTROL.compare(got, wanted, SETTINGS)["hed_ms_ssim"]
    assert reading.is_nan
    assert "176 pixels" in reading.reason
    wanted, got = extract(picture(1, 10, 50), picture(2, 10, 50))
    reading = CONTROL.compare(got, wanted, SETTINGS)["hed_ssim"]
    assert reading.is_nan
    assert "11 pixels" in reading.reason


def test_empty_maps() -> None:
    empty, full = extract(np.full((40, 50, 3), 20, np.uint8), picture(1))
    readings = CONTROL.compare(full, empty, SETTINGS)
    assert all(reading.is_nan and "wanted" in reading.reason for reading in readings.values())
    readings = CONTROL.compare(empty, full, SETTINGS)
    assert readings["hed_ssim"].value < 0.2 and readings["hed_f1"].value == 0


def test_faint_edges_are_compared_as_edges_too() -> None:
    """A network that is nowhere sure still says where the edges are."""
    bright = np.zeros((40, 50, 3), np.uint8)
    bright[10:30, 24] = 255
    wanted, same = extract(bright // 5, bright)
    assert wanted.data.max() < 0.25
    assert CONTROL.compare(same, wanted, SETTINGS)["hed_f1"].value == 1
    (elsewhere,) = extract(np.roll(bright, 9, axis=1))
    assert CONTROL.compare(elsewhere, wanted, SETTINGS)["hed_f1"].value == 0


def test_maps_of_unequal_size_are_compared_at_the_size_of_the_wanted_one() -> None:
    small = np.zeros((40, 40, 3), np.uint8)
    small[10:30, 18:22] = 255
    wanted, got = extract(small, small.repeat(2, 0).repeat(2, 1))
    assert CONTROL.compare(got, wanted, SETTINGS)["hed_ssim"].value > 0.999
    assert CONTROL.compare(wanted, got, SETTINGS)["hed_ssim"].value > 0.8


def test_a_drawn_map_is_taken_as_it_is() -> None:
    assert np.allclose(CONTROL.from_picture(np.full((4, 4, 3), 51, np.uint8)).data, 0.2)
