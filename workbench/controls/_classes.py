"""Lists of segmentation classes: their names, their colours, and class maps from colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.images import Picture

_BAND = 1 << 18
"""How many pixels are looked up at a time: this bounds the memory."""


@dataclass(frozen=True, eq=False)
class ClassList:
    """What the class numbers of a map mean.

    names: one for each class, from 0.
    palette: uint8 N×3, their colours. Where two classes share a colour, a picture cannot tell
        them apart: both are read as the first.
    """

    names: tuple[str, ...]
    palette: NDArray[np.uint8]

    def paint(self, labels: NDArray[np.uint8]) -> Picture:
        """The picture of a map of class numbers H×W."""
        return np.asarray(self.palette[labels], np.uint8)

    def folded(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A map in which classes of one colour have become the first of them."""
        return self.nearest(self.palette[None])[0][labels]

    def nearest(self, picture: Picture) -> NDArray[np.uint8]:
        """The class whose colour is nearest (Euclidean in RGB; the first of equals), H×W."""
        pixels = picture.reshape(-1, 3)
        found = np.empty(len(pixels), np.uint8)
        for start in range(0, len(pixels), _BAND):
            band = pixels[start : start + _BAND].astype(np.int32)
            # A map has few colours: each is looked up once.
            packed, places = np.unique(band @ (65536, 256, 1), return_inverse=True)
            colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1)
            found[start : start + _BAND] = self._nearest(colours)[places]
        return found.reshape(picture.shape[:2])

    def _nearest(self, colours: NDArray[np.int64]) -> NDArray[np.uint8]:
        best = np.full(len(colours), np.iinfo(np.int64).max)
        found = np.zeros(len(colours), np.uint8)
        for number, colour in enumerate(self.palette.astype(np.int64)):
            distance = np.square(colours - colour).sum(axis=1)
            nearer = distance < best
            found[nearer], best[nearer] = number, distance[nearer]
        return found


def paperdoll() -> ClassList:
    """The 16 classes of the embedded world."""
    from workbench.paperdoll.labels import PALETTE, Label

    return ClassList(tuple(label.name.lower() for label in Label), PALETTE)


def ade20k() -> ClassList:
    """The 150 classes of ADE20K; road and skyscraper share a colour."""
    from workbench.controls._ade20k import NAMES, PALETTE

    return ClassList(NAMES, PALETTE)
