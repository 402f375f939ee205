"""Agreement of two sets of straight line segments: precision, recall and F1.

A predicted segment matches one of the target's if both its ends lie within the tolerance of the
other's, whichever end comes first. Matching is one to one and finds as many pairs as there can be
(Hopcroft and Karp 1973, by `scipy.sparse.csgraph.maximum_bipartite_matching`). The structural AP
of wireframe parsing (Zhou, Qi and Ma 2019, "End-to-end wireframe parsing") asks the same question
with a bound on the sum of the squared distances of both ends; it needs a confidence for each
segment, which classical detectors do not give.

Segments are arrays K×4 of x1, y1, x2, y2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

Segments = np.ndarray | Tensor


@dataclass(frozen=True)
class SegmentScores:
    """Scores in [0, 1]; NaN where there is nothing to divide by (see `segment_f1`)."""

    f1: float
    precision: float
    recall: float


def segment_distances(pred: Segments, target: Segments) -> NDArray[np.float64]:
    """P×Q: how far apart the ends of each pair are, the farther end in the better direction."""
    p = _as_segments(pred, "pred").reshape(-1, 1, 2, 2)
    t = _as_segments(target, "target").reshape(1, -1, 2, 2)
    straight = np.linalg.norm(p - t, axis=3).max(axis=2)
    turned = np.linalg.norm(p - t[:, :, ::-1], axis=3).max(axis=2)
    return np.asarray(np.minimum(straight, turned), np.float64)


def segment_f1(pred: Segments, target: Segments, tolerance: float) -> SegmentScores:
    """Scores of predicted (P×4) against target segments (Q×4).

    tolerance: in the unit of the segments, at least 0.
    F1 is NaN if neither has a segment, and 0 if only one has. Precision is NaN without predicted,
    recall without target segments. Swapping the two swaps precision and recall.
    Raises ValueError for other shapes, values which are not finite, or a negative tolerance.
    """
    _check_tolerance(tolerance)
    return _scores(len(pred), len(target), _matched(pred, target, tolerance))


class SegmentF1(Metric):
    """F1 over all segments seen; the twin of `segment_f1`.

    `compute` gives a float64 scalar in [0, 1], NaN if there was no segment.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    pred: Tensor
    target: Tensor
    matched: Tensor

    def __init__(self, tolerance: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _check_tolerance(tolerance)
        self.tolerance = tolerance
        for name in ("pred", "target", "matched"):
            self.add_state(name, torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Segments, target: Segments) -> None:
        """Add the segments of one picture; errors as in `segment_f1`."""
        self.matched += _matched(pred, target, self.tolerance)
        self.pred += len(pred)
        self.target += len(target)

    def compute(self) -> Tensor:
        """The score over everything seen."""
        scores = _scores(int(self.pred), int(self.target), int(self.matched))
        return torch.tensor(self._pick(scores), dtype=torch.float64, device=self.device)

    def _pick(self, scores: SegmentScores) -> float:
        return scores.f1


class SegmentPrecision(SegmentF1):
    """Share of predicted segments with a partner; NaN if none were predicted."""

    def _pick(self, scores: SegmentScores) -> float:
        return scores.precision


class SegmentRecall(SegmentF1):
    """Share of the target's segments with a partner; NaN if the targets had none."""

    def _pick(self, scores: SegmentScores) -> float:
        return scores.recall


def _as_segments(segments: Segments, name: str) -> NDArray[np.float64]:
    array = segments.detach().cpu().numpy() if isinstance(segments, Tensor) else segments
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name} must be segments K×4, not {array.shape}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds segments which are not finite")
    return array


def _check_tolerance(tolerance: float) -> None:
    if not tolerance >= 0 or math.isinf(tolerance):
        raise ValueError(f"tolerance must be a distance, 0 or more, not {tolerance}")


def _matched(pred: Segments, target: Segments, tolerance: float) -> int:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    near = segment_distances(pred, target) <= tolerance + 1e-9
    if not near.any():
        return 0
    partners = maximum_bipartite_matching(csr_array(near), perm_type="column")
    return int(np.count_nonzero(partners >= 0))


def _scores(pred: int, target: int, matched: int) -> SegmentScores:
    return SegmentScores(
        f1=2 * matched / (pred + target) if pred + target else math.nan,
        precision=matched / pred if pred else math.nan,
        recall=matched / target if target else math.nan,
    )
