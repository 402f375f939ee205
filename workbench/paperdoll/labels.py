"""Segmentation classes of the Paperdoll world and their colours."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Label(IntEnum):
    """What a pixel shows."""

    SKY = 0
    GROUND = 1
    WALL = 2
    ROOF = 3
    OPENING = 4
    TRUNK = 5
    FOLIAGE = 6
    MOUNTAIN = 7
    FENCE = 8
    LEGS = 9
    SHOES = 10
    COAT = 11
    SKIN = 12
    HAIR = 13
    FACE = 14
    BOW = 15


PALETTE: np.ndarray = np.array(
    [
        (6, 230, 230), (4, 250, 7), (180, 120, 120), (255, 41, 10), (8, 255, 51), (51, 0, 255),
        (4, 200, 3), (143, 255, 140), (255, 184, 6), (255, 122, 8), (61, 230, 250),
        (255, 6, 51), (150, 5, 61), (224, 5, 255), (235, 255, 7), (120, 120, 70),
    ],
    np.uint8,
)  # fmt: skip
"""One RGB colour per class; sky, wall, tree, person and so on as in ADE20K's palette."""
