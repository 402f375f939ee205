"""Agreement of two sets of straight line segments: precision, recall and F1.

A predicted segment matches one of the target's if both its ends lie within the tolerance of the
other's, whichever end comes first. Matching is one to one and finds as many pairs as there can be
(Hopcroft and Karp 1973, by `scipy.sparse.csgraph.maximum_bipartite_matching`). The structural AP
of wireframe parsing (Zhou, Qi and Ma 2019, "End-to-end wireframe parsing") asks the same question
with a bound on the sum of the squared distances of both ends; it needs a confidence for each
segment, which classical detectors do not give.

Segments are arrays K×4 of x1, y1, x2, y2. in any unit, of one picture. F1 is NaN if neither
picture has a segment, and 0 if only one has. Precision is NaN without predicted, recall without
target segments. Swapping the two swaps precision and recall. All functions and classes raise
ValueError for other shapes, values which are not finite, and a negative tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.metrics._base import Array, PoolableMetric, as_tensor


@dataclass(frozen=True)
class SegmentScores:
    """Scores in [0, 1]; NaN where there is nothing to divide by."""

    f1: float
    precision: float
    recall: float


def segment_distances(preds: Array, target: Array) -> NDArray[np.float64]:
    """P×Q: how far apart the ends of each pair are, the farther end in the better direction."""
    p = _as_segments(preds, "preds").reshape(-1, 1, 2, 2)
    t = _as_segments(target, "target").reshape(1, -1, 2, 2)
    straight = np.linalg.norm(p - t, axis=3).max(axis=2)
    turned = np.linalg.norm(p - t[:, :, ::-1], axis=3).max(axis=2)
    return np.asarray(np.minimum(straight, turned), np.float64)


def segment_scores(preds: Array, target: Array, tolerance: float) -> SegmentScores:
    """All scores of predicted (P×4) against target segments (Q×4).

    tolerance: in the unit of the segments, 0 or more.
    """
    return _scores(_counts(preds, target, tolerance))


def segment_f1(preds: Array, target: Array, tolerance: float) -> float:
    """F1 of predicted against target segments, 0 … 1 (best); see `SegmentF1`."""
    return segment_scores(preds, target, tolerance).f1


def segment_precision(preds: Array, target: Array, tolerance: float) -> float:
    """Share of predicted segments with a partner; see `SegmentPrecision`."""
    return segment_scores(preds, target, tolerance).precision


def segment_recall(preds: Array, target: Array, tolerance: float) -> float:
    """Share of target segments with a partner; see `SegmentRecall`."""
    return segment_scores(preds, target, tolerance).recall


class SegmentF1(PoolableMetric):
    """F1 of the segments of pictures; each update is one picture.

    tolerance: in the unit of the segments. reduction: "mean" over pictures, or "pooled" segments.

    >>> target = torch.tensor([[0.0, 0, 10, 0], [0, 0, 0, 10]])
    >>> metric = SegmentF1(tolerance=1)
    >>> metric.update(torch.tensor([[10.0, 0.5, 0, 0]]), target)
    >>> metric.compute()
    tensor(0.6667, dtype=torch.float64)
    """

    _pick = "f1"

    def __init__(self, tolerance: float, **kwargs: Any) -> None:
        super().__init__(3, **kwargs)
        _check_tolerance(tolerance)
        self.tolerance = tolerance

    def _counts(self, preds: Array, target: Array) -> Sequence[Tensor]:
        return [_counts(preds, target, self.tolerance)]

    def _scores(self, counts: Tensor) -> SegmentScores:
        return _scores(counts)


class SegmentPrecision(SegmentF1):
    """Share of predicted segments with a partner; NaN if none were predicted.

    >>> target = torch.tensor([[0.0, 0, 10, 0], [0, 0, 0, 10]])
    >>> metric = SegmentPrecision(tolerance=1)
    >>> metric.update(torch.tensor([[10.0, 0.5, 0, 0]]), target)
    >>> metric.compute()
    tensor(1., dtype=torch.float64)
    """

    _pick = "precision"


class SegmentRecall(SegmentF1):
    """Share of the target's segments with a partner; NaN if the target had none.

    >>> target = torch.tensor([[0.0, 0, 10, 0], [0, 0, 0, 10]])
    >>> metric = SegmentRecall(tolerance=1)
    >>> metric.update(torch.tensor([[10.0, 0.5, 0, 0]]), target)
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    _pick = "recall"


def _as_segments(segments: Array, name: str) -> NDArray[np.float64]:
    array = as_tensor(segments).double().numpy()
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name} must be segments K×4, not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds segments which are not finite")
    return array


def _check_tolerance(tolerance: float) -> None:
    if not tolerance >= 0 or math.isinf(tolerance):
        raise ValueError(f"tolerance must be a distance, 0 or more, not {tolerance}")


def _counts(preds: Array, target: Array, tolerance: float) -> Tensor:
    """Predicted segments, those of the target, and pairs of one of each."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    _check_tolerance(tolerance)
    near = segment_distances(preds, target) <= tolerance + 1e-9
    matched = 0
    if near.any():
        partners = maximum_bipartite_matching(csr_array(near), perm_type="column")
        matched = int(np.count_nonzero(partners >= 0))
    return torch.tensor([*near.shape, matched], dtype=torch.float64)


def _scores(counts: Tensor) -> SegmentScores:
    pred, target, matched = counts.tolist()
    return SegmentScores(
        f1=2 * matched / (pred + target) if pred + target else math.nan,
        precision=matched / pred if pred else math.nan,
        recall=matched / target if target else math.nan,
    )
