"""Protects scribbles: the authors' strokes at 512, whole lines, hand-drawn ones, a fair F1."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from workbench.controls.base import ControlMap
from workbench.controls.scribble import ScribbleControl, ScribbleSettings, strokes
from workbench.metrics.structure import ssim
from workbench.metrics.thinning import thin

CONTROL, SETTINGS = ScribbleControl(), ScribbleSettings()
FOLLOWED = ScribbleSettings(continued=64)


def soft(side: int = 128, strength: int = 255, seed: int = 0) -> np.ndarray:
    """Soft outlines, float32 in [0, 1], the same drawing at every size."""
    rng = np.random.default_rng(seed)
    unit = side / 128
    drawn = np.zeros((side, side), np.uint8)
    for _ in range(3):
        x, y, r = (int(v * unit) for v in rng.integers((30, 30, 10), (98, 98, 26)))
        cv2.circle(drawn, (x, y), r, strength, round(2 * unit))
    cv2.line(drawn, (0, int(90 * unit)), (side, int(95 * unit)), strength, round(2 * unit))
    return cv2.GaussianBlur(drawn, (0, 0), 0.8 * unit).astype(np.float32) / 255


def authors(detected: np.ndarray) -> np.ndarray:
    """Their strokes by plain loops over neighbours; the blur alone is OpenCV's, as theirs is."""
    x = np.pad(cv2.GaussianBlur(detected.astype(np.float32), (0, 0), 3.0), 1, constant_values=-1)
    middle = x[1:-1, 1:-1]
    ridge = np.zeros(middle.shape, bool)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        ahead = x[1 + dy : x.shape[0] - 1 + dy, 1 + dx : x.shape[1] - 1 + dx]
        behind = x[1 - dy : x.shape[0] - 1 - dy, 1 - dx : x.shape[1] - 1 - dx]
        ridge |= (middle >= ahead) & (middle >= behind)
    dots = np.where(ridge & (middle > 127), 255, 0).astype(np.uint8)
    return cv2.GaussianBlur(dots, (0, 0), 3.0) > 4


def drawing(ink: tuple[int, int, int], paper: int) -> np.ndarray:
    picture = np.full((60, 80, 3), paper, np.uint8)
    cv2.line(picture, (10, 50), (70, 12), ink, 3)
    return picture


def as_map(drawn: np.ndarray) -> ControlMap:
    return CONTROL.from_picture(np.repeat(drawn.astype(np.uint8)[:, :, None] * 255, 3, axis=2))


@pytest.mark.parametrize("seed", range(3))
def test_at_512_strokes_are_the_authors(seed: int) -> None:
    detected = np.rint(soft(512, 220, seed) * 255).astype(np.uint8)
    wanted = authors(detected)
    assert 0.01 < wanted.mean() < 0.3
    assert np.array_equal(strokes(detected.astype(np.float32) / 255, SETTINGS), wanted)


def test_without_a_word_strokes_end_where_they_fall_below_any_threshold() -> None:
    detected = soft(512, 150)
    for threshold in (60.0, 127.0):
        left = ScribbleSettings(threshold=threshold)
        said = ScribbleSettings(threshold=threshold, continued=threshold)
        assert np.array_equal(strokes(detected, left), strokes(detected, said))


def test_strokes_shrink_with_the_picture() -> None:
    small, large = strokes(soft(128), SETTINGS), strokes(soft(512), SETTINGS)
    widths = [drawn.sum() / thin(drawn).sum() for drawn in (small, large)]
    assert abs(widths[0] - widths[1] / 4) < 2, "they start from dots of a pixel or two"
    blocks = large.reshape(128, 4, 128, 4).mean((1, 3)) > 0.5
    assert (blocks & small).sum() / blocks.sum() > 0.95


def test_strokes_are_continued_where_an_edge_grows_faint() -> None:
    edges = np.zeros((128, 128), np.float32)
    edges[60:63, 10:118] = 0.9
    edges[60:63, 50:80] = 0.45
    edges[100:103, 10:118] = 0.45
    broken, whole = strokes(edges, SETTINGS), strokes(edges, FOLLOWED)
    assert not broken[61, 55:75].any()
    assert whole[61, 10:118].all()
    assert not whole[95:108].any(), "faint edges of their own stay away"
    assert not (broken & ~whole).any()


def test_maps_are_bool_and_white_on_black() -> None:
    blank = np.zeros((128, 128, 3), np.uint8)
    (found,) = CONTROL.extract([blank], SETTINGS, {"edges": lambda batch: soft()[None]})
    assert found.data.dtype == np.bool_
    assert np.array_equal(found.data, strokes(soft(), SETTINGS))
    assert np.array_equal(found.picture[..., 0] == 255, found.data)
    assert set(np.unique(found.picture)) == {0, 255}


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ((255, 255, 255), 0),
        ((0, 0, 0), 255),
        ((200, 0, 0), 255),
        ((255, 230, 0), 240),
        ((0, 0, 255), 20),
    ],
)
def test_strokes_drawn_by_hand_are_read_in_any_colour(
    ink: tuple[int, int, int], paper: int
) -> None:
    picture = drawing(ink, paper)
    found = CONTROL.from_picture(picture)
    assert np.array_equal(found.data, (picture != paper).any(axis=2))
    assert np.array_equal(found.picture[..., 0] == 255, found.data)


@pytest.mark.parametrize("value", [0, 255])
def test_blank_paper_has_no_strokes(value: int) -> None:
    assert not CONTROL.from_picture(np.full((20, 20, 3), value, np.uint8)).data.any()


def test_the_width_of_strokes_does_not_matter() -> None:
    fine, thick = np.zeros((128, 128), np.uint8), np.zeros((128, 128), np.uint8)
    cv2.line(fine, (20, 30), (100, 90), 1, 1)
    cv2.line(thick, (20, 30), (100, 90), 1, 7)
    readings = CONTROL.compare(as_map(fine), as_map(thick), SETTINGS)
    assert readings["scribble_f1"].value > 0.95
    assert readings["scribble_ssim"].value < 0.95


def test_scores_of_a_shifted_stroke_follow_the_tolerance() -> None:
    bar = np.zeros((100, 100), bool)
    bar[48:51, 20:80] = True
    values = [
        CONTROL.compare(as_map(np.roll(bar, shift, axis=0)), as_map(bar), SETTINGS)
        for shift in (0, 2, 4, 30)
    ]
    f1 = [reading["scribble_f1"].value for reading in values]
    # 0.02 × 141 pixels are 2.8 pixels.
    assert f1 == [1, 1, 0, 0]
    alike = [reading["scribble_ssim"].value for reading in values]
    assert alike == sorted(alike, reverse=True)
    wide = ScribbleSettings(tolerance=0.05)
    moved = as_map(np.roll(bar, 4, axis=0))
    assert CONTROL.compare(moved, as_map(bar), wide)["scribble_f1"].value == 1


def test_precision_and_recall_are_told_apart() -> None:
    half, whole = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    half[30:33, 10:90] = whole[30:33, 10:90] = whole[70:73, 10:90] = True
    readings = CONTROL.compare(as_map(half), as_map(whole), SETTINGS)
    assert readings["scribble_precision"].value == 1
    assert readings["scribble_recall"].value == pytest.approx(0.5, abs=0.02)
    assert readings["scribble_ssim"].value == pytest.approx(ssim(half, whole))


def test_empty_maps() -> None:
    empty, full = as_map(np.zeros((40, 40), bool)), as_map(np.eye(40, dtype=bool))
    readings = CONTROL.compare(full, empty, SETTINGS)
    assert all(reading.is_nan and "no strokes" in reading.reason for reading in readings.values())
    readings = CONTROL.compare(empty, full, SETTINGS)
    assert (readings["scribble_f1"].value, readings["scribble_recall"].value) == (0, 0)
    assert readings["scribble_precision"].is_nan


def test_the_tolerance_does_not_change_the_map() -> None:
    assert ScribbleSettings(tolerance=0.01).map_canonical() == SETTINGS.map_canonical()
    assert FOLLOWED.map_canonical() != SETTINGS.map_canonical()
