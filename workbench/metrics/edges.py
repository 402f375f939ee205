"""Agreement of two edge maps: F1, precision and recall, with or without a tolerance in pixels.

An edge pixel of one map counts as found if the other map has an edge pixel within the tolerance
(Euclidean). Precision is the share of the predicted edge pixels that are found in the target,
recall the share of the target's that are found in the prediction, F1 their harmonic mean. With
tolerance 0 this is the ordinary F1 score over pixels, as in ControlNet++ (Li et al. 2024), equal
to torchmetrics' BinaryF1Score.

With `one_to_one` each pixel finds one pixel at most and is found by one at most, as in the Berkeley
segmentation benchmark (Martin, Fowlkes and Malik 2004), whose tolerance is 0.0075 × diagonal; see
`matching`. Without it many pixels may find the same one: a line that is drawn twice, or a
neighbourhood that is full of edges, costs nothing.

Maps are bool, H×W for one picture or N×H×W for several. F1 is NaN if neither map has an edge
pixel, and 0 if only one has. Precision is NaN without predicted, recall without target edge
pixels. Swapping the maps swaps precision and recall. All functions and classes raise ValueError
for shapes that differ, types that are not bool, and a negative tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.metrics._base import Array, PoolableMetric, Reduction, reduced, stacks
from workbench.metrics.matching import matched_pixels

DEFAULT_FRACTION = 0.0075
"""The default tolerance as a fraction of a map's diagonal."""


@dataclass(frozen=True)
class EdgeScores:
    """Scores in [0, 1]; NaN where there is nothing to divide by."""

    f1: float
    precision: float
    recall: float


def default_tolerance(height: int, width: int, fraction: float = DEFAULT_FRACTION) -> float:
    """The tolerance in pixels for maps of this size: a fraction of their diagonal."""
    return fraction * math.hypot(height, width)


def edge_scores(
    preds: Array, target: Array, tolerance: float = 0.0, *, one_to_one: bool = False
) -> EdgeScores:
    """All scores at once; the pixels of several pictures are pooled. tolerance: in pixels."""
    return _scores(torch.stack(_counts(preds, target, tolerance, one_to_one)).sum(0))


def edge_f1(
    preds: Array,
    target: Array,
    tolerance: float = 0.0,
    reduction: Reduction = "mean",
    *,
    one_to_one: bool = False,
) -> float:
    """F1 of predicted against target edges, 0 … 1 (best); see `EdgeF1`."""
    counts = _counts(preds, target, tolerance, one_to_one)
    return reduced(counts, lambda c: _scores(c).f1, reduction)


def edge_precision(
    preds: Array,
    target: Array,
    tolerance: float = 0.0,
    reduction: Reduction = "mean",
    *,
    one_to_one: bool = False,
) -> float:
    """Share of predicted edge pixels found in the target; see `EdgePrecision`."""
    counts = _counts(preds, target, tolerance, one_to_one)
    return reduced(counts, lambda c: _scores(c).precision, reduction)


def edge_recall(
    preds: Array,
    target: Array,
    tolerance: float = 0.0,
    reduction: Reduction = "mean",
    *,
    one_to_one: bool = False,
) -> float:
    """Share of target edge pixels found in the prediction; see `EdgeRecall`."""
    counts = _counts(preds, target, tolerance, one_to_one)
    return reduced(counts, lambda c: _scores(c).recall, reduction)


class EdgeF1(PoolableMetric):
    """F1 of edge maps.

    tolerance: in pixels, 0 or more. reduction: "mean" over the pictures, or "pooled" pixels.
    one_to_one: whether each pixel counts for one pixel of the other map only.

    >>> target = torch.eye(8, dtype=torch.bool)
    >>> metric = EdgeF1(tolerance=1.5)
    >>> metric.update(target.roll(1, dims=1), target)
    >>> metric.compute()
    tensor(0.9333, dtype=torch.float64)
    >>> edge_f1(target.roll(1, dims=1), target)
    0.0
    """

    _pick = "f1"

    def __init__(self, tolerance: float = 0.0, *, one_to_one: bool = False, **kwargs: Any) -> None:
        super().__init__(4, **kwargs)
        _check_tolerance(tolerance)
        self.tolerance = tolerance
        self.one_to_one = one_to_one

    def _counts(self, preds: Array, target: Array) -> Sequence[Tensor]:
        return _counts(preds, target, self.tolerance, self.one_to_one)

    def _scores(self, counts: Tensor) -> EdgeScores:
        return _scores(counts)


class EdgePrecision(EdgeF1):
    """Share of predicted edge pixels found in the target; NaN if none were predicted.

    >>> metric = EdgePrecision()
    >>> metric.update(torch.tensor([[True, True, False]]), torch.tensor([[True, False, False]]))
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    _pick = "precision"


class EdgeRecall(EdgeF1):
    """Share of target edge pixels found in the prediction; NaN if the target had none.

    >>> metric = EdgeRecall()
    >>> metric.update(torch.tensor([[True, True, False]]), torch.tensor([[True, False, False]]))
    >>> metric.compute()
    tensor(1., dtype=torch.float64)
    """

    _pick = "recall"


def _check_tolerance(tolerance: float) -> None:
    if not tolerance >= 0 or math.isinf(tolerance):
        raise ValueError(f"tolerance must be a number of pixels, 0 or more, not {tolerance}")


def _counts(preds: Array, target: Array, tolerance: float, one_to_one: bool) -> list[Tensor]:
    """Per picture: edge pixels predicted, those found, edge pixels of the target, those found."""
    _check_tolerance(tolerance)
    pair = stacks(preds, target, lambda t: "" if t.dtype == torch.bool else "be bool edges")

    def found(p: NDArray[np.bool_], t: NDArray[np.bool_]) -> tuple[int, int]:
        if one_to_one:
            return (matched_pixels(p, t, tolerance),) * 2
        return _found(p, t, tolerance), _found(t, p, tolerance)

    counts = []
    for p, t in zip(*(maps.numpy() for maps in pair), strict=True):
        precise, recalled = found(p, t)
        counts.append(torch.tensor([p.sum(), precise, t.sum(), recalled]).double())
    return counts


def _found(edges: NDArray[np.bool_], others: NDArray[np.bool_], tolerance: float) -> int:
    """How many edge pixels have a pixel of `others` (H×W both) within the tolerance."""
    if tolerance < 1 or not others.any() or not edges.any():
        return int(np.count_nonzero(edges & others))
    beside = others
    if tolerance >= math.sqrt(2):  # most have one right beside them
        beside = cv2.dilate(others.view(np.uint8), np.ones((3, 3), np.uint8)) > 0
    left = np.nonzero(edges & ~beside)
    found = int(np.count_nonzero(edges)) - len(left[0])
    # Of the rest each row of the disc around a pixel is a range of places.
    reach = int(min(tolerance, max(others.shape)))
    width = others.shape[1] + 2 * reach
    before = np.zeros((others.shape[0] + 2 * reach) * width + 1, np.int32)
    np.cumsum(np.pad(others, reach), out=before[1:])
    places = (left[0] + reach) * width + left[1] + reach
    for row in sorted(range(-reach, reach + 1), key=abs):
        wide = min(int(math.sqrt(tolerance * tolerance + 1e-9 - row * row)), reach)
        middle = places + row * width
        free = before[middle + wide + 1] == before[middle - wide]
        found += len(places) - int(np.count_nonzero(free))
        places = places[free]
    return found


def _scores(counts: Tensor) -> EdgeScores:
    pred, pred_found, target, target_found = counts.tolist()
    precision = pred_found / pred if pred else math.nan
    recall = target_found / target if target else math.nan
    if not pred and not target:
        f1 = math.nan
    elif not pred_found or not target_found:
        f1 = 0.0
    else:
        f1 = 2 * precision * recall / (precision + recall)
    return EdgeScores(f1, precision, recall)
