"""Protects the angles between normals: against a loop, SciPy rotations, and in their sense."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torchmetrics.utilities import dim_zero_sum

from workbench.controls import _directions
from workbench.metrics import normals
from workbench.metrics.normals import (
    THRESHOLDS,
    NormalMeanAngle,
    NormalMedianAngle,
    NormalWithin,
    angles,
    mean_angle,
    median_angle,
    normal_scores,
    within,
)


def directions(seed: int, *shape: int) -> np.ndarray:
    """Random unit vectors, float32, evenly over the sphere."""
    vectors = np.random.default_rng(seed).normal(size=(*shape, 3))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def noisy(vectors: np.ndarray, spread: float, seed: int = 9) -> np.ndarray:
    moved = vectors + spread * np.random.default_rng(seed).normal(size=vectors.shape)
    return (moved / np.linalg.norm(moved, axis=-1, keepdims=True)).astype(np.float32)


def loop(pred: np.ndarray, target: np.ndarray) -> list[float]:
    """The errors by a plain loop and the arc cosine."""
    errors = []
    for p, t in zip(pred.reshape(-1, 3), target.reshape(-1, 3), strict=True):
        cosine = sum(float(a) * float(b) for a, b in zip(p, t, strict=True))
        length = math.dist(p, (0, 0, 0)) * math.dist(t, (0, 0, 0))
        errors.append(math.degrees(math.acos(max(-1.0, min(1.0, cosine / length)))))
    return errors


def test_scores_are_those_of_a_plain_loop() -> None:
    target = directions(1, 20, 30)
    pred = noisy(target, 0.3)
    errors = np.array(loop(pred, target))
    scores = normal_scores(pred, target)
    assert scores.mean == pytest.approx(errors.mean(), abs=1e-4)
    assert scores.median == pytest.approx(np.median(errors), abs=1e-4)
    shares = (scores.within_11, scores.within_22, scores.within_30)
    assert shares == pytest.approx([(errors < limit).mean() for limit in THRESHOLDS])
    assert 0 < shares[0] < shares[1] < shares[2] < 1
    assert THRESHOLDS == (11.25, 22.5, 30.0)


@settings(deadline=None)
@given(st.floats(1e-5, 179.9), st.integers(0, 99))
def test_a_rotation_is_wrong_by_its_angle(degrees: float, seed: int) -> None:
    target = directions(seed, 3, 3).astype(np.float64)
    axes = np.cross(target, directions(seed + 1, 3, 3)).reshape(-1, 3)
    axes *= np.radians(degrees) / np.linalg.norm(axes, axis=1, keepdims=True)
    pred = Rotation.from_rotvec(axes).apply(target.reshape(-1, 3)).reshape(3, 3, 3)
    assert np.allclose(angles(pred, target), degrees, rtol=1e-5, atol=1e-6)


def test_lengths_do_not_matter_and_swapping_does_not() -> None:
    a, b = directions(1, 9, 9), directions(2, 9, 9)
    assert mean_angle(a * 3, b * 0.5) == pytest.approx(mean_angle(a, b), rel=1e-6)
    assert mean_angle(b, a) == pytest.approx(mean_angle(a, b), rel=1e-9)


def test_the_same_is_best_and_the_opposite_worst() -> None:
    target = directions(3, 9, 9)
    best, worst = normal_scores(target, target), normal_scores(-target, target)
    assert best == normals.NormalScores(0, 0, 1, 1, 1)
    assert (worst.mean, worst.median) == pytest.approx((180, 180))
    assert worst.within_30 == 0


def test_unrelated_directions_are_at_chance() -> None:
    scores = normal_scores(directions(1, 200, 200), directions(2, 200, 200))
    assert scores.mean == pytest.approx(90, abs=1)
    for share, limit in zip((scores.within_11, scores.within_30), (11.25, 30.0), strict=True):
        assert share == pytest.approx((1 - math.cos(math.radians(limit))) / 2, abs=0.005)


def test_growing_noise_never_helps() -> None:
    target = directions(5, 60, 60)
    found = [normal_scores(noisy(target, s), target) for s in (0, 0.05, 0.1, 0.3, 1, 3)]
    for name in ("mean", "median"):
        values = [getattr(scores, name) for scores in found]
        assert values == sorted(values)
    for name in ("within_11", "within_22", "within_30"):
        values = [getattr(scores, name) for scores in found]
        assert values == sorted(values, reverse=True)


def test_what_the_target_leaves_open_is_left_out() -> None:
    target, pred = directions(1, 10, 10), directions(2, 10, 10)
    pred[:5] = target[:5]
    target[5:8], target[8:] = 0, np.nan
    assert mean_angle(pred, target) == 0
    assert len(angles(pred, target)) == 50
    assert math.isnan(mean_angle(pred, np.zeros_like(target)))


@pytest.mark.parametrize("nothing", [0.0, math.nan, math.inf])
def test_a_missing_prediction_is_wrong_by_a_right_angle(nothing: float) -> None:
    target = directions(1, 10, 10)
    pred = target.copy()
    pred[:5] = nothing
    assert mean_angle(pred, target) == pytest.approx(45)
    assert within(pred, target, 30) == 0.5


def test_a_threshold_is_not_within() -> None:
    target = np.array([[[0.0, 0, 1]]])
    pred = np.array([[[1.0, 0, 0]]])
    assert within(pred, target, 90) == 0
    assert within(pred, target, 90.001) == 1


def test_the_classes_pool_all_pixels() -> None:
    first, second = directions(1, 4, 5), directions(2, 9, 7)
    pairs = [(noisy(first, 0.1), first), (noisy(second, 0.8), second)]
    together = [np.concatenate([p[i].reshape(1, -1, 3) for p in pairs], axis=1) for i in (0, 1)]
    metrics = [
        NormalMeanAngle(reduction="pooled"),
        NormalMedianAngle(reduction="pooled"),
        NormalWithin(22.5, reduction="pooled"),
    ]
    for metric in metrics:
        for pair in pairs:
            metric.update(*pair)
    values = [float(metric.compute()) for metric in metrics]
    assert values[0] == pytest.approx(mean_angle(*together))
    assert values[1] == pytest.approx(median_angle(*together), abs=0.01)
    assert values[2] == pytest.approx(within(*together, 22.5))
    assert [metric.higher_is_better for metric in metrics] == [False, False, True]
    each = [NormalMeanAngle(), NormalMedianAngle(), NormalWithin(22.5)]
    for metric in each:
        for pair in pairs:
            metric.update(*pair)
    alone = [
        [mean_angle(*p) for p in pairs],
        [median_angle(*p) for p in pairs],
        [within(*p, 22.5) for p in pairs],
    ]
    values = [float(metric.compute()) for metric in each]
    assert values == pytest.approx([np.mean(each) for each in alone])


def test_functions_take_several_maps_in_both_ways() -> None:
    target = np.stack([directions(1, 6, 5), directions(2, 6, 5)])
    pred = np.stack([noisy(target[0], 0.1), noisy(target[1], 0.8)])
    target[0, :4] = 0  # so that one picture has more pixels than the other
    for score in (mean_angle, median_angle, lambda *a: within(*a[:2], 22.5, *a[2:])):
        alone = [score(p, t) for p, t in zip(pred, target, strict=True)]
        assert score(pred, target) == pytest.approx(np.mean(alone))
        flat = [x.reshape(1, -1, 3) for x in (pred, target)]
        assert score(pred, target, "pooled") == pytest.approx(score(*flat))
        assert score(pred, target, "pooled") != pytest.approx(score(pred, target))


@pytest.mark.parametrize("make", [NormalMeanAngle, NormalMedianAngle, lambda: NormalWithin(30)])
def test_the_classes_are_like_others(make: type) -> None:
    one, two = make(), make()
    assert all(reduce is dim_zero_sum for reduce in one._reductions.values())
    one.update(directions(1, 2, 8, 8), directions(2, 2, 8, 8))
    for row in range(2):
        two.update(directions(1, 2, 8, 8)[row], torch.from_numpy(directions(2, 2, 8, 8)[row]))
    assert float(one.compute()) == pytest.approx(float(two.compute()))
    one.reset()
    one.update(np.ones((2, 2, 3)), np.zeros((2, 2, 3)))
    assert math.isnan(float(one.compute()))


def test_an_even_number_of_errors_has_the_middle_of_two() -> None:
    target = np.array([[[0.0, 0, 1]] * 2])
    pred = np.array([[[0.0, 0, 1], [1, 0, 0]]])
    metric = NormalMedianAngle()
    metric.update(pred, target)
    assert median_angle(pred, target) == float(metric.compute()) == 45


@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4)), "H×W×3"),
        (np.zeros((4, 4, 3)), np.zeros((4, 5, 3)), "one shape"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3)), "floating-point"),
    ],
)
def test_wrong_maps_are_told(pred: np.ndarray, target: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_angle(pred, target)
    with pytest.raises(ValueError, match="degrees"):
        NormalWithin(0)


def test_maps_and_metrics_agree_on_what_has_no_direction() -> None:
    assert normals.LEAST_LENGTH == _directions.LEAST_LENGTH
