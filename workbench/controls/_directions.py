"""Maps of surface normals: unit vectors, their picture, and normals from depth.

Vectors are float32 H×W×3: x right, y up, z towards the viewer. A vector of zeros is undefined.

Their picture follows ControlNet 1.1 (NormalBae, Bae et al. 2021, trained on ScanNet): blue is
front, green is up, red is left. So red holds −x. A component from −1 to 1 becomes 0 to 255, and
a surface that faces the viewer is (128, 128, 255). ControlNet 1.0's annotator, which takes normals
from MiDaS depth, has the same axes. Rendering programs usually paint red to the right instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.images import resize_map

_TO_PICTURE = np.array([-1, 1, 1], np.float32)

LEAST_LENGTH = 0.25
"""A vector shorter than this has no direction."""

MOST_LENGTH = 1.5
"""A colour that stands for a vector longer than this, as black and white do, is no normal."""

FULL_DEPTH = 175.0
"""What the whole range of depth is stretched to. With `a` = 2π it gives normals nearest the truth
of the embedded world's depth (9°; 11 to 12° for 125 and for 250)."""

REFERENCE_SIDE = 384
"""The shorter side in pixels at which ControlNet takes normals from depth."""

_PERCENTILES = (1.0, 99.0)
_FLAT = 1e-6


def unit(vectors: np.ndarray) -> NDArray[np.float32]:
    """Vectors H×W×3 brought to length 1; those without a direction become zeros."""
    values = vectors.astype(np.float32)
    length = _length(values)
    return np.where(length >= LEAST_LENGTH, values / np.maximum(length, LEAST_LENGTH), 0).astype(
        np.float32
    )


def _length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lengths of vectors H×W×3, as H×W×1; ten times as fast as a norm along so short an axis."""
    x, y, z = (vectors[..., i] for i in range(3))
    return np.asarray(np.sqrt(x * x + y * y + z * z))[..., None]


def resize_normals(normals: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Normals at another size: components are resampled and brought back to length 1."""
    if normals.shape[:2] == shape:
        return normals
    return unit(resize_map(normals, shape))


def to_picture(normals: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The picture of normals; undefined ones are grey."""
    scaled = np.rint((normals * _TO_PICTURE + 1) * 127.5)
    return np.asarray(scaled.clip(0, 255), np.uint8)


def from_colours(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Normals from their picture; grey, black and white pixels are undefined."""
    vectors = (picture.astype(np.float32) / 127.5 - 1) * _TO_PICTURE
    length = _length(vectors)
    return unit(np.where(length <= MOST_LENGTH, vectors, 0))


def from_depth(depth: np.ndarray, a: float, bg_threshold: float) -> NDArray[np.float32]:
    """Normals from inverse depth in any unit, H×W, as ControlNet 1.0 makes them.

    x and y are Sobel gradients of the inverse depth, z is `a`; where the depth, stretched to
    [0, 1], lies below `bg_threshold` the surface is said to face the viewer. Source: the MiDaS
    annotator of lllyasviel/ControlNet. It uses the raw depth of one network at one size; here
    the range between the 1st and the 99th percentile is stretched to `FULL_DEPTH` and gradients
    are those of a picture whose shorter side has `REFERENCE_SIDE` pixels, so that `a` means the
    same for every network and size. Without any depth all normals face the viewer.
    """
    import cv2

    values = depth.astype(np.float64)
    low, high = np.percentile(values, _PERCENTILES)
    least = _FLAT * max(1.0, float(np.abs(values).max()))
    if high - low <= least:
        low, high = float(values.min()), float(values.max())
    stretched = np.zeros(values.shape)
    if high - low > least:
        stretched = (values - low) / (high - low)
    scale = FULL_DEPTH * min(values.shape) / REFERENCE_SIDE
    right = cv2.Sobel(stretched, cv2.CV_64F, 1, 0, ksize=3, scale=scale)
    down = cv2.Sobel(stretched, cv2.CV_64F, 0, 1, ksize=3, scale=scale)
    # What comes nearer to the right faces left; what comes nearer downwards, like a floor, up.
    found = np.stack([-right, down, np.full(values.shape, a)], axis=2)
    found[stretched < bg_threshold, :2] = 0
    found /= np.linalg.norm(found, axis=2, keepdims=True)
    return found.astype(np.float32)
