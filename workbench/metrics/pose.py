"""Agreement of two sets of people, each given by 18 joints: OKS, PCK and the share found.

People are arrays P×18×3: x and y in pixels, and a confidence which is 0 where a joint was not
found. Joints are in OpenPose's COCO-18 order. People of both sets are matched one to one so that
the sum of their OKS is largest (`scipy.optimize.linear_sum_assignment`). Only joints which the
target has count; a joint or a person which the prediction lacks scores 0. People whom only the
prediction has cost nothing, as in the definition of OKS: the direction is from target to
prediction, and the measures are not symmetric.

- OKS, the object keypoint similarity of COCO (cocodataset.org/#keypoints-eval): the mean over
  joints of exp(−d² / (2 s² k²)), d the distance, k twice COCO's σ of the joint, s² the person's
  area. COCO takes the area of the person's outline; a skeleton has none, so that of the box around
  the target's joints stands for it, where a box thinner than 1:4 counts as 1:4. The neck, which
  COCO does not have, takes the σ of the shoulders.
- PCK@0.2, percentage of correct keypoints (Yang and Ramanan 2013): the share of joints within 0.2
  torso lengths, from the neck to the middle of the hips (or to the one hip there is); where the
  target lacks them, within 0.2 of the longer side of the box around its joints, which is theirs
  (α·max(h, w)).
- Share found: the share of the target's joints which the matched person has, wherever they are.

All lie in [0, 1], 1 is best, and are NaN where the target has no joint at all. All functions and
classes raise ValueError for another shape and values which are not finite.
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

JOINT_COUNT = 18
NECK, RIGHT_HIP, LEFT_HIP = 1, 8, 11

SIGMAS: tuple[float, ...] = (
    0.026, 0.079,
    0.079, 0.072, 0.062,
    0.079, 0.072, 0.062,
    0.107, 0.087, 0.089,
    0.107, 0.087, 0.089,
    0.025, 0.025, 0.035, 0.035,
)  # fmt: skip
"""COCO's standard deviations of the 18 joints; the neck has the mean of the shoulders'."""

PCK_SHARE = 0.2
THINNEST = 0.25


@dataclass(frozen=True)
class PoseScores:
    """Scores in [0, 1], 1 is best; NaN where the target has no joint.

    oks: mean over the target's people. pck, found: over all their joints.
    """

    oks: float
    pck: float
    found: float


def pose_scores(preds: Array, target: Array) -> PoseScores:
    """All scores of predicted people (P×18×3) against the target's (Q×18×3), in one unit."""
    return _scores(_counts(preds, target))


def pose_oks(preds: Array, target: Array) -> float:
    """OKS of predicted people against the target's; see `PoseOKS`."""
    return pose_scores(preds, target).oks


def pose_pck(preds: Array, target: Array) -> float:
    """PCK@0.2 of predicted people against the target's; see `PosePCK`."""
    return pose_scores(preds, target).pck


def pose_found(preds: Array, target: Array) -> float:
    """Share of the target's joints that were found; see `PoseFound`."""
    return pose_scores(preds, target).found


def oks_matrix(preds: Array, target: Array) -> NDArray[np.float64]:
    """OKS of every target person with every predicted one, Q×P.

    A target person without joints has a row of 0.
    """
    return _oks(_as_people(preds, "preds"), _as_people(target, "target"))


class PoseOKS(PoolableMetric):
    """Object keypoint similarity; each update is one picture with its people (P×18×3).

    reduction: "mean" over pictures, or "pooled" people (OKS) and joints (PCK, share found).

    >>> target = torch.ones(1, 18, 3)
    >>> target[0, :, 0] = 10 * torch.arange(18)
    >>> metric = PoseOKS()
    >>> metric.update(target + torch.tensor([4, 0, 0]), target)
    >>> metric.compute()
    tensor(0.8879, dtype=torch.float64)
    """

    _pick = "oks"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(5, **kwargs)

    def _counts(self, preds: Array, target: Array) -> Sequence[Tensor]:
        return [_counts(preds, target)]

    def _scores(self, counts: Tensor) -> PoseScores:
        return _scores(counts)


class PosePCK(PoseOKS):
    """PCK@0.2: share of the target's joints that lie within 0.2 torso lengths.

    >>> target = torch.ones(1, 18, 3)
    >>> target[0, :, 0] = 10 * torch.arange(18)
    >>> preds = target.clone()
    >>> preds[0, :9, 1] += 50
    >>> metric = PosePCK()
    >>> metric.update(preds, target)
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    _pick = "pck"


class PoseFound(PoseOKS):
    """Share of the target's joints that were found, wherever they lie.

    >>> target = torch.ones(1, 18, 3)
    >>> preds = target.clone()
    >>> preds[0, :9] = 0
    >>> metric = PoseFound()
    >>> metric.update(preds, target)
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    _pick = "found"


def _as_people(people: Array, name: str) -> NDArray[np.float64]:
    array = as_tensor(people).double().numpy()
    if array.ndim != 3 or array.shape[1:] != (JOINT_COUNT, 3):
        raise ValueError(f"{name} must be people P×{JOINT_COUNT}×3, not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds joints which are not finite")
    return array


def _area(points: NDArray[np.float64]) -> float:
    """Area of the box around points K×2, not thinner than 1:4 and at least one pixel."""
    sides = np.ptp(points, axis=0)
    longer, shorter = float(sides.max()), float(sides.min())
    return max(longer * max(shorter, THINNEST * longer), 1.0)


def _oks(pred: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.zeros((len(target), len(pred)))
    twice = (2 * np.asarray(SIGMAS)) ** 2
    for row, person in enumerate(target):
        seen = person[:, 2] > 0
        if not seen.any():
            continue
        squares = np.square(pred[:, seen, :2] - person[seen, :2]).sum(axis=2)
        likeness = np.exp(-squares / (2 * _area(person[seen, :2]) * twice[seen]))
        out[row] = np.where(pred[:, seen, 2] > 0, likeness, 0.0).mean(axis=1)
    return out


def _reach(person: NDArray[np.float64]) -> float:
    """How far off, in pixels, a joint of this person may be to count as correct."""
    hips = person[[RIGHT_HIP, LEFT_HIP]]
    hips = hips[hips[:, 2] > 0, :2]
    if person[NECK, 2] > 0 and len(hips):
        length = float(np.linalg.norm(person[NECK, :2] - hips.mean(axis=0)))
        if length > 0:
            return PCK_SHARE * length
    return PCK_SHARE * float(np.ptp(person[person[:, 2] > 0, :2], axis=0).max())


def _counts(preds: Array, truth: Array) -> Tensor:
    """Sums over the target's people and joints: OKS, people, right, found and all joints."""
    from scipy.optimize import linear_sum_assignment

    pred, target = _as_people(preds, "preds"), _as_people(truth, "target")
    target = target[(target[:, :, 2] > 0).any(axis=1)]
    matrix = _oks(pred, target)
    rows, columns = linear_sum_assignment(matrix, maximize=True)
    right = found = 0
    for row, column in zip(rows, columns, strict=True):
        person, other = target[row], pred[column]
        both = (person[:, 2] > 0) & (other[:, 2] > 0)
        far = np.linalg.norm(person[both, :2] - other[both, :2], axis=1)
        right += int(np.count_nonzero(far <= _reach(person) + 1e-9))
        found += int(np.count_nonzero(both))
    joints = int(np.count_nonzero(target[:, :, 2] > 0))
    total = float(matrix[rows, columns].sum())
    return torch.tensor([total, len(target), right, found, joints], dtype=torch.float64)


def _scores(counts: Tensor) -> PoseScores:
    oks, people, right, found, joints = counts.tolist()
    if not joints:
        return PoseScores(math.nan, math.nan, math.nan)
    return PoseScores(oks=oks / people, pck=right / joints, found=found / joints)
