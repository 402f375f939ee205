"""Protects: black, solid and undefined pictures become failures, sound ones never do."""

import numpy as np
import pytest

from workbench.generation import check_sample


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_undefined_value_is_enough(bad: float) -> None:
    image = np.random.default_rng(0).random((8, 8, 3), np.float32)
    image[3, 4, 1] = bad
    assert "not numbers" in check_sample(image)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (12, 200, 77)])
def test_a_solid_colour_is_named(colour: tuple[int, int, int]) -> None:
    image = np.full((8, 8, 3), colour, np.uint8)
    reason = check_sample(image)
    assert "solid" in reason
    assert ", ".join(map(str, colour)) in reason


def test_rounding_noise_does_not_save_a_solid_picture() -> None:
    image = np.full((8, 8, 3), 0.5, np.float32)
    image[0, 0] += 1 / 255
    assert "solid" in check_sample(image)


def test_a_faint_picture_is_still_a_picture() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)
    image[0, 0, 2] = 110
    assert check_sample(image) == ""


def test_grey_levels_count_as_contrast() -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8, 1).repeat(3, axis=2)
    assert check_sample(ramp) == ""
