"""Protects thinning: one pixel wide, in one piece, like scikit-image, and at rest when done."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import distance_transform_edt, label
from skimage.morphology import skeletonize

from workbench.metrics.thinning import thin, thin_again


def drawing(seed: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = np.zeros((90, 110), np.uint8)
    for _ in range(4):
        ends = rng.integers(5, (105, 85), (2, 2))
        cv2.line(drawn, ends[0].tolist(), ends[1].tolist(), 1, width)
    cv2.circle(drawn, (50, 40), 20, 1, width)
    return drawn.astype(bool)


def paper(strokes: np.ndarray) -> np.ndarray:
    """Zhang and Suen's two passes, pixel by pixel as in their paper."""
    left = np.pad(strokes, 1).astype(int)
    while True:
        gone = 0
        for first in (True, False):
            marked = []
            for y, x in np.argwhere(left):
                p2, p3, p4 = left[y - 1, x], left[y - 1, x + 1], left[y, x + 1]
                p5, p6, p7 = left[y + 1, x + 1], left[y + 1, x], left[y + 1, x - 1]
                p8, p9 = left[y, x - 1], left[y - 1, x - 1]
                ring = [p2, p3, p4, p5, p6, p7, p8, p9, p2]
                rises = sum(ring[k] == 0 and ring[k + 1] == 1 for k in range(8))
                c = p2 * p4 * p6 if first else p2 * p4 * p8
                d = p4 * p6 * p8 if first else p2 * p6 * p8
                if 2 <= sum(ring[:8]) <= 6 and rises == 1 and c == 0 and d == 0:
                    marked.append((y, x))
            for place in marked:
                left[place] = 0
            gone += len(marked)
        if not gone:
            return left[1:-1, 1:-1].astype(bool)


@settings(deadline=None, max_examples=150)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=10)))
def test_it_is_the_papers_algorithm(strokes: np.ndarray) -> None:
    assert np.array_equal(thin(strokes), paper(strokes))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("width", [1, 3, 7])
def test_strokes_become_middle_lines(seed: int, width: int) -> None:
    strokes = drawing(seed, width)
    lines = thin(strokes)
    assert not (lines & ~strokes).any()
    eight = np.ones((3, 3))
    assert label(lines, eight)[1] == label(strokes, eight)[1], "pieces stay whole"
    assert np.array_equal(thin(lines), lines), "thin lines stay"
    # scikit-image's variant may differ where strokes meet.
    others = skeletonize(strokes)
    for some, rest in ((lines, others), (others, lines)):
        assert (distance_transform_edt(~rest)[some] <= 1.5).mean() > 0.97
    assert abs(int(lines.sum()) - int(others.sum())) <= 0.15 * others.sum()


def test_empty_and_wrong_input() -> None:
    assert not thin(np.zeros((5, 6), bool)).any()
    with pytest.raises(ValueError, match="bool H×W"):
        thin(np.zeros((5, 5), np.uint8))
    with pytest.raises(ValueError, match="bool H×W"):
        thin(np.zeros((2, 5, 5), bool))


def test_a_map_that_comes_again_is_known_by_its_pixels() -> None:
    for seed in (1, 2, 1):
        strokes = drawing(seed, 5)
        lines = thin_again(strokes)
        assert np.array_equal(lines, thin(strokes)) and not lines.flags.writeable
        assert thin_again(strokes.copy()) is lines
    strokes[40] = True
    assert np.array_equal(thin_again(strokes), thin(strokes))
    with pytest.raises(ValueError, match="bool"):
        thin_again(strokes.astype(np.uint8))
