"""Agreement of two maps of surface normals: the angle between their vectors, in degrees.

The measures of the surface-normal literature (Fouhey et al. 2013, Eigen and Fergus 2015, Bae et
al. 2021): mean and median angular error, and the share of pixels whose error is below 11.25°,
22.5° and 30°. As there, the pixels of all maps seen are pooled.

A map is H×W×3, or N×H×W×3 for several. Vectors need not have length 1. A vector without a
direction (shorter than `LEAST_LENGTH`, or not finite) is undefined: where the target has one the
pixel is left out; where only the prediction has one it is wrong by 90°, what a random direction
is wrong by on average. NaN stands for nothing to compare: no pixel of the target is defined.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

Maps = np.ndarray | Tensor

LEAST_LENGTH = 0.25
"""A vector shorter than this has no direction."""

THRESHOLDS = (11.25, 22.5, 30.0)
"""The angles in degrees of the usual shares."""

_BINS_PER_DEGREE = 100


@dataclass(frozen=True)
class NormalScores:
    """Mean and median error in degrees, and the shares below `THRESHOLDS`; all NaN or none."""

    mean: float
    median: float
    within_11: float
    within_22: float
    within_30: float


def angles(pred: Maps, target: Maps) -> Tensor:
    """The errors at all pixels where the target is defined, degrees 0 … 180, float64, in a row.

    Raises ValueError for shapes that differ or are not H×W×3 or N×H×W×3, or integers.
    """
    p, t = _vectors(pred, "pred"), _vectors(target, "target")
    if p.shape != t.shape:
        raise ValueError(f"maps must have one shape, not {tuple(p.shape)} and {tuple(t.shape)}")
    p, t = p.reshape(-1, 3), t.reshape(-1, 3)
    wanted = _defined(t)
    p, t = p[wanted], t[wanted]
    # The arc tangent stays exact for small angles, where the arc cosine does not.
    found = torch.atan2(torch.linalg.cross(p, t).norm(dim=1), (p * t).sum(1)).rad2deg()
    return torch.where(_defined(p), found, torch.full_like(found, 90.0))


def mean_angle(pred: Maps, target: Maps) -> float:
    """Mean angular error in degrees; 0 is best, symmetric where both maps are defined."""
    return normal_scores(pred, target).mean


def median_angle(pred: Maps, target: Maps) -> float:
    """Median angular error in degrees (the mean of the middle two); 0 is best."""
    return normal_scores(pred, target).median


def within(pred: Maps, target: Maps, degrees: float) -> float:
    """Share of pixels whose error is below `degrees`; 1 is best."""
    return _share(angles(pred, target), degrees)


def normal_scores(pred: Maps, target: Maps) -> NormalScores:
    """All scores at once; errors as in `angles`."""
    errors = angles(pred, target)
    if not len(errors):
        return NormalScores(*[math.nan] * 5)
    return NormalScores(
        float(errors.mean()),
        float(np.median(errors.numpy())),
        *(_share(errors, degrees) for degrees in THRESHOLDS),
    )


class NormalMeanAngle(Metric):
    """The twin of `mean_angle`: over all pixels seen, a float64 scalar; NaN if there was none."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 180.0

    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Maps, target: Maps) -> None:
        """Add maps; errors as in `angles`."""
        errors = angles(pred, target)
        self.total += float(errors.sum())
        self.count += len(errors)

    def compute(self) -> Tensor:
        """The mean over everything seen."""
        return self.total / self.count


class NormalMedianAngle(Metric):
    """The twin of `median_angle`, exact to 0.01°: errors are counted in bins of that width."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 180.0

    histogram: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        bins = torch.zeros(180 * _BINS_PER_DEGREE + 1, dtype=torch.int64)
        self.add_state("histogram", bins, dist_reduce_fx="sum")

    def update(self, pred: Maps, target: Maps) -> None:
        """Add maps; errors as in `angles`."""
        bins = (angles(pred, target) * _BINS_PER_DEGREE).round().long()
        counts = torch.bincount(bins, minlength=len(self.histogram))
        self.histogram += counts.to(self.histogram.device)

    def compute(self) -> Tensor:
        """The median over everything seen."""
        below = self.histogram.cumsum(0)
        count = int(below[-1])
        if not count:
            return torch.tensor(math.nan, dtype=torch.float64)
        middle = torch.tensor([(count + 1) // 2, count // 2 + 1], device=below.device)
        return torch.searchsorted(below, middle).double().mean() / _BINS_PER_DEGREE


class NormalWithin(Metric):
    """The twin of `within`: share of all pixels seen whose error is below `degrees`."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    hits: Tensor
    count: Tensor

    def __init__(self, degrees: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < degrees <= 180:
            raise ValueError(f"degrees must lie above 0 and be at most 180, not {degrees}")
        self.degrees = degrees
        for name in ("hits", "count"):
            self.add_state(name, torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Maps, target: Maps) -> None:
        """Add maps; errors as in `angles`."""
        errors = angles(pred, target)
        self.hits += int((errors < self.degrees).sum())
        self.count += len(errors)

    def compute(self) -> Tensor:
        """The share over everything seen."""
        return self.hits.double() / self.count


def _share(errors: Tensor, degrees: float) -> float:
    return float((errors < degrees).double().mean()) if len(errors) else math.nan


def _defined(vectors: Tensor) -> Tensor:
    finite: Tensor = torch.isfinite(vectors).all(1)
    return finite & (vectors.norm(dim=1) >= LEAST_LENGTH)


def _vectors(maps: Maps, name: str) -> Tensor:
    tensor = maps.detach() if isinstance(maps, Tensor) else torch.from_numpy(np.array(maps))
    if not tensor.is_floating_point():
        raise ValueError(f"{name} must hold floating-point vectors, not {tensor.dtype}")
    if tensor.ndim not in (3, 4) or tensor.shape[-1] != 3:
        raise ValueError(f"{name} must be H×W×3 or N×H×W×3, not {tuple(tensor.shape)}")
    # Metal has no float64, so the sums are made on the CPU.
    return tensor.cpu().double()
