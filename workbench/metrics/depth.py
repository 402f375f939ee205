"""Agreement of two depth maps, given as inverse depth in [0, 1] with 1 the nearest.

A depth network knows depth only up to a scale and a shift, so all but `rmse_255` and `pearson`
first bring the prediction onto the target by least squares, as MiDaS does (Ranftl et al. 2020,
"Towards robust monocular depth estimation"). AbsRel and δ<1.25 are ratios of depths (Eigen et al.
2014) and would be without meaning near inverse depth 0, whose true distance is unknown: aligned
maps are clipped to [0, 1] and read as a scene whose farthest point is `DEPTH_RANGE` times as far
away as its nearest.

Every function takes two maps H×W, or N×H×W for the mean over the N maps, and returns a float. NaN
stands for nothing to compare: a flat target, or, for `pearson` alone, a flat prediction. Maps which
give NaN are left out of the mean. Pixels which are not finite in either map are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

Maps = np.ndarray | Tensor

DEPTH_RANGE = 10.0
"""How many times as far as the nearest point the farthest is, for AbsRel and δ<1.25."""

FLAT = 1e-6
"""A map whose standard deviation is at most this holds no depth to compare."""


@dataclass(frozen=True)
class DepthScores:
    """All the scores of one pair of maps; see the functions of the same names."""

    rmse_255: float
    si_rmse: float
    abs_rel: float
    delta_1_25: float
    pearson: float


def rmse_255(pred: Maps, target: Maps) -> float:
    """Root mean squared difference on the scale 0–255 (0 is best), without alignment.

    The measure of ControlNet++ (Li et al. 2024). Unlike in its code, both maps must have been
    normalised in the same way. A flat target is compared like any other.
    """
    return _mean(_rmse_255, pred, target)


def si_rmse(pred: Maps, target: Maps) -> float:
    """RMSE after the best scale and shift of the prediction: 0 (best) … 0.5, not symmetric.

    A prediction that is no better than a constant gives the target's standard deviation. The best
    scale may be negative: a depth map turned inside out is forgiven here, but not by `pearson`.
    """
    return _mean(_si_rmse, pred, target)


def abs_rel(pred: Maps, target: Maps) -> float:
    """Mean of |predicted depth − depth| / depth after alignment; 0 is best."""
    return _mean(_abs_rel, pred, target)


def delta_1_25(pred: Maps, target: Maps) -> float:
    """Share of pixels whose aligned depth is within a factor of 1.25 of the target's; 1 is best."""
    return _mean(_delta_1_25, pred, target)


def pearson(pred: Maps, target: Maps) -> float:
    """Pearson correlation of the two maps, −1 … 1 (best), symmetric; NaN if either is flat."""
    return _mean(_pearson, pred, target)


def depth_scores(pred: Maps, target: Maps) -> DepthScores:
    """All scores at once, from one alignment. Takes a single pair H×W."""
    ps, ts = _pairs(pred, target)
    if len(ps) != 1:
        raise ValueError(f"depth_scores takes one pair of maps, not {len(ps)}")
    p, t = _usable(ps[0], ts[0])
    aligned = None if _is_flat(t) else align(p, t)
    return DepthScores(
        rmse_255=_rmse_255(p, t),
        si_rmse=_si_rmse(p, t, aligned),
        abs_rel=_abs_rel(p, t, aligned),
        delta_1_25=_delta_1_25(p, t, aligned),
        pearson=_pearson(p, t),
    )


def align(pred: Tensor, target: Tensor) -> Tensor:
    """`pred` under the scale and shift that bring it closest to `target` in least squares.

    Tensors of one shape, with finite values. A flat prediction becomes the target's mean.
    """
    p, t = pred - pred.mean(), target - target.mean()
    spread = (p * p).sum()
    if _is_flat(pred):
        return torch.full_like(target, float(target.mean()))
    return p * ((p * t).sum() / spread) + target.mean()


def _is_flat(values: Tensor) -> bool:
    return values.numel() < 2 or float(values.std(correction=0)) <= FLAT


def _rmse_255(p: Tensor, t: Tensor) -> float:
    return 255 * float((p - t).square().mean().sqrt()) if t.numel() else math.nan


def _si_rmse(p: Tensor, t: Tensor, aligned: Tensor | None = None) -> float:
    if _is_flat(t):
        return math.nan
    aligned = align(p, t) if aligned is None else aligned
    return float((aligned - t).square().mean().sqrt())


def _nearness(inverse_depth: Tensor) -> Tensor:
    """1 / depth in units of the nearest point's, from 1 / DEPTH_RANGE to 1."""
    floor = 1 / DEPTH_RANGE
    return floor + (1 - floor) * inverse_depth.clamp(0, 1)


def _abs_rel(p: Tensor, t: Tensor, aligned: Tensor | None = None) -> float:
    if _is_flat(t):
        return math.nan
    aligned = align(p, t) if aligned is None else aligned
    return float((_nearness(t) / _nearness(aligned) - 1).abs().mean())


def _delta_1_25(p: Tensor, t: Tensor, aligned: Tensor | None = None) -> float:
    if _is_flat(t):
        return math.nan
    ratio = _nearness(align(p, t) if aligned is None else aligned) / _nearness(t)
    return float((torch.maximum(ratio, 1 / ratio) < 1.25).double().mean())


def _pearson(p: Tensor, t: Tensor) -> float:
    if _is_flat(t) or _is_flat(p):
        return math.nan
    a, b = p - p.mean(), t - t.mean()
    return float(((a * b).sum() / (a.norm() * b.norm())).clamp(-1, 1))


def _as_maps(maps: Maps, name: str) -> Tensor:
    tensor = maps.detach() if isinstance(maps, Tensor) else torch.from_numpy(np.array(maps))
    if not tensor.is_floating_point():
        raise ValueError(f"{name} must hold floating-point depth, not {tensor.dtype}")
    if tensor.ndim not in (2, 3):
        raise ValueError(f"{name} must be H×W or N×H×W, not {tuple(tensor.shape)}")
    # Metal has no float64, so the sums are made on the CPU.
    tensor = tensor.cpu().double()
    return tensor[None] if tensor.ndim == 2 else tensor


def _pairs(pred: Maps, target: Maps) -> tuple[Tensor, Tensor]:
    p, t = _as_maps(pred, "pred"), _as_maps(target, "target")
    if p.shape != t.shape:
        raise ValueError(f"maps must have one shape, not {tuple(p.shape)} and {tuple(t.shape)}")
    return p, t


def _usable(p: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels which are finite in both maps, in a row."""
    finite = torch.isfinite(p) & torch.isfinite(t)
    return p[finite], t[finite]


def _values(score: Callable[[Tensor, Tensor], float], pred: Maps, target: Maps) -> list[float]:
    """The score of each pair which has one."""
    ps, ts = _pairs(pred, target)
    scores = [score(*_usable(p, t)) for p, t in zip(ps, ts, strict=True)]
    return [value for value in scores if not math.isnan(value)]


def _mean(score: Callable[[Tensor, Tensor], float], pred: Maps, target: Maps) -> float:
    values = _values(score, pred, target)
    return sum(values) / len(values) if values else math.nan


class _DepthMetric(Metric):
    """Mean over maps of one of the scores above; NaN if no pair could be compared."""

    is_differentiable = False
    full_state_update = False
    plot_lower_bound = 0.0

    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Maps, target: Maps) -> None:
        """Add pairs of maps, floating point, H×W or N×H×W."""
        values = _values(self._score, pred, target)
        self.total += sum(values)
        self.count += len(values)

    def compute(self) -> Tensor:
        """The mean over the pairs seen, a float32 scalar."""
        return self.total / self.count

    def _score(self, p: Tensor, t: Tensor) -> float:
        """The score of one pair, finite pixels in a row."""
        raise NotImplementedError


class DepthRMSE255(_DepthMetric):
    """The twin of `rmse_255`."""

    higher_is_better = False

    def _score(self, p: Tensor, t: Tensor) -> float:
        return _rmse_255(p, t)


class DepthSiRMSE(_DepthMetric):
    """The twin of `si_rmse`."""

    higher_is_better = False

    def _score(self, p: Tensor, t: Tensor) -> float:
        return _si_rmse(p, t)


class DepthAbsRel(_DepthMetric):
    """The twin of `abs_rel`."""

    higher_is_better = False

    def _score(self, p: Tensor, t: Tensor) -> float:
        return _abs_rel(p, t)


class DepthDelta125(_DepthMetric):
    """The twin of `delta_1_25`."""

    higher_is_better = True
    plot_upper_bound = 1.0

    def _score(self, p: Tensor, t: Tensor) -> float:
        return _delta_1_25(p, t)


class DepthPearson(_DepthMetric):
    """The twin of `pearson`."""

    higher_is_better = True
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0

    def _score(self, p: Tensor, t: Tensor) -> float:
        return _pearson(p, t)
