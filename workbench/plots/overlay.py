"""A control map laid over the wanted one: where do they agree, where do they part?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.images import fit_image_to

WANTED_ONLY, GOT_ONLY = "red", "cyan"
FAINT = 0.35


def map_overlay(wanted: np.ndarray, got: np.ndarray) -> NDArray[np.uint8]:
    """Two pictures of control maps in one, uint8 H×W×3 of the size of `wanted`.

    Grey maps (edges, strokes, lines, depth) and sparse ones on black (limbs, by their brightest
    channel): the wanted map in the red channel, the other in green and blue. What both have is grey
    to white; red is in the wanted map alone, cyan in the other alone. Maps full of colours
    (normals, classes) say something everywhere, so that none of it is in one map alone: the wanted
    map is shown faint and grey, and red where the other differs, the more the stronger (by the
    channel that differs most).

    Args:
        wanted, got: uint8 H×W×3, as `ControlMap.picture`; `got` is brought to the size of `wanted`.
    """
    for picture in (wanted, got):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"a map must be uint8 H×W×3, not {picture.dtype} {picture.shape}")
    if got.shape != wanted.shape:
        got = fit_image_to(got, (wanted.shape[0], wanted.shape[1]))
    maps = (wanted, got)
    if all(map(_is_grey, maps)) or all(map(_is_sparse, maps)):
        mine, other = (picture.max(axis=2) for picture in maps)
        return np.dstack([mine, other, other])
    apart = np.abs(wanted.astype(float) - got).max(axis=2, keepdims=True) / 255
    faint = FAINT * wanted.mean(axis=2, keepdims=True)
    red = np.array([255.0, 0.0, 0.0])
    return np.asarray(np.rint(faint * (1 - apart) + red * apart), np.uint8)


def _is_sparse(picture: np.ndarray) -> bool:
    return bool((picture.max(axis=2) == 0).mean() > 0.5)


def _is_grey(picture: np.ndarray) -> bool:
    return bool((picture == picture[..., :1]).all())
