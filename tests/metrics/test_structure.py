"""Protects SSIM and MS-SSIM of maps: equal to scikit-image and to a plain product of scales."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from torchmetrics.utilities import dim_zero_sum

from workbench.metrics.structure import (
    MS_SSIM_SIDE,
    SSIM_SIDE,
    MapMultiScaleSSIM,
    MapSSIM,
    ms_ssim,
    ssim,
)

RNG = np.random.default_rng(5)


def lines(seed: int, height: int = 96, width: int = 80) -> np.ndarray:
    """Soft white lines on black, float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    drawn = np.zeros((height, width), np.uint8)
    for _ in range(7):
        ends = rng.integers(0, (width, height), (2, 2))
        cv2.line(drawn, ends[0].tolist(), ends[1].tolist(), 255, int(rng.integers(1, 4)))
    return cv2.GaussianBlur(drawn, (0, 0), 1.0).astype(np.float32) / 255


def scikit(a: np.ndarray, b: np.ndarray) -> float:
    return float(
        structural_similarity(
            a.astype(np.float64),
            b.astype(np.float64),
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """MS-SSIM as its paper writes it, over windows of 11×11 which lie within the map."""
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    axis = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window = axis / axis.sum()

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(x, cv2.CV_64F, window, window)[5:-5, 5:-5]

    product = 1.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    for scale, weight in enumerate(weights):
        ma, mb = mean(a), mean(b)
        va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
        contrast = (2 * cov + 0.03**2) / (va + vb + 0.03**2)
        light = (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2)
        last = scale == len(weights) - 1
        product *= max(0.0, float((light * contrast if last else contrast).mean())) ** weight
        h, w = a.shape[0] // 2, a.shape[1] // 2
        a, b = (x[: 2 * h, : 2 * w].reshape(h, 2, w, 2).mean((1, 3)) for x in (a, b))
    return product


@pytest.mark.parametrize("seed", range(4))
def test_ssim_is_scikit_images(seed: int) -> None:
    a, b = lines(seed), np.roll(lines(seed), 1, axis=1)
    assert 0.1 < scikit(a, b) < 0.95, "the maps must be partly alike for this to mean anything"
    assert ssim(a, b) == pytest.approx(scikit(a, b), abs=1e-6)
    noise = RNG.random(a.shape)
    assert ssim(a, noise) == pytest.approx(scikit(a, noise), abs=1e-6)


def test_ssim_of_bool_maps_is_that_of_zeros_and_ones() -> None:
    a, b = lines(1) > 0.5, lines(2) > 0.5
    assert ssim(a, b) == pytest.approx(scikit(a, b), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_ms_ssim_is_the_product_of_its_scales(seed: int) -> None:
    a = lines(seed, 192, 272)
    b = np.clip(np.roll(a, 2, axis=0) + RNG.normal(0, 0.05, a.shape), 0, 1)
    assert 0.1 < by_hand(a, b) < 0.95
    assert ms_ssim(a, b) == pytest.approx(by_hand(a, b), abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 60), st.integers(0, 60))
def test_symmetric_and_within_bounds(a: int, b: int) -> None:
    first, second = lines(a), lines(b)
    assert ssim(first, second) == pytest.approx(ssim(second, first), abs=1e-12)
    assert -1 <= ssim(first, second) <= 1 + 1e-9
    assert ssim(first, first) == pytest.approx(1, abs=1e-9)


def test_ms_ssim_is_symmetric_and_best_for_the_same() -> None:
    a, b = lines(1, 192, 200), lines(2, 192, 200)
    assert ms_ssim(a, b) == pytest.approx(ms_ssim(b, a), abs=1e-12)
    assert ms_ssim(a, a) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("score", [ssim, ms_ssim])
def test_growing_damage_never_improves(score) -> None:  # type: ignore[no-untyped-def]
    a = lines(3, 192, 192)
    noise = RNG.standard_normal(a.shape)
    noisy = [score(np.clip(a + s * noise, 0, 1), a) for s in (0, 0.05, 0.1, 0.3, 1)]
    blurred = [score(cv2.GaussianBlur(a, (0, 0), s), a) for s in (0.1, 1, 2, 4, 8)]
    bar = np.zeros((192, 192))
    bar[:, 90:94] = 1
    shifted = [score(np.roll(bar, s, axis=1), bar) for s in (0, 1, 2, 4)]
    for values in (noisy, blurred, shifted):
        assert values[0] > values[-1] + 0.1
        assert values == sorted(values, reverse=True)


def test_turned_inside_out_is_worse_than_unrelated() -> None:
    a, b = RNG.random((64, 64)), RNG.random((64, 64))
    assert ssim(1 - a, a) < ssim(b, a) < 0.2


def test_small_maps_have_none() -> None:
    small = np.zeros((SSIM_SIDE - 1, 40))
    assert math.isnan(ssim(small, small))
    enough = np.zeros((SSIM_SIDE, 40))
    assert ssim(enough, enough) == pytest.approx(1)
    small = np.zeros((MS_SSIM_SIDE - 1, 300))
    assert math.isnan(ms_ssim(small, small))
    enough = np.zeros((300, MS_SSIM_SIDE))
    assert ms_ssim(enough, enough) == pytest.approx(1)


@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        (np.zeros((20, 20)), np.zeros((20, 21)), "one shape"),
        (np.zeros((20, 20), np.uint8), np.zeros((20, 20)), "preds must be of floating point"),
        (np.zeros((20, 20)), np.full((20, 20), 255.0), "target must hold values from 0 to 1"),
        (np.full((20, 20), np.nan), np.zeros((20, 20)), "preds must hold values from 0 to 1"),
        (np.zeros(20), np.zeros(20), "H×W"),
    ],
)
@pytest.mark.parametrize("score", [ssim, ms_ssim])
def test_wrong_input_is_refused(score, pred, target, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        score(pred, target)


@pytest.mark.parametrize(("kind", "score"), [(MapSSIM, ssim), (MapMultiScaleSSIM, ms_ssim)])
def test_the_metric_is_the_mean_of_its_twin(kind, score) -> None:  # type: ignore[no-untyped-def]
    pred = np.stack([lines(s, 192, 192) for s in (1, 2, 3)])
    target = np.stack([lines(s, 192, 192) for s in (4, 5, 6)])
    alone = [score(p, t) for p, t in zip(pred, target, strict=True)]
    assert score(pred, target) == pytest.approx(np.mean(alone))
    metric = kind()
    metric.update(torch.from_numpy(pred[:2]), torch.from_numpy(target[:2]))
    metric.update(pred[2], target[2])
    metric.update(np.zeros((9, 9)), np.zeros((9, 9)))
    assert float(metric.compute()) == pytest.approx(np.mean(alone), rel=1e-9)
    assert set(metric._reductions.values()) == {dim_zero_sum}
    assert metric.higher_is_better is True
    metric.reset()
    metric.update(np.zeros((9, 9)), np.zeros((9, 9)))
    assert math.isnan(float(metric.compute()))
