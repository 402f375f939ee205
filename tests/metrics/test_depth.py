"""Protects the depth scores: against plain loops and NumPy's least squares, and in their sense."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear
from torchmetrics.regression import MeanSquaredError, PearsonCorrCoef
from torchmetrics.utilities import dim_zero_sum

from workbench.metrics import depth
from workbench.metrics.depth import (
    DEPTH_RANGE,
    DepthAbsRel,
    DepthDelta125,
    DepthPearson,
    DepthRMSE255,
    DepthSiRMSE,
    abs_rel,
    delta_1_25,
    depth_scores,
    pearson,
    rmse_255,
    si_rmse,
)

RNG = np.random.default_rng(5)
TWINS = [
    (rmse_255, DepthRMSE255),
    (si_rmse, DepthSiRMSE),
    (abs_rel, DepthAbsRel),
    (delta_1_25, DepthDelta125),
    (pearson, DepthPearson),
]
ALL = [function for function, _ in TWINS]
LOWER = [rmse_255, si_rmse, abs_rel]


def relief(seed: int, size: int = 48) -> np.ndarray:
    """A smooth depth map over the whole of [0, 1], float32 H×W."""
    noise = np.random.default_rng(seed).random((size, size)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), size / 10)
    return (smooth - smooth.min()) / (smooth.max() - smooth.min())


def fitted(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The prediction on the target, by SciPy's least squares with a scale of 0 or more."""
    columns = np.stack([pred.ravel(), np.ones(pred.size)], axis=1).astype(np.float64)
    found = lsq_linear(columns, target.ravel(), bounds=([0, -np.inf], np.inf), tol=1e-14)
    return (columns @ found.x).reshape(pred.shape)


def depths(inverse: np.ndarray) -> np.ndarray:
    """Distances in units of the nearest point's, for a scene DEPTH_RANGE deep."""
    inverse = np.clip(inverse, 0, 1)
    return 1 / (inverse * 1 + (1 - inverse) / DEPTH_RANGE)


def test_rmse_is_a_plain_loop() -> None:
    p, t = relief(1), relief(2)
    total = 0.0
    for row in range(48):
        for column in range(48):
            total += (255 * float(p[row, column]) - 255 * float(t[row, column])) ** 2
    assert rmse_255(p, t) == pytest.approx(math.sqrt(total / 48**2), rel=1e-9)
    assert rmse_255(p, t) == pytest.approx(rmse_255(t, p))


def test_rmse_is_torchmetrics() -> None:
    p, t = torch.from_numpy(relief(1)), torch.from_numpy(relief(2))
    theirs = MeanSquaredError(squared=False)(255 * p.flatten(), 255 * t.flatten())
    assert rmse_255(p, t) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("slope", [0.2, -0.2])
def test_the_aligned_scores_are_scipys_least_squares(seed: int, slope: float) -> None:
    t = relief(seed)
    p = 0.1 * relief(seed + 10) + 0.7 * (0.4 + slope * t)
    aligned = fitted(p, t)
    assert si_rmse(p, t) == pytest.approx(np.sqrt(np.mean((aligned - t) ** 2)), rel=1e-6)
    d, wanted = depths(aligned), depths(t)
    assert abs_rel(p, t) == pytest.approx(np.mean(np.abs(d - wanted) / wanted), rel=1e-6)
    share = np.mean(np.maximum(d / wanted, wanted / d) < 1.25)
    assert 0 < share < 1
    assert delta_1_25(p, t) == pytest.approx(share)


def test_alignment_may_leave_the_range_but_depths_may_not() -> None:
    t = relief(2)
    p = t.copy()
    p[:6, :6] -= 3
    p[-4:, -4:] += 2
    aligned = fitted(p, t)
    assert aligned.min() < -0.1
    assert aligned.max() > 1.02
    d, wanted = depths(aligned), depths(t)
    assert abs_rel(p, t) == pytest.approx(np.mean(np.abs(d - wanted) / wanted), rel=1e-6)
    assert DEPTH_RANGE == 10, "stored figures mean this range"


def test_pearson_is_numpys_and_torchmetrics() -> None:
    p, t = relief(1) + 0.5 * relief(2), relief(2)
    assert pearson(p, t) == pytest.approx(np.corrcoef(p.ravel(), t.ravel())[0, 1], abs=1e-6)
    theirs = PearsonCorrCoef()(torch.from_numpy(p.ravel()), torch.from_numpy(t.ravel()))
    assert pearson(p, t) == pytest.approx(float(theirs), abs=1e-4)
    assert pearson(p, t) == pytest.approx(pearson(t, p))


@settings(deadline=None)
@given(st.integers(0, 50), st.floats(0.1, 5), st.floats(-2, 2))
def test_scale_and_shift_are_forgiven(seed: int, scale: float, shift: float) -> None:
    t = relief(seed)
    assert si_rmse(scale * t + shift, t) == pytest.approx(0, abs=1e-5)
    assert abs_rel(scale * t + shift, t) == pytest.approx(0, abs=1e-4)
    assert delta_1_25(scale * t + shift, t) == 1
    assert pearson(scale * t + shift, t) == pytest.approx(1, abs=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 50), st.floats(0.05, 5), st.floats(-2, 2))
def test_depth_turned_inside_out_is_no_better_than_a_constant(
    seed: int, scale: float, shift: float
) -> None:
    t = relief(seed)
    found, flat = depth_scores(shift - scale * t, t), depth_scores(np.full_like(t, 0.5), t)
    assert found.si_rmse == pytest.approx(t.std(), rel=1e-5)
    assert found.pearson == pytest.approx(-1, abs=1e-5)
    assert found.abs_rel == pytest.approx(flat.abs_rel, rel=1e-5)
    assert found.delta_1_25 == pytest.approx(flat.delta_1_25, abs=0.01)
    assert found.delta_1_25 < 1


@pytest.mark.parametrize("score", ALL)
def test_identity_is_best(score: Callable[..., float]) -> None:
    best = 0 if score in LOWER else 1
    assert score(relief(1), relief(1)) == pytest.approx(best, abs=1e-7)


def never_improves(score: Callable[..., float], values: list[float]) -> bool:
    return values == sorted(values, reverse=score not in LOWER)


@pytest.mark.parametrize("score", ALL)
def test_growing_damage_never_improves(score: Callable[..., float]) -> None:
    t = relief(7)
    noise = RNG.standard_normal(t.shape)
    assert never_improves(score, [score(t + s * noise, t) for s in (0, 0.05, 0.1, 0.3, 1, 3)])
    hill = np.exp(-((np.arange(64) - 32) ** 2) / 200) * np.ones((64, 1))
    shifted = [score(np.roll(hill, s, axis=1), hill) for s in (0, 1, 3, 6, 10)]
    assert never_improves(score, shifted)
    blurred = [score(cv2.GaussianBlur(t, (0, 0), s), t) for s in (0.1, 1, 3, 6)]
    # A rescaled blur can fit a few more pixels within a factor, so only the ends are compared.
    assert never_improves(score, [blurred[0], blurred[-1]] if score is delta_1_25 else blurred)


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(31, 60))
def test_si_rmse_never_exceeds_rmse_or_the_spread(a: int, b: int) -> None:
    p, t = relief(a), relief(b)
    assert si_rmse(p, t) <= rmse_255(p, t) / 255 + 1e-9
    assert si_rmse(p, t) <= t.std() + 1e-6
    lost = math.sqrt(1 - max(0.0, pearson(p, t)) ** 2)
    assert si_rmse(p, t) == pytest.approx(t.std() * lost, abs=1e-5)


def test_flat_maps() -> None:
    flat, t = np.full((8, 8), 0.3, np.float32), relief(1, 8)
    for score in (si_rmse, abs_rel, delta_1_25, pearson):
        assert math.isnan(score(t, flat))
        assert math.isnan(score(flat, flat))
    assert math.isnan(pearson(flat, t))
    assert si_rmse(flat, t) == pytest.approx(t.std(), rel=1e-5)
    assert rmse_255(flat, flat) == 0


def test_pixels_which_are_not_finite_are_left_out() -> None:
    p, t = relief(1), relief(2)
    holed_p, holed_t = p.copy(), t.copy()
    holed_p[:3] = np.nan
    holed_t[-3:] = np.inf
    for score in ALL:
        assert score(holed_p, holed_t) == pytest.approx(score(p[3:-3], t[3:-3]), rel=1e-9)
        assert math.isnan(score(np.full((4, 4), np.nan), relief(1, 4)))


def test_all_at_once_is_each_alone() -> None:
    p, t = relief(3) + 0.3 * relief(4), relief(4)
    scores = depth_scores(p, t)
    for score in ALL:
        assert getattr(scores, score.__name__) == pytest.approx(score(p, t), rel=1e-12)
    with pytest.raises(ValueError, match="one pair"):
        depth_scores(np.stack([p, p]), np.stack([t, t]))


@pytest.mark.parametrize(("function", "kind"), TWINS)
def test_the_metric_is_the_mean_of_its_twin(
    function: Callable[..., float], kind: type[depth.DepthRMSE255]
) -> None:
    p, t = (np.stack([relief(s) for s in seeds]) for seeds in ([1, 2, 3, 4], [5, 6, 7, 8]))
    alone = [function(a, b) for a, b in zip(p, t, strict=True)]
    assert function(p, t) == pytest.approx(np.mean(alone))
    metric = kind()
    metric.update(torch.from_numpy(p[:3]), torch.from_numpy(t[:3]))
    metric.update(p[3], t[3])
    assert float(metric.compute()) == pytest.approx(np.mean(alone), rel=1e-9)
    assert set(metric._reductions.values()) == {dim_zero_sum}
    assert metric.higher_is_better is (function not in LOWER)
    metric.reset()
    metric.update(np.full((4, 4), np.nan), np.zeros((4, 4)))
    assert math.isnan(float(metric.compute()))


def test_what_cannot_be_compared_does_not_spoil_the_mean() -> None:
    flat, p, t = np.zeros((48, 48), np.float32), relief(1), relief(2)
    metric = DepthPearson()
    metric.update(np.stack([p, p]), np.stack([flat, t]))
    assert float(metric.compute()) == pytest.approx(pearson(p, t), rel=1e-5)
    assert pearson(np.stack([p, p]), np.stack([flat, t])) == pytest.approx(pearson(p, t))


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(0, 20))
def test_torch_and_numpy_give_the_same(a: int, b: int) -> None:
    assume(a != b)
    p, t = relief(a, 8), relief(b, 8)
    for score in ALL:
        assert score(p, t) == score(torch.from_numpy(p), torch.from_numpy(t))


@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        (np.zeros((3, 3)), np.zeros((3, 4)), "one shape"),
        (np.zeros((3, 3), np.uint8), np.zeros((3, 3)), "preds must hold floating-point"),
        (np.zeros((3, 3)), np.zeros((3, 3), bool), "target must hold floating-point"),
        (np.zeros(3), np.zeros(3), "H×W"),
    ],
)
@pytest.mark.parametrize("score", ALL)
def test_wrong_input_is_refused(
    score: Callable[..., float], pred: np.ndarray, target: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        score(pred, target)
