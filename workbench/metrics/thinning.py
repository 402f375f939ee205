"""Thinning of strokes to lines of one pixel, so that thick and thin strokes can be compared.

The parallel algorithm of Zhang and Suen (1984, "A fast parallel algorithm for thinning digital
patterns", Communications of the ACM 27): rims are peeled off from two sides in turn, as long as
that neither breaks a stroke nor shortens a line.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# The eight neighbours clockwise from the one above (P2 … P9 in the paper), a bit each.
_AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def _table(side: int) -> NDArray[np.bool_]:
    """For each of the 256 neighbourhoods whether its middle pixel may go in this pass, 0 or 1."""
    may_go = np.zeros(256, np.bool_)
    for code in range(256):
        n = [code >> k & 1 for k in range(8)]  # above, …, right (2), …, below (4), …, left (6)
        steps = sum(a == 0 and b == 1 for a, b in zip(n, n[1:] + n[:1], strict=True))
        if side == 0:
            rim = not (n[0] and n[2] and n[4]) and not (n[2] and n[4] and n[6])
        else:
            rim = not (n[0] and n[2] and n[6]) and not (n[0] and n[4] and n[6])
        may_go[code] = 2 <= sum(n) <= 6 and steps == 1 and rim
    return may_go


_TABLES = (_table(0), _table(1))


def thin(strokes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The middle lines of strokes, one pixel wide, bool H×W.

    Raises ValueError if the map is not bool H×W.
    """
    _check(strokes)
    left = np.pad(strokes, 1)
    width = left.shape[1]
    flat, places = left.ravel(), np.flatnonzero(left).astype(np.int32)
    steps = [down * width + across for down, across in _AROUND]
    codes = np.zeros(flat.size, np.uint8)
    for bit, step in enumerate(steps):
        codes[width + 1 : -width - 1] |= (
            flat[width + 1 + step : flat.size - width - 1 + step].view(np.uint8) << bit
        )
    while True:
        before = len(places)
        for table in _TABLES:
            goes = table[codes[places]]
            gone, places = places[goes], places[~goes]
            for bit, step in enumerate(steps):
                codes[gone - step] &= np.uint8(255 - (1 << bit))
        if len(places) == before:
            flat[:] = False
            flat[places] = True
            return left[1:-1, 1:-1].copy()


def thin_again(strokes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`thin` for a map that many others are held against: it is remembered for a while, by its
    pixels. The middle lines cannot be written to.

    Raises ValueError if the map is not bool H×W.
    """
    _check(strokes)
    return _remembered(np.packbits(strokes).tobytes(), strokes.shape)


@lru_cache(maxsize=16)
def _remembered(bits: bytes, shape: tuple[int, int]) -> NDArray[np.bool_]:
    flat = np.unpackbits(np.frombuffer(bits, np.uint8), count=shape[0] * shape[1])
    lines = thin(flat.view(np.bool_).reshape(shape))
    lines.flags.writeable = False
    return lines


def _check(strokes: NDArray[np.bool_]) -> None:
    if strokes.dtype != np.bool_ or strokes.ndim != 2:
        raise ValueError(f"strokes must be bool H×W, not {strokes.dtype} {strokes.shape}")
