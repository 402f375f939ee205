"""Protects segment F1: one-to-one matching equal to brute force, either end first, and sane."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from workbench.metrics.segments import (
    SegmentF1,
    SegmentPrecision,
    SegmentRecall,
    SegmentScores,
    segment_distances,
    segment_f1,
    segment_precision,
    segment_recall,
    segment_scores,
)

NONE = np.zeros((0, 4))


def segments(seed: int, count: int = 12, side: float = 100) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, side, (count, 4))


def near(p: np.ndarray, t: np.ndarray, tolerance: float) -> bool:
    """Whether two segments are the same within the tolerance, in so many words."""
    ways = [(p[:2], p[2:]), (p[2:], p[:2])]
    return any(
        math.dist(a, t[:2]) <= tolerance and math.dist(b, t[2:]) <= tolerance for a, b in ways
    )


def most_pairs(pred: list[np.ndarray], target: list[np.ndarray], tolerance: float) -> int:
    """The best of all one-to-one matchings, by trying them all."""
    if not pred or not target:
        return 0
    first, rest = pred[0], pred[1:]
    best = most_pairs(rest, target, tolerance)
    for index, other in enumerate(target):
        if near(first, other, tolerance):
            left = target[:index] + target[index + 1 :]
            best = max(best, 1 + most_pairs(rest, left, tolerance))
    return best


@pytest.mark.parametrize("seed", range(30))
def test_matching_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pred = segments(seed, int(rng.integers(1, 7)), 8)
    target = segments(seed + 1000, int(rng.integers(1, 7)), 8)
    tolerance = float(rng.uniform(1, 6))
    pairs = most_pairs(list(pred), list(target), tolerance)
    expected = SegmentScores(
        2 * pairs / (len(pred) + len(target)), pairs / len(pred), pairs / len(target)
    )
    assert segment_scores(pred, target, tolerance) == expected


def test_a_large_set_is_matched_as_by_the_assignment_problem() -> None:
    pred, target = segments(1, 150, 40), segments(2, 130, 40)
    close = segment_distances(pred, target) <= 9
    rows, columns = linear_sum_assignment(close, maximize=True)
    pairs = int(close[rows, columns].sum())
    assert 20 < pairs < 130
    assert segment_scores(pred, target, 9).precision == pytest.approx(pairs / 150)


def test_distances_take_the_farther_end_of_the_better_direction() -> None:
    a = np.array([[0.0, 0, 10, 0]])
    b = np.array([[10.0, 3, 0, 4], [0, 0, 10, 7]])
    assert segment_distances(a, b).tolist() == [[4, 7]]


def test_identity_in_any_order_and_direction_is_perfect() -> None:
    pred = segments(3)
    turned = pred[::-1][:, [2, 3, 0, 1]]
    assert segment_scores(turned, pred, 0) == SegmentScores(1, 1, 1)


def test_one_segment_serves_only_one_partner() -> None:
    one = np.array([[0.0, 0, 10, 0]])
    scores = segment_scores(np.repeat(one, 4, axis=0), one, 1)
    assert scores == SegmentScores(0.4, 0.25, 1)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 999), st.integers(0, 999), st.floats(0.5, 30))
def test_swapping_swaps_precision_and_recall(a: int, b: int, tolerance: float) -> None:
    one, two = segments(a, 9), segments(b, 6)
    there, back = segment_scores(one, two, tolerance), segment_scores(two, one, tolerance)
    assert (there.f1, there.precision, there.recall) == (back.f1, back.recall, back.precision)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 999), st.integers(0, 999))
def test_a_wider_tolerance_never_hurts_and_scale_does_not_matter(a: int, b: int) -> None:
    one, two = segments(a), segments(b)
    scores = [segment_scores(one, two, t).f1 for t in (0, 2, 5, 10, 30, 150)]
    assert scores == sorted(scores)
    assert scores[-1] == 1
    assert segment_scores(one * 7, two * 7, 70).f1 == segment_scores(one, two, 10).f1


def test_growing_shift_never_helps() -> None:
    one = segments(8, 40)
    scores = [segment_scores(one + far, one, 3).f1 for far in (0, 1, 2, 3, 5, 9)]
    assert all(a >= b for a, b in itertools.pairwise(scores))
    assert scores[0] == 1 and scores[-1] < 0.2


def test_noise_and_unrelated_segments_score_low() -> None:
    values = [segment_scores(segments(s, 40), segments(s + 1, 40), 5).f1 for s in range(20)]
    assert np.mean(values) < 0.05


def test_nothing_to_divide_by() -> None:
    both = segment_scores(NONE, NONE, 1)
    assert all(math.isnan(v) for v in (both.f1, both.precision, both.recall))
    missed, invented = segment_scores(NONE, segments(1), 1), segment_scores(segments(1), NONE, 1)
    assert (missed.f1, missed.recall, invented.f1, invented.precision) == (0, 0, 0, 0)
    assert math.isnan(missed.precision) and math.isnan(invented.recall)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(SegmentF1, "f1"), (SegmentPrecision, "precision"), (SegmentRecall, "recall")],
)
def test_metrics_pool_segments(kind: type[SegmentF1], name: str) -> None:
    metric = kind(15, reduction="pooled")
    metric.update(NONE, NONE)
    assert math.isnan(float(metric.compute()))
    a, b = segments(1, 30), segments(2, 20)
    metric.update(a, b)
    one = segment_scores(a, b, 15)
    assert float(metric.compute()) == pytest.approx(getattr(one, name))
    metric.update(torch.from_numpy(segments(3, 10)), torch.from_numpy(segments(3, 10)))
    pairs = round(one.recall * 20) + 10
    expected = {"f1": 2 * pairs / 70, "precision": pairs / 40, "recall": pairs / 30}
    assert float(metric.compute()) == pytest.approx(expected[name])
    assert metric.higher_is_better is True


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        (SegmentF1, segment_f1),
        (SegmentPrecision, segment_precision),
        (SegmentRecall, segment_recall),
    ],
)
def test_metrics_average_pictures(kind: type[SegmentF1], function) -> None:  # type: ignore[no-untyped-def]
    metric = kind(15)
    pairs = [(segments(1, 30), segments(2, 20)), (segments(3, 9), segments(4, 14)), (NONE, NONE)]
    for pair in pairs:
        metric.update(*pair)
    expected = np.mean([function(*pair, 15) for pair in pairs[:2]])
    assert expected > 0
    assert float(metric.compute()) == pytest.approx(expected)


def test_wrong_input_is_refused() -> None:
    for bad in (np.zeros(4), np.zeros((3, 5)), np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match="K×4"):
            segment_scores(bad, segments(1), 1)
    with pytest.raises(ValueError, match="not finite"):
        segment_scores(segments(1), np.full((1, 4), np.inf), 1)
    for tolerance in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="tolerance"):
            segment_scores(segments(1), segments(2), tolerance)
        with pytest.raises(ValueError, match="tolerance"):
            SegmentF1(tolerance)
