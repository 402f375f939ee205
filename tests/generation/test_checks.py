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


SIDES = [8, 40, 64, 128, 500, 1024]


@pytest.mark.parametrize("side", SIDES)
def test_half_precision_black_is_found_at_every_size(side: int) -> None:
    assert "solid" in check_sample(np.zeros((side, side, 3), np.uint8))
    assert "RGB 0, 0, 0" in check_sample(np.zeros((side, side, 3), np.float32))


@pytest.mark.parametrize("side", [64, 128, 500, 1024])
@pytest.mark.parametrize("base", [0, 90, 255])
def test_faint_noise_over_one_colour_is_no_picture(side: int, base: int) -> None:
    noise = np.random.default_rng(side).normal(base, 1.5, (side, side, 3))
    image = np.rint(noise).clip(0, 255).astype(np.uint8)
    assert int(np.ptp(image, axis=(0, 1)).max()) > 2, "more than the range of rounding"
    assert "solid" in check_sample(image)


@pytest.mark.parametrize("side", SIDES)
def test_strong_noise_and_dark_scenes_are_pictures(side: int) -> None:
    rng = np.random.default_rng(side)
    assert check_sample(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) == ""
    night = np.zeros((side, side, 3), np.uint8)
    night[: max(1, side // 8), : max(1, side // 4)] = 9  # a dim window
    assert check_sample(night) == ""
    dusk = np.linspace(100, 105, side)[:, None, None].repeat(side, 1).repeat(3, 2)
    assert check_sample(dusk.astype(np.float32) / 255) == ""


def test_sizes_that_eight_does_not_divide_are_read_whole() -> None:
    image = np.full((13, 29, 3), 100, np.uint8)
    image[-1, -1] = 130
    assert check_sample(image) == "", "one of few pixels"
    wide = np.full((90, 131, 3), 100, np.uint8)
    wide[:, -17:] = 103
    assert check_sample(wide) == ""
