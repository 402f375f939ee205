"""Agreement of two maps of classes, from their confusion matrix.

mIoU (Everingham et al. 2010, PASCAL VOC) is the mean over classes of pixels which have the class
in both maps by pixels which have it in either. The mean is taken over the classes which the
target holds: a class which only the prediction holds has no term of its own, but every one of
its pixels is missing from a class of the target. As in the benchmarks, the pixels of all maps
seen are pooled before the division. NaN stands for nothing to compare: no pixel was seen.

Maps are integers H×W, or N×H×W for several, from 0 to `classes` − 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

Maps = np.ndarray | Tensor


def confusion(pred: Maps, target: Maps, classes: int) -> Tensor:
    """How often which class was taken for which: int64 classes×classes, a row is a true class.

    Raises ValueError for shapes that differ or are not H×W or N×H×W, types that are not
    integers, and class numbers that do not exist.
    """
    p, t = _labels(pred, "pred", classes), _labels(target, "target", classes)
    if p.shape != t.shape:
        raise ValueError(f"maps must have one shape, not {tuple(p.shape)} and {tuple(t.shape)}")
    pairs = (t * classes + p).flatten()
    return torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_iou(matrix: Tensor) -> Tensor:
    """IoU of each class of a confusion matrix, float64; NaN for those the target does not hold."""
    hits, wanted, found = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    shares = hits.double() / (wanted + found - hits)
    return torch.where(wanted > 0, shares, torch.full_like(shares, math.nan))


def mean_iou(pred: Maps, target: Maps, classes: int) -> float:
    """Mean IoU over the classes which the target holds, 0 … 1 (best); not symmetric."""
    return float(_mean_iou(confusion(pred, target, classes)))


def pixel_accuracy(pred: Maps, target: Maps, classes: int) -> float:
    """Share of pixels which have the right class, 0 … 1 (best), symmetric."""
    return float(_accuracy(confusion(pred, target, classes)))


class _SegmentationMetric(Metric):
    """A figure of the confusion matrix over all pixels seen (int64 state `matrix`)."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    matrix: Tensor

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if classes < 1:
            raise ValueError(f"there must be at least one class, not {classes}")
        self.classes = classes
        empty = torch.zeros((classes, classes), dtype=torch.int64)
        self.add_state("matrix", empty, dist_reduce_fx="sum")

    def update(self, pred: Maps, target: Maps) -> None:
        """Add maps; errors as in `confusion`."""
        self.matrix += confusion(pred, target, self.classes).to(self.matrix.device)


class MeanIoU(_SegmentationMetric):
    """The twin of `mean_iou`: classes which none of the targets seen holds are left out."""

    def compute(self) -> Tensor:
        """The mean over everything seen, a float64 scalar."""
        return _mean_iou(self.matrix)


class PixelAccuracy(_SegmentationMetric):
    """The twin of `pixel_accuracy`."""

    def compute(self) -> Tensor:
        """The share over everything seen, a float64 scalar."""
        return _accuracy(self.matrix)


def _mean_iou(matrix: Tensor) -> Tensor:
    return class_iou(matrix).nanmean()


def _accuracy(matrix: Tensor) -> Tensor:
    return matrix.diagonal().sum().double() / matrix.sum()


def _labels(maps: Maps, name: str, classes: int) -> Tensor:
    tensor = maps.detach() if isinstance(maps, Tensor) else torch.from_numpy(np.array(maps))
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ValueError(f"{name} must hold integers, not {tensor.dtype}")
    if tensor.ndim not in (2, 3):
        raise ValueError(f"{name} must be H×W or N×H×W, not {tuple(tensor.shape)}")
    tensor = tensor.cpu().long()
    if tensor.numel() and (int(tensor.min()) < 0 or int(tensor.max()) >= classes):
        raise ValueError(f"{name} must hold classes from 0 to {classes - 1}")
    return tensor
