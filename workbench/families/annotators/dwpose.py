"""DWPose (Yang et al. 2023): a detector finds people, a second network the joints of each.

Code and weights are Apache-2.0, those of the detector (YOLOX) too. Numbers and thresholds are those
of DWPose's own code. It hands both networks the same picture, RGB in its demo and BGR in its
example; here each gets what it was trained on: YOLOX BGR from 0 to 255, the network for the joints
RGB with ImageNet's mean and spread taken off.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from workbench.families.annotators._onnx import OnnxNetwork
from workbench.families.annotators._people import JOINTS
from workbench.families.annotators.openpose import together
from workbench.families.annotators.pictures import IMAGENET_MEAN, IMAGENET_STD
from workbench.families.annotators.weights import Weights
from workbench.families.loaders import Network

SIDE = 640
"""The detector reads squares of this side."""
STRIDES = (8, 16, 32)
"""The sides in pixels of the cells of its three grids; each cell may hold one box."""
CLASSES = 80
CROP = (288, 384)
"""Width and height of the picture of one person that the second network reads."""
FINENESS = 2
"""Its answers tell places apart that are half a pixel apart."""
WHOLE_BODY = 133
BODY = 17
"""The first of the joints of the whole body are COCO's; feet, face and hands follow."""

_GREY = 114
_LEAST_SCORE = 0.3
_MOST_OVERLAP = 0.45
_PADDING = 1.25
_LEAST_CONFIDENCE = 0.3
_SHOULDERS = [5, 6]
# COCO's joints in OpenPose's order; the neck stands behind the others.
_FROM_COCO = [0, 17, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]

_CELLS = sum((SIDE // stride) ** 2 for stride in STRIDES)


def load(weights: Weights, device: str) -> Mapping[str, Network]:
    """The network "pose": float32 N×P×18×3, x and y in pixels and a confidence in [0, 1].

    Pictures are read at their own size: people are cut out of it, so that `side` plays no part.
    A picture in which nobody is detected has nobody. DWPose then takes the whole picture for a
    person, which would give landscapes a pose that nothing could hold a control map against.
    """
    detector = OnnxNetwork(
        weights, 0, device, takes=(1, 3, SIDE, SIDE), gives=[(1, _CELLS, 5 + CLASSES)]
    )
    width, height = CROP
    bins = [(1, WHOLE_BODY, FINENESS * side) for side in CROP]
    reader = OnnxNetwork(weights, 1, device, takes=(1, 3, height, width), gives=bins)

    def people(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        fed, ratio = letterboxed(picture)
        found = [np.zeros((0, JOINTS, 3), np.float32)]
        for box in boxes(detector(fed)[0][0], ratio):
            crop, corner, scale = cut_out(picture, box)
            across, down = reader(crop)
            joints = openpose_joints(peaks(across[0], down[0]), corner, scale)
            found += [joints[None]] if joints.any() else []
        return np.concatenate(found)

    def pose(rgb: np.ndarray) -> np.ndarray:
        return together([people(np.ascontiguousarray(picture)) for picture in rgb])

    return {"pose": pose}


def letterboxed(picture: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """What the detector reads, BGR 1×3×640×640, and how many of its pixels make one of ours.

    The picture lies in the upper left corner, the rest is grey.
    """
    height, width = picture.shape[:2]
    ratio = min(SIDE / height, SIDE / width)
    size = max(int(width * ratio), 1), max(int(height * ratio), 1)
    fed = np.full((SIDE, SIDE, 3), _GREY, np.uint8)
    fed[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(fed[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32), ratio


def boxes(answer: NDArray[np.float32], ratio: float) -> NDArray[np.float64]:
    """The boxes around people, K×4: left, top, right, bottom in pixels, the surest first.

    answer: 8400×85, one row for each cell: the way from its corner to the box's middle in cells,
        the logarithms of width and height in cells, how sure the box is, how sure each class is.
        The first class is that of people.
    """
    scores = answer[:, 4] * answer[:, 5]
    rows = np.flatnonzero(scores > _LEAST_SCORE)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    corners, strides = _cells()
    raw, stride = answer[rows].astype(np.float64), strides[rows, None]
    middle = (raw[:, :2] + corners[rows]) * stride
    with np.errstate(over="ignore"):
        half = np.exp(raw[:, 2:4]) * stride / 2
    found = np.concatenate([middle - half, middle + half], axis=1) / ratio
    sound = np.isfinite(found).all(axis=1) & (half > 0).all(axis=1)
    return _without_doubles(found[sound])


def _cells() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Corner (x, y in cells) and side in pixels of every cell, row by row, grid after grid."""
    corners, strides = [], []
    for stride in STRIDES:
        count = SIDE // stride
        rows, columns = np.divmod(np.arange(count**2), count)
        corners.append(np.stack([columns, rows], axis=1))
        strides.append(np.full(count**2, stride))
    return np.concatenate(corners), np.concatenate(strides)


def _without_doubles(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes, the surest first, without those that mostly cover a surer one.

    The last pixel counts to a box, as in DWPose's code.
    """
    kept: list[int] = []
    areas = (found[:, 2:] - found[:, :2] + 1).prod(axis=1)
    for number, box in enumerate(found):
        near = np.maximum(box[:2], found[kept, :2])
        far = np.minimum(box[2:], found[kept, 2:])
        shared = np.maximum(far - near + 1, 0).prod(axis=1)
        if (shared <= _MOST_OVERLAP * (areas[number] + areas[kept] - shared)).all():
            kept.append(number)
    return found[kept]


def cut_out(
    picture: NDArray[np.uint8], box: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64], float]:
    """What the second network reads, RGB 1×3×384×288, and how to go back to the picture.

    A quarter is added to the box, and more to one of its sides until it has the proportions wanted;
    outside the picture it is black. The pixel (x, y) of the crop, counted from 0, is the pixel
    corner + scale * (x, y) of the picture.
    """
    size = np.array(CROP, np.float64)
    scale = float(((box[2:] - box[:2]) * _PADDING / size).max())
    corner = (box[:2] + box[2:] - size * scale) / 2
    way = np.array([[1 / scale, 0, -corner[0] / scale], [0, 1 / scale, -corner[1] / scale]])
    crop = cv2.warpAffine(picture, way, CROP, flags=cv2.INTER_LINEAR)
    scaled = (crop / 255 - IMAGENET_MEAN) / IMAGENET_STD
    fed = np.ascontiguousarray(scaled[None].transpose(0, 3, 1, 2), np.float32)
    return fed, corner, scale


def peaks(across: NDArray[np.float32], down: NDArray[np.float32]) -> NDArray[np.float64]:
    """The body's joints, 17×3: x, y in the crop, its first pixel's middle at 0, and confidence.

    across, down: how likely each joint is in each column and in each row of half a pixel. A joint
    is as sure as the less sure of both.
    """
    both = across[:BODY], down[:BODY]
    places = [side.argmax(axis=1) / FINENESS for side in both]
    sure = np.minimum(*(side.max(axis=1) for side in both))
    return np.stack([*places, sure], axis=1).astype(np.float64)


def openpose_joints(
    coco: NDArray[np.float64], corner: NDArray[np.float64], scale: float
) -> NDArray[np.float32]:
    """COCO's 17 joints in a crop as OpenPose's 18 in the picture, (0.5, 0.5) its first pixel.

    The neck is the middle of the shoulders and as sure as the less sure of them, so that it is
    there where both are. Joints that are not sure enough are zeros.
    """
    shoulders = coco[_SHOULDERS]
    neck = [*shoulders[:, :2].mean(axis=0), shoulders[:, 2].min()]
    joints = np.concatenate([coco, [neck]])[_FROM_COCO]
    joints[:, :2] = corner + scale * joints[:, :2] + 0.5
    sure = joints[:, 2].astype(np.float32) > np.float32(_LEAST_CONFIDENCE)
    joints[:, 2] = joints[:, 2].clip(0, 1)
    return np.where(sure[:, None], joints, 0).astype(np.float32)
