"""Judges of words: is a word to be seen in a picture?

Every family's judge of words has this one face, whatever answers behind it: a classifier trained
for a world, CLIP with alternatives, a network that answers questions about pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from workbench.families.clip_judge import ClipJudge


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


def refuse_unknown(judge: WordJudge, words: Sequence[str]) -> None:
    """ValueError, which names the first word that a judge does not know."""
    for word in words:
        if not judge.knows(word):
            raise ValueError(f'the judge of words ({judge.name}) cannot be asked about "{word}"')


@dataclass(frozen=True)
class ClipWords:
    """CLIP as a judge of words: each word alone against the words that may be seen in its place.

    The probability is the softmax over word and alternatives at CLIP's own temperature, the verdict
    whether the word scores highest; a tie counts for the word. The texts are the bare words:
    "a photo of" would be wrong for drawings, and for words that are no things ("winter"). A word
    without alternatives is not known.
    """

    clip: ClipJudge
    alternatives: Mapping[str, Sequence[str]]
    name: str = "CLIP, each word alone against its alternatives"
    validated: str = ""

    def knows(self, word: str) -> bool:
        """Whether the word has alternatives."""
        return bool(self.alternatives.get(word))

    def read(self, images: Sequence[np.ndarray], words: Sequence[str]) -> WordReading:
        """As `WordJudge.read`."""
        from workbench.metrics.clip import tag_obeyed, tag_probability

        refuse_unknown(self, words)
        pictures = self.clip.embed_images(images)
        probability = np.zeros((len(images), len(words)), np.float32)
        seen = np.zeros(probability.shape, bool)
        if len(images):
            scale = float(self.clip.model.logit_scale.exp())
            for column, word in enumerate(words):
                texts = self.clip.embed_texts([word, *self.alternatives[word]])
                probability[:, column] = tag_probability(pictures, texts, 0, scale)
                seen[:, column] = tag_obeyed(pictures, texts)
        return WordReading(probability, seen)
