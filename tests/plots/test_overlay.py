"""The overlay of two maps says where they agree, and never the other way round."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.controls import get_control
from workbench.plots import map_overlay


def lines(*columns: int) -> np.ndarray:
    """White vertical lines on black, 8×8."""
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, list(columns)] = 255
    return picture


def test_lines_of_both_are_white_and_lines_of_one_have_its_colour() -> None:
    found = map_overlay(lines(1, 3), lines(3, 5))
    colours = [tuple(int(v) for v in found[4, x]) for x in (1, 3, 5, 7)]
    assert colours == [(255, 0, 0), (255, 255, 255), (0, 255, 255), (0, 0, 0)]


def test_colour_maps_turn_red_where_they_differ() -> None:
    wanted = np.zeros((4, 6, 3), np.uint8)
    wanted[:, :3] = (120, 180, 60)
    got = wanted.copy()
    got[:, 5] = (255, 0, 0)
    got[:, 2] = (60, 180, 60)
    found = map_overlay(wanted, got).astype(int)
    assert (found[:, 5] == (255, 0, 0)).all()
    same = found[:, :2]
    assert (same == same[..., :1]).all() and 0 < same.max() < 100  # faint and grey
    assert (found[:, 2, 0] > found[:, 2, 1]).all()  # a small difference is a little red


def test_limbs_of_one_map_tell_which_map_it_is() -> None:
    joints = np.zeros((1, 18, 3), np.float32)
    joints[0] = [(50 + 3 * k, 10 + 6 * k, 1) for k in range(18)]
    pose = get_control("pose")
    lent = {"pose": lambda batch: np.repeat(joints[None], len(batch), axis=0)}
    blank = np.zeros((128, 128, 3), np.uint8)
    (wanted,) = (m.picture for m in pose.extract([blank], pose.settings(), lent))
    got = np.roll(wanted, 40, axis=1)
    mine, other = wanted.max(axis=2), got.max(axis=2)
    found = map_overlay(wanted, got)
    assert (found[..., 0] == mine).all() and (found[..., 1] == other).all()
    assert (found[..., 2] == other).all()
    assert (map_overlay(got, wanted) != found).any()
    assert (map_overlay(wanted, blank)[..., 1:] == 0).all()  # nobody came out: red alone


def test_a_map_over_itself_has_no_colour() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    for picture in (noise, np.repeat(noise[..., :1], 3, axis=2)):
        found = map_overlay(picture, picture)
        assert (found == found[..., :1]).all()


def test_the_second_map_is_brought_to_the_size_of_the_first() -> None:
    large = np.kron(lines(2, 3), np.ones((2, 2, 1), np.uint8))
    assert np.array_equal(map_overlay(lines(2, 3), large), lines(2, 3))


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8 H×W×3"):
        map_overlay(lines(1)[..., 0], lines(1))
