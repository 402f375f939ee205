"""Agreement of two depth maps, given as inverse depth in [0, 1] with 1 the nearest.

A depth network knows depth only up to a scale and a shift, so all but `rmse_255` and `pearson`
first bring the prediction onto the target by least squares, as MiDaS does (Ranftl et al. 2020,
"Towards robust monocular depth estimation"), with a scale of 0 or more: a map that is turned inside
out has no scale that would be right, so that a constant, the target's mean, is compared in its
place, as for a flat map. AbsRel and δ<1.25 are ratios of depths (Eigen et al.
2014) and would be without meaning near inverse depth 0, whose true distance is unknown: aligned
maps are clipped to [0, 1] and read as a scene whose farthest point is `DEPTH_RANGE` times as far
away as its nearest.

Maps are of floating point, H×W for one picture or N×H×W for several, whose scores are averaged.
NaN stands for nothing to compare: a flat target, or, for `pearson` alone, a flat prediction. Such
pictures are left out of the mean, and so are pixels which are not finite in either map. All
functions and classes raise ValueError for shapes that differ and other types.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.metrics._base import Array, PictureMetric, mean, stacks

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


def rmse_255(preds: Array, target: Array) -> float:
    """Root mean squared difference on the scale 0–255 (0 is best); see `DepthRMSE255`."""
    return mean(_values("rmse_255", preds, target))


def si_rmse(preds: Array, target: Array) -> float:
    """RMSE after the best scale and shift of the prediction, 0 (best) … 0.5; see `DepthSiRMSE`."""
    return mean(_values("si_rmse", preds, target))


def abs_rel(preds: Array, target: Array) -> float:
    """Mean of |predicted depth − depth| / depth after alignment; 0 is best."""
    return mean(_values("abs_rel", preds, target))


def delta_1_25(preds: Array, target: Array) -> float:
    """Share of pixels whose aligned depth is within a factor of 1.25 of the target's; 1 is best."""
    return mean(_values("delta_1_25", preds, target))


def pearson(preds: Array, target: Array) -> float:
    """Pearson correlation of the two maps, −1 … 1 (best), symmetric; NaN if either is flat."""
    return mean(_values("pearson", preds, target))


def depth_scores(preds: Array, target: Array) -> DepthScores:
    """All scores at once, from one alignment. Takes the maps H×W of one picture."""
    ps, ts = _pairs(preds, target)
    if len(ps) != 1:
        raise ValueError(f"depth_scores takes one pair of maps, not {len(ps)}")
    return _scores(ps[0], ts[0])


def align(preds: Tensor, target: Tensor) -> Tensor:
    """`preds` under the scale, 0 or more, and shift that bring it closest to `target`.

    In least squares; tensors of one shape, with finite values. A flat prediction, and one that
    falls where the target rises, become the target's mean.
    """
    p, t = preds - preds.mean(), target - target.mean()
    spread = (p * p).sum()
    if _is_flat(preds):
        return torch.full_like(target, float(target.mean()))
    return p * ((p * t).sum() / spread).clamp(min=0) + target.mean()


def _is_flat(values: Tensor) -> bool:
    return values.numel() < 2 or float(values.std(correction=0)) <= FLAT


def _nearness(inverse_depth: Tensor) -> Tensor:
    """1 / depth in units of the nearest point's, from 1 / DEPTH_RANGE to 1."""
    floor = 1 / DEPTH_RANGE
    return floor + (1 - floor) * inverse_depth.clamp(0, 1)


def _pairs(preds: Array, target: Array) -> tuple[Tensor, Tensor]:
    return stacks(
        preds, target, lambda t: "" if t.is_floating_point() else "hold floating-point depth"
    )


def _values(score: str, preds: Array, target: Array) -> list[float]:
    return [getattr(_scores(p, t), score) for p, t in zip(*_pairs(preds, target), strict=True)]


def _scores(p: Tensor, t: Tensor) -> DepthScores:
    """The scores of one pair of maps, over the pixels which are finite in both."""
    finite = torch.isfinite(p) & torch.isfinite(t)
    p, t = p[finite], t[finite]
    rmse = 255 * float((p - t).square().mean().sqrt()) if t.numel() else math.nan
    if _is_flat(t):
        return DepthScores(rmse, *[math.nan] * 4)
    aligned = align(p, t)
    ratio = _nearness(aligned) / _nearness(t)
    correlation = math.nan
    if not _is_flat(p):
        a, b = p - p.mean(), t - t.mean()
        correlation = float(((a * b).sum() / (a.norm() * b.norm())).clamp(-1, 1))
    return DepthScores(
        rmse_255=rmse,
        si_rmse=float((aligned - t).square().mean().sqrt()),
        abs_rel=float((_nearness(t) / _nearness(aligned) - 1).abs().mean()),
        delta_1_25=float((torch.maximum(ratio, 1 / ratio) < 1.25).double().mean()),
        pearson=correlation,
    )


class DepthRMSE255(PictureMetric):
    """Root mean squared difference on the scale 0–255, without alignment; 0 is best.

    The measure of ControlNet++ (Li et al. 2024). Unlike in its code, both maps must have been
    normalised in the same way. A flat target is compared like any other.

    >>> target = torch.linspace(0, 1, 12).reshape(3, 4)
    >>> metric = DepthRMSE255()
    >>> metric.update(target + 0.1, target)
    >>> metric.compute()
    tensor(25.5000, dtype=torch.float64)
    """

    _pick = "rmse_255"

    def _values(self, preds: Array, target: Array) -> Iterable[float]:
        return _values(self._pick, preds, target)


class DepthSiRMSE(DepthRMSE255):
    """RMSE after the best scale and shift of the prediction: 0 (best) … 0.5, not symmetric.

    A prediction that is no better than a constant, as a depth map turned inside out, gives the
    target's standard deviation.

    >>> target = torch.linspace(0, 1, 12).reshape(3, 4)
    >>> metric = DepthSiRMSE()
    >>> metric.update(torch.zeros(3, 4), target)
    >>> metric.compute(), target.std(correction=0)
    (tensor(0.3138, dtype=torch.float64), tensor(0.3138))
    """

    _pick = "si_rmse"


class DepthAbsRel(DepthRMSE255):
    """Mean of |predicted depth − depth| / depth after alignment; 0 is best.

    >>> target = torch.linspace(0, 1, 12).reshape(3, 4)
    >>> metric = DepthAbsRel()
    >>> metric.update(target.square(), target)
    >>> metric.compute()
    tensor(0.1538, dtype=torch.float64)
    """

    _pick = "abs_rel"


class DepthDelta125(DepthRMSE255):
    """Share of pixels whose aligned depth is within a factor of 1.25 of the target's; 1 is best.

    >>> target = torch.linspace(0, 1, 12).reshape(3, 4)
    >>> metric = DepthDelta125()
    >>> metric.update(target.square(), target)
    >>> metric.compute()
    tensor(0.8333, dtype=torch.float64)
    """

    _pick = "delta_1_25"


class DepthPearson(DepthRMSE255):
    """Pearson correlation of the two maps, −1 … 1 (best), symmetric; NaN if either is flat.

    >>> target = torch.linspace(0, 1, 12).reshape(3, 4)
    >>> metric = DepthPearson()
    >>> metric.update(1 - target, target)
    >>> metric.compute()
    tensor(-1.0000, dtype=torch.float64)
    """

    _pick = "pearson"
