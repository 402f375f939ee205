"""Protects mIoU and pixel accuracy: against scikit-learn, and by what they must mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score
from torchmetrics.utilities import dim_zero_sum

from workbench.metrics.segmentation import (
    MeanIoU,
    PixelAccuracy,
    class_iou,
    confusion,
    mean_iou,
    pixel_accuracy,
)

MAPS = arrays(np.uint8, (6, 7), elements=st.integers(0, 4))


def blobs(seed: int, classes: int = 5, size: int = 32) -> np.ndarray:
    """A map of squares of classes, uint8."""
    coarse = np.random.default_rng(seed).integers(0, classes, (size // 4, size // 4))
    return np.kron(coarse, np.ones((4, 4), int)).astype(np.uint8)


@settings(deadline=None)
@given(MAPS, MAPS)
def test_the_figures_are_scikit_learns(pred: np.ndarray, target: np.ndarray) -> None:
    p, t = pred.ravel(), target.ravel()
    assert np.array_equal(confusion(pred, target, 5), confusion_matrix(t, p, labels=range(5)))
    present = sorted(set(t.tolist()))
    theirs = jaccard_score(t, p, labels=present, average="macro")
    assert mean_iou(pred, target, 5) == pytest.approx(theirs)
    each = jaccard_score(t, p, labels=present, average=None)
    assert np.allclose(class_iou(confusion(pred, target, 5))[present], each)
    assert pixel_accuracy(pred, target, 5) == pytest.approx(accuracy_score(t, p))


def test_a_class_only_the_sample_has_has_no_term_but_costs() -> None:
    target = np.zeros((2, 4), np.uint8)
    target[:, 2:] = 1
    pred = target.copy()
    pred[:, 3] = 2
    # class 0 is whole, class 1 half found; class 2 adds no zero to the mean
    assert mean_iou(pred, target, 3) == pytest.approx((1 + 0.5) / 2)
    ious = class_iou(confusion(pred, target, 3))
    assert math.isnan(float(ious[2]))


def test_a_class_that_was_wanted_and_not_made_counts_as_zero() -> None:
    target = np.zeros((2, 4), np.uint8)
    target[:, 2:] = 1
    assert mean_iou(np.zeros_like(target), target, 3) == pytest.approx((0.5 + 0) / 2)


def test_the_same_is_best_and_permuted_classes_worst() -> None:
    target = blobs(1)
    assert mean_iou(target, target, 5) == pixel_accuracy(target, target, 5) == 1
    wrong = (target + 1) % 5
    assert mean_iou(wrong, target, 5) == pixel_accuracy(wrong, target, 5) == 0


def test_unrelated_maps_are_at_chance() -> None:
    rng = np.random.default_rng(3)
    pred, target = rng.integers(0, 4, (2, 200, 200))
    assert pixel_accuracy(pred, target, 4) == pytest.approx(1 / 4, abs=0.01)
    assert mean_iou(pred, target, 4) == pytest.approx(1 / 7, abs=0.01)


def test_growing_noise_never_helps() -> None:
    target = blobs(2)
    order = np.random.default_rng(4).permutation(target.size)
    found = []
    for share in (0, 0.1, 0.2, 0.4, 0.8, 1):
        pred = target.copy().ravel()
        changed = order[: int(share * target.size)]
        pred[changed] = (pred[changed] + 1) % 5
        found.append((mean_iou(pred.reshape(target.shape), target, 5), changed))
    values = [value for value, _ in found]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1


def test_accuracy_is_symmetric_and_miou_is_not() -> None:
    pred, target = blobs(1, 5), blobs(2, 3)
    assert pixel_accuracy(pred, target, 5) == pixel_accuracy(target, pred, 5)
    assert mean_iou(pred, target, 5) != pytest.approx(mean_iou(target, pred, 5))


@pytest.mark.parametrize(("kind", "twin"), [(MeanIoU, mean_iou), (PixelAccuracy, pixel_accuracy)])
def test_the_classes_pool_all_pixels(kind: type, twin: object) -> None:
    metric = kind(5, reduction="pooled")
    assert set(metric._reductions.values()) == {dim_zero_sum}
    assert metric.higher_is_better
    preds, targets = np.stack([blobs(1), blobs(2)]), np.stack([blobs(3), blobs(4, 2)])
    for pred, target in zip(preds, targets, strict=True):
        metric.update(pred, torch.from_numpy(target))
    assert callable(twin)
    pooled, mean = (twin(preds, targets, 5, how) for how in ("pooled", "mean"))
    assert float(metric.compute()) == pytest.approx(pooled)
    each = kind(5)
    each.update(preds, targets)
    alone = [twin(p, t, 5) for p, t in zip(preds, targets, strict=True)]
    assert float(each.compute()) == pytest.approx(mean) == pytest.approx(np.mean(alone))
    metric.reset()
    metric.update(np.zeros((0, 3), np.uint8), np.zeros((0, 3), np.uint8))
    assert math.isnan(float(metric.compute()))


@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4), int), "integers"),
        (np.zeros((4, 4), bool), np.zeros((4, 4), int), "integers"),
        (np.zeros(4, int), np.zeros(4, int), "H×W"),
        (np.zeros((4, 4), int), np.zeros((4, 5), int), "one shape"),
        (np.full((4, 4), 3), np.zeros((4, 4), int), "from 0 to 2"),
        (np.zeros((4, 4), int), np.full((4, 4), -1), "from 0 to 2"),
    ],
)
def test_wrong_maps_are_told(pred: np.ndarray, target: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_iou(pred, target, 3)
    with pytest.raises(ValueError, match="at least one class"):
        MeanIoU(0)
