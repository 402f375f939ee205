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

All are NaN where the target has no joint at all.
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

People = np.ndarray | Tensor

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


@dataclass(frozen=True)
class _Counts:
    """Sums over the target's people and joints."""

    oks: float = 0.0
    people: int = 0
    right: int = 0
    found: int = 0
    joints: int = 0


def pose_scores(pred: People, target: People) -> PoseScores:
    """All scores of predicted people (P×18×3) against the target's (Q×18×3), in one unit.

    Raises ValueError for another shape or values which are not finite.
    """
    return _scores(_count(_as_people(pred, "pred"), _as_people(target, "target")))


def oks_matrix(pred: People, target: People) -> NDArray[np.float64]:
    """OKS of every target person with every predicted one, Q×P; errors as in `pose_scores`.

    A target person without joints has a row of 0.
    """
    return _oks(_as_people(pred, "pred"), _as_people(target, "target"))


class PoseOKS(Metric):
    """OKS over all people seen (pairs of arrays P×18×3); the twin of `pose_scores`.

    `compute` gives a float64 scalar in [0, 1], NaN if no target had a joint.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    oks: Tensor
    people: Tensor
    right: Tensor
    found: Tensor
    joints: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("oks", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("people", "right", "found", "joints"):
            self.add_state(name, torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: People, target: People) -> None:
        """Add the people of one picture; errors as in `pose_scores`."""
        counts = _count(_as_people(pred, "pred"), _as_people(target, "target"))
        self.oks += counts.oks
        self.people += counts.people
        self.right += counts.right
        self.found += counts.found
        self.joints += counts.joints

    def compute(self) -> Tensor:
        """The score over everything seen."""
        scores = _scores(
            _Counts(
                float(self.oks),
                int(self.people),
                int(self.right),
                int(self.found),
                int(self.joints),
            )
        )
        return torch.tensor(self._pick(scores), dtype=torch.float64, device=self.device)

    def _pick(self, scores: PoseScores) -> float:
        return scores.oks


class PosePCK(PoseOKS):
    """PCK@0.2 over all joints seen."""

    def _pick(self, scores: PoseScores) -> float:
        return scores.pck


class PoseFound(PoseOKS):
    """Share of joints found, over all joints seen."""

    def _pick(self, scores: PoseScores) -> float:
        return scores.found


def _as_people(people: People, name: str) -> NDArray[np.float64]:
    array = people.detach().cpu().numpy() if isinstance(people, Tensor) else np.asarray(people)
    if array.ndim != 3 or array.shape[1:] != (JOINT_COUNT, 3):
        raise ValueError(f"{name} must be people P×{JOINT_COUNT}×3, not {array.shape}")
    array = array.astype(np.float64)
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


def _count(pred: NDArray[np.float64], target: NDArray[np.float64]) -> _Counts:
    from scipy.optimize import linear_sum_assignment

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
    return _Counts(
        oks=float(matrix[rows, columns].sum()),
        people=len(target),
        right=right,
        found=found,
        joints=int(np.count_nonzero(target[:, :, 2] > 0)),
    )


def _scores(counts: _Counts) -> PoseScores:
    if not counts.joints:
        return PoseScores(math.nan, math.nan, math.nan)
    return PoseScores(
        oks=counts.oks / counts.people,
        pck=counts.right / counts.joints,
        found=counts.found / counts.joints,
    )
