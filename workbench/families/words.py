"""Judges of words: is a word to be seen in a picture?

Every family's judge of words has this one face, whatever answers behind it: a classifier trained
for a world, CLIP with alternatives, a network that answers questions about pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class WordReading:
    """What a judge says of N pictures and W words.

    probability: float32 (N, W) in [0, 1], that the word is to be seen.
    seen: bool (N, W), the judge's verdict.
    """

    probability: np.ndarray
    seen: np.ndarray

    def __post_init__(self) -> None:
        if self.probability.ndim != 2 or self.probability.shape != self.seen.shape:
            raise ValueError(
                f"probability {self.probability.shape} and seen {self.seen.shape} must be (N, W)"
            )


class WordJudge(Protocol):
    """Says whether words are to be seen in pictures."""

    @property
    def name(self) -> str:
        """What judges, for the manifest and the report."""

    @property
    def validated(self) -> str:
        """One sentence that says on what its answers were checked; "" if nobody has."""

    def knows(self, word: str) -> bool:
        """Whether it can be asked about the word."""

    def read(self, images: Sequence[np.ndarray], words: Sequence[str]) -> WordReading:
        """Ask about words (all of them known) in pictures (uint8 H×W×3, of any sizes).

        A picture's answers do not depend on the others it is read with. ValueError names a word
        that the judge does not know.
        """
