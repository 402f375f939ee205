"""Agreement of two maps of surface normals: the angle between their vectors, in degrees.

The measures of the surface-normal literature (Fouhey et al. 2013, Eigen and Fergus 2015, Bae et
al. 2021): mean and median angular error, and the share of pixels whose error is below 11.25°,
22.5° and 30°. There the pixels of all pictures are pooled (`reduction="pooled"`); a study scores
each picture.

A map is of floating point, H×W×3, or N×H×W×3 for several pictures. Vectors need not have length 1.
A vector without a direction (shorter than `LEAST_LENGTH`, or not finite) is undefined: where the
target has one the pixel is left out; where only the prediction has one it is wrong by 90°, what a
random direction is wrong by on average. NaN stands for nothing to compare: no pixel of the target
is defined. All functions and classes raise ValueError for shapes that differ and other types.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.metrics._base import Array, PoolableMetric, Reduction, checked, mean, stacks

LEAST_LENGTH = 0.25
"""A vector shorter than this has no direction."""

THRESHOLDS = (11.25, 22.5, 30.0)
"""The angles in degrees of the usual shares."""

_AT_ONCE = 1 << 15
"""So many vectors are compared at once: what lies between stays in the processor's cache."""
_BINS_PER_DEGREE = 100


@dataclass(frozen=True)
class NormalScores:
    """Mean and median error in degrees, and the shares below `THRESHOLDS`; all NaN or none."""

    mean: float
    median: float
    within_11: float
    within_22: float
    within_30: float


def angles(preds: Array, target: Array) -> Tensor:
    """The errors at all pixels where the target is defined, degrees 0 … 180, float64, in a row."""
    return torch.cat(_errors(preds, target))


def normal_scores(preds: Array, target: Array) -> NormalScores:
    """All scores at once; the pixels of several pictures are pooled."""
    return _scores(angles(preds, target))


def mean_angle(preds: Array, target: Array, reduction: Reduction = "mean") -> float:
    """Mean angular error in degrees; 0 is best, symmetric where both maps are defined."""
    return _reduced(preds, target, lambda errors: _scores(errors).mean, reduction)


def median_angle(preds: Array, target: Array, reduction: Reduction = "mean") -> float:
    """Median angular error in degrees (the mean of the middle two); 0 is best."""
    return _reduced(preds, target, lambda errors: _scores(errors).median, reduction)


def within(preds: Array, target: Array, degrees: float, reduction: Reduction = "mean") -> float:
    """Share of pixels whose error is below `degrees`; 1 is best."""
    return _reduced(preds, target, lambda errors: _share(errors, degrees), reduction)


class NormalMeanAngle(PoolableMetric):
    """Mean angular error in degrees; 0 is best.

    reduction: "mean" over the pictures, or "pooled" pixels.

    >>> target = torch.tensor([[[0.0, 0, 1], [0, 0, 1]]])
    >>> metric = NormalMeanAngle()
    >>> metric.update(torch.tensor([[[0.0, 0, 1], [1, 0, 1]]]), target)
    >>> metric.compute()
    tensor(22.5000, dtype=torch.float64)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(2, **kwargs)

    def _counts(self, preds: Array, target: Array) -> Sequence[Tensor]:
        return [torch.stack([e.sum(), e.new_tensor(len(e))]) for e in _errors(preds, target)]

    def _score(self, counts: Tensor) -> float:
        return float(counts[0] / counts[1])


class NormalMedianAngle(PoolableMetric):
    """Median angular error in degrees; 0 is best.

    reduction: "mean" over the pictures, or "pooled" pixels, which is exact to 0.01°: errors are
    counted in bins of that width.

    >>> target = torch.tensor([[[0.0, 0, 1], [0, 0, 1], [0, 0, 1]]])
    >>> metric = NormalMedianAngle()
    >>> metric.update(torch.tensor([[[0.0, 0, 1], [1, 0, 1], [1, 0, 0]]]), target)
    >>> metric.compute()
    tensor(45., dtype=torch.float64)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(180 * _BINS_PER_DEGREE + 1, **kwargs)

    def _values(self, preds: Array, target: Array) -> Iterable[float]:
        return [_scores(errors).median for errors in _errors(preds, target)]

    def _counts(self, preds: Array, target: Array) -> Sequence[Tensor]:
        bins = (angles(preds, target) * _BINS_PER_DEGREE).round().long()
        return [torch.bincount(bins, minlength=len(self.counts)).double()]

    def _score(self, counts: Tensor) -> float:
        below = counts.long().cumsum(0)
        count = int(below[-1])
        if not count:
            return math.nan
        middle = torch.tensor([(count + 1) // 2, count // 2 + 1])
        return float(torch.searchsorted(below, middle).double().mean() / _BINS_PER_DEGREE)


class NormalWithin(NormalMeanAngle):
    """Share of pixels whose error is below `degrees`; 1 is best.

    >>> target = torch.tensor([[[0.0, 0, 1], [0, 0, 1]]])
    >>> metric = NormalWithin(22.5)
    >>> metric.update(torch.tensor([[[0.0, 0, 1], [1, 0, 1]]]), target)
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    def __init__(self, degrees: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < degrees <= 180:
            raise ValueError(f"degrees must lie above 0 and be at most 180, not {degrees}")
        self.degrees = degrees

    def _counts(self, preds: Array, target: Array) -> Sequence[Tensor]:
        errors = _errors(preds, target)
        return [e.new_tensor([int((e < self.degrees).sum()), len(e)]) for e in errors]


def _reduced(
    preds: Array, target: Array, score: Callable[[Tensor], float], reduction: Reduction
) -> float:
    errors = _errors(preds, target)
    return mean(map(score, errors)) if checked(reduction) == "mean" else score(torch.cat(errors))


def _scores(errors: Tensor) -> NormalScores:
    if not len(errors):
        return NormalScores(*[math.nan] * 5)
    return NormalScores(
        float(errors.mean()),
        float(np.median(errors.numpy())),
        *(_share(errors, degrees) for degrees in THRESHOLDS),
    )


def _share(errors: Tensor, degrees: float) -> float:
    return float((errors < degrees).double().mean()) if len(errors) else math.nan


def _errors(preds: Array, target: Array) -> list[Tensor]:
    """The errors of each picture."""
    pairs = stacks(
        preds,
        target,
        lambda t: "" if t.is_floating_point() else "hold floating-point vectors",
        last=(3,),
    )
    found = []
    for one in zip(*(maps.flatten(1, 2) for maps in pairs), strict=True):
        parts = zip(*(vectors.split(_AT_ONCE) for vectors in one), strict=True)
        found.append(torch.cat([_angles(p, t) for p, t in parts]))
    return found


def _angles(p: Tensor, t: Tensor) -> Tensor:
    """The errors of vectors N×3 where the target is defined."""
    wanted = _defined(t)
    if not wanted.all():
        p, t = p[wanted], t[wanted]
    along = p[:, 0] * t[:, 0] + p[:, 1] * t[:, 1] + p[:, 2] * t[:, 2]
    # The arc tangent stays exact for small angles, where the arc cosine does not.
    across = _length(torch.linalg.cross(p, t))
    angle = torch.atan2(across, along).rad2deg()
    return torch.where(_defined(p), angle, torch.full_like(angle, 90.0))


def _defined(vectors: Tensor) -> Tensor:
    long = _length(vectors)
    return (long >= LEAST_LENGTH) & long.isfinite()


def _length(vectors: Tensor) -> Tensor:
    x, y, z = vectors.unbind(1)
    return (x * x + y * y + z * z).sqrt()
