"""Agreement of two maps of classes, from their confusion matrix.

mIoU (Everingham et al. 2010, PASCAL VOC) is the mean over classes of pixels which have the class
in both maps by pixels which have it in either. The mean is taken over the classes which the
target holds: a class which only the prediction holds has no term of its own, but every one of
its pixels is missing from a class of the target. The benchmarks pool the pixels of all pictures
before the division (`reduction="pooled"`), a study scores each picture. NaN stands for nothing to
compare: no pixel was seen.

Maps are integers from 0 to `classes` − 1, H×W for one picture or N×H×W for several. All functions
and classes raise ValueError for shapes that differ, types that are not integers, and class numbers
that do not exist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.metrics._base import Array, PoolableMetric, Reduction, reduced, stacks


class SegmentationScores(NamedTuple):
    """Scores in [0, 1]; NaN where no pixel was seen."""

    miou: float
    accuracy: float


def confusion(preds: Array, target: Array, classes: int) -> Tensor:
    """How often which class was taken for which, int64 classes×classes; a row is a true class.

    The pixels of several pictures are pooled.
    """
    return torch.stack(_matrices(preds, target, classes)).sum(0)


def class_iou(matrix: Tensor) -> Tensor:
    """IoU of each class of a confusion matrix, float64; NaN for those the target does not hold."""
    hits, wanted, found = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    shares = hits.double() / (wanted + found - hits)
    return torch.where(wanted > 0, shares, torch.full_like(shares, math.nan))


def segmentation_scores(preds: Array, target: Array, classes: int) -> SegmentationScores:
    """Both scores at once; the pixels of several pictures are pooled."""
    return _scores(confusion(preds, target, classes))


def mean_iou(preds: Array, target: Array, classes: int, reduction: Reduction = "mean") -> float:
    """Mean IoU over the classes which the target holds, 0 … 1 (best); see `MeanIoU`."""
    return reduced(_matrices(preds, target, classes), lambda m: _scores(m).miou, reduction)


def pixel_accuracy(
    preds: Array, target: Array, classes: int, reduction: Reduction = "mean"
) -> float:
    """Share of pixels which have the right class, 0 … 1 (best), symmetric."""
    return reduced(_matrices(preds, target, classes), lambda m: _scores(m).accuracy, reduction)


class MeanIoU(PoolableMetric):
    """Mean IoU over the classes which the target holds; not symmetric.

    classes: how many there are. reduction: "mean" over the pictures, or "pooled" pixels, where
    classes which none of the targets holds are left out.

    >>> metric = MeanIoU(classes=3)
    >>> metric.update(torch.tensor([[0, 0, 1, 2]]), torch.tensor([[0, 0, 1, 1]]))
    >>> metric.compute()
    tensor(0.7500, dtype=torch.float64)
    """

    _pick = "miou"

    def __init__(self, classes: int, **kwargs: Any) -> None:
        if classes < 1:
            raise ValueError(f"there must be at least one class, not {classes}")
        super().__init__(classes * classes, **kwargs)
        self.classes = classes

    def _counts(self, preds: Array, target: Array) -> Sequence[Tensor]:
        return [m.flatten() for m in _matrices(preds, target, self.classes)]

    def _scores(self, counts: Tensor) -> SegmentationScores:
        return _scores(counts.reshape(self.classes, self.classes))


class PixelAccuracy(MeanIoU):
    """Share of pixels which have the right class.

    >>> metric = PixelAccuracy(classes=3)
    >>> metric.update(torch.tensor([[0, 0, 1, 2]]), torch.tensor([[0, 0, 1, 1]]))
    >>> metric.compute()
    tensor(0.7500, dtype=torch.float64)
    """

    _pick = "accuracy"


def _matrices(preds: Array, target: Array, classes: int) -> list[Tensor]:
    """The confusion matrix of each picture."""

    def wrong(labels: Tensor) -> str:
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            return "hold integers"
        if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= classes):
            return f"hold classes from 0 to {classes - 1}"
        return ""

    p, t = stacks(preds, target, wrong)
    pairs = (t.long() * classes + p.long()).flatten(1)
    return [torch.bincount(row, minlength=classes**2).reshape(classes, classes) for row in pairs]


def _scores(matrix: Tensor) -> SegmentationScores:
    accuracy = matrix.diagonal().sum().double() / matrix.sum()
    return SegmentationScores(float(class_iou(matrix).nanmean()), float(accuracy))
