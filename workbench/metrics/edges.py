"""Agreement of two edge maps: F1, precision and recall, with or without a tolerance in pixels.

An edge pixel of one map counts as found if the other map has an edge pixel within the tolerance
(Euclidean). Precision is the share of the predicted edge pixels that are found in the target,
recall the share of the target's that are found in the prediction, F1 their harmonic mean. With
tolerance 0 this is the ordinary F1 score over pixels, as in ControlNet++ (Li et al. 2024), equal
to torchmetrics' BinaryF1Score. The tolerance of 0.0075 × diagonal is that of the Berkeley
segmentation benchmark (Martin, Fowlkes and Malik 2004), whose one-to-one matching of pixels is
left out: it punishes lines that are drawn twice, at a hundred times the cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

Maps = np.ndarray | Tensor

DEFAULT_FRACTION = 0.0075
"""The default tolerance as a fraction of a map's diagonal."""


@dataclass(frozen=True)
class EdgeScores:
    """Scores in [0, 1]; NaN where there is nothing to divide by (see `edge_f1`)."""

    f1: float
    precision: float
    recall: float


@dataclass(frozen=True)
class _Counts:
    """Edge pixels, and how many of them the other map has within the tolerance."""

    pred: int = 0
    pred_found: int = 0
    target: int = 0
    target_found: int = 0


def default_tolerance(height: int, width: int, fraction: float = DEFAULT_FRACTION) -> float:
    """The tolerance in pixels for maps of this size: a fraction of their diagonal."""
    return fraction * math.hypot(height, width)


def edge_f1(pred: Maps, target: Maps, tolerance: float = 0.0) -> EdgeScores:
    """Scores of predicted against target edges.

    pred, target: bool maps of one shape, H×W, or N×H×W whose pixels are pooled.
    tolerance: in pixels, at least 0; see `default_tolerance`.
    F1 is NaN if neither has an edge pixel, and 0 if only one has. Precision is NaN without
    predicted, recall without target edge pixels. Swapping the maps swaps precision and recall.
    Raises ValueError for shapes that differ, types that are not bool, or a negative tolerance.
    """
    return _scores(_count(_as_maps(pred, "pred"), _as_maps(target, "target"), tolerance))


class EdgeF1(Metric):
    """F1 of edge maps over all pixels seen (bool N×H×W or H×W); the twin of `edge_f1`.

    tolerance: in pixels. `compute` gives a float64 scalar in [0, 1], NaN if no map had an edge.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    pred: Tensor
    pred_found: Tensor
    target: Tensor
    target_found: Tensor

    def __init__(self, tolerance: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _check_tolerance(tolerance)
        self.tolerance = tolerance
        for name in ("pred", "pred_found", "target", "target_found"):
            self.add_state(name, torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Maps, target: Maps) -> None:
        """Add maps; errors as in `edge_f1`."""
        counts = _count(_as_maps(pred, "pred"), _as_maps(target, "target"), self.tolerance)
        self.pred += counts.pred
        self.pred_found += counts.pred_found
        self.target += counts.target
        self.target_found += counts.target_found

    def compute(self) -> Tensor:
        """The score over everything seen."""
        return torch.tensor(self._pick(self._scores()), dtype=torch.float64, device=self.device)

    def _scores(self) -> EdgeScores:
        return _scores(
            _Counts(int(self.pred), int(self.pred_found), int(self.target), int(self.target_found))
        )

    def _pick(self, scores: EdgeScores) -> float:
        return scores.f1


class EdgePrecision(EdgeF1):
    """Share of predicted edge pixels found in the target; NaN if none were predicted."""

    def _pick(self, scores: EdgeScores) -> float:
        return scores.precision


class EdgeRecall(EdgeF1):
    """Share of target edge pixels found in the prediction; NaN if the targets had none."""

    def _pick(self, scores: EdgeScores) -> float:
        return scores.recall


def _as_maps(maps: Maps, name: str) -> NDArray[np.bool_]:
    array = maps.detach().cpu().numpy() if isinstance(maps, Tensor) else np.asarray(maps)
    if array.dtype != np.bool_:
        raise ValueError(f"{name} must be bool edges, not {array.dtype}")
    if array.ndim not in (2, 3):
        raise ValueError(f"{name} must be H×W or N×H×W, not {array.shape}")
    return array[None] if array.ndim == 2 else array


def _check_tolerance(tolerance: float) -> None:
    if not tolerance >= 0 or math.isinf(tolerance):
        raise ValueError(f"tolerance must be a number of pixels, 0 or more, not {tolerance}")


def _count(pred: NDArray[np.bool_], target: NDArray[np.bool_], tolerance: float) -> _Counts:
    _check_tolerance(tolerance)
    if pred.shape != target.shape:
        raise ValueError(f"maps must have one shape, not {pred.shape} and {target.shape}")
    return _Counts(
        pred=int(np.count_nonzero(pred)),
        pred_found=sum(_found(p, t, tolerance) for p, t in zip(pred, target, strict=True)),
        target=int(np.count_nonzero(target)),
        target_found=sum(_found(t, p, tolerance) for p, t in zip(pred, target, strict=True)),
    )


def _found(edges: NDArray[np.bool_], others: NDArray[np.bool_], tolerance: float) -> int:
    """How many edge pixels have a pixel of `others` (H×W both) within the tolerance."""
    if tolerance < 1 or not others.any() or not edges.any():
        return int(np.count_nonzero(edges & others))
    distance = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squares of distances are whole numbers: rounding undoes the float32 root.
    squares = np.rint(np.square(distance[edges], dtype=np.float64))
    return int(np.count_nonzero(squares <= tolerance * tolerance + 1e-9))


def _scores(counts: _Counts) -> EdgeScores:
    precision = counts.pred_found / counts.pred if counts.pred else math.nan
    recall = counts.target_found / counts.target if counts.target else math.nan
    if not counts.pred and not counts.target:
        f1 = math.nan
    elif not counts.pred_found or not counts.target_found:
        f1 = 0.0
    else:
        f1 = 2 * precision * recall / (precision + recall)
    return EdgeScores(f1, precision, recall)
