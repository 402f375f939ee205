"""From OpenPose's heat maps and part affinity fields to people (Cao et al. 2017, section 3)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

JOINTS = 18

# Two joints, and the channels of the field's x and y on the way from the first to the second.
LIMBS: tuple[tuple[int, int, int, int], ...] = (
    (1, 2, 12, 13), (1, 5, 20, 21), (2, 3, 14, 15), (3, 4, 16, 17), (5, 6, 22, 23),
    (6, 7, 24, 25), (1, 8, 0, 1), (8, 9, 2, 3), (9, 10, 4, 5), (1, 11, 6, 7),
    (11, 12, 8, 9), (12, 13, 10, 11), (1, 0, 28, 29), (0, 14, 30, 31), (14, 16, 34, 35),
    (0, 15, 32, 33), (15, 17, 36, 37), (2, 16, 18, 19), (5, 17, 26, 27),
)  # fmt: skip
SKELETON = 17
"""The limbs after these only join what is there: none of them begins a person."""

_BLUR = 3.0
_LEAST_HEAT = 0.1
_LEAST_FIELD = 0.05
_STEPS = 10
_AGREEING = 0.8
_FEWEST_JOINTS = 4
_LEAST_MEAN = 0.4


@dataclass
class _Person:
    joints: dict[int, int] = field(default_factory=dict)
    score: float = 0.0


def people(heat: NDArray[np.float32], fields: NDArray[np.float32]) -> NDArray[np.float32]:
    """The people in a picture, float32 P×18×3: x, y in pixels and the heat there, best first.

    heat: H×W×18 or more, how sure each joint is at each pixel; what follows is background.
    fields: H×W×38, the direction of each limb.
    (0.5, 0.5) is the middle of the first pixel; joints that were not found are zeros. Thresholds
    are those of ControlNet's annotator. One who shares no joint with another but a limb with both
    joins them, as there.
    """
    peaks = [_peaks(heat[:, :, joint]) for joint in range(JOINTS)]
    found: list[_Person] = []
    for number, (first, second, x, y) in enumerate(LIMBS):
        for a, b, score in _limbs(peaks[first], peaks[second], fields[:, :, [x, y]]):
            gain = score + float(peaks[second][b, 2])
            _attach(found, (first, a), (second, b), gain, peaks, begin=number < SKELETON)
    kept = [p for p in found if _worth(p)]
    kept.sort(key=lambda person: -person.score)
    out = np.zeros((len(kept), JOINTS, 3), np.float32)
    for row, person in zip(out, kept, strict=True):
        for joint, peak in person.joints.items():
            px, py, sure = peaks[joint][peak]
            row[joint] = px + 0.5, py + 0.5, min(max(sure, 0.0), 1.0)
    return out


def _worth(person: _Person) -> bool:
    count = len(person.joints)
    return count >= _FEWEST_JOINTS and person.score / count >= _LEAST_MEAN


def _peaks(heat: NDArray[np.float32]) -> NDArray[np.float64]:
    """Where a smoothed map is no lower than its four neighbours: K×3 of x, y, unsmoothed heat.

    Of touching pixels that are equally high only the first counts.
    """
    import cv2

    smooth = np.asarray(cv2.GaussianBlur(heat, (0, 0), _BLUR))
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
    top = (smooth >= cv2.dilate(smooth, cross)) & (smooth > _LEAST_HEAT)
    _, parts = cv2.connectedComponents(top.astype(np.uint8), connectivity=8)
    rows, columns = np.nonzero(top)
    _, firsts = np.unique(np.asarray(parts)[rows, columns], return_index=True)
    rows, columns = rows[firsts], columns[firsts]
    return np.stack([columns, rows, heat[rows, columns]], axis=1).astype(np.float64)


def _limbs(
    starts: NDArray[np.float64], ends: NDArray[np.float64], flow: NDArray[np.float32]
) -> list[tuple[int, int, float]]:
    """Pairs of joints that the field runs between, each joint in one pair, the surest first."""
    if not len(starts) or not len(ends):
        return []
    way = ends[None, :, :2] - starts[:, None, :2]
    length = np.maximum(np.linalg.norm(way, axis=2), 1e-3)
    along = np.linspace(0, 1, _STEPS)[:, None]
    points = np.rint(starts[:, None, None, :2] + way[:, :, None, :] * along).astype(int)
    seen = flow[points[..., 1], points[..., 0]]
    agree = (seen * (way / length[..., None])[:, :, None, :]).sum(axis=3)
    score = agree.mean(axis=2) + np.minimum(0.5 * flow.shape[0] / length - 1, 0)
    good = ((agree > _LEAST_FIELD).sum(axis=2) > _AGREEING * _STEPS) & (score > 0)
    pairs: list[tuple[int, int, float]] = []
    for flat in np.argsort(-score, axis=None, kind="stable"):
        a, b = (int(i) for i in np.unravel_index(flat, score.shape))
        if good[a, b] and all(a != pair[0] and b != pair[1] for pair in pairs):
            pairs.append((a, b, float(score[a, b])))
    return pairs


def _attach(
    found: list[_Person],
    start: tuple[int, int],
    end: tuple[int, int],
    gain: float,
    peaks: list[NDArray[np.float64]],
    begin: bool,
) -> None:
    """Give a limb to the person who has one of its joints, join two people, or begin a new one."""
    (first, a), (second, b) = start, end
    owners = [p for p in found if p.joints.get(first) == a or p.joints.get(second) == b][:2]
    if not owners:
        if begin:
            found.append(_Person({first: a, second: b}, gain + float(peaks[first][a, 2])))
        return
    person = owners[0]
    if len(owners) == 2:
        other = owners[1]
        if not set(person.joints) & set(other.joints):
            person.joints |= other.joints
            person.score += other.score + gain - float(peaks[second][b, 2])
            found.remove(other)
            return
    if person.joints.get(second) != b:
        person.joints[second] = b
        person.score += gain
