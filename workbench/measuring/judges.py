"""What measuring asks of a model family. `workbench.families.ModelManager` is the usual one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np

from workbench.families import WORDS, Family
from workbench.families.words import WordJudge

Network = Callable[[np.ndarray], np.ndarray]


class Clip(Protocol):
    """A CLIP that embeds pictures and texts as unit vectors of the same length."""

    def embed_images(self, images: Sequence[np.ndarray], /) -> np.ndarray:
        """uint8 H×W×3 pictures -> (N, D)."""
        ...

    def embed_texts(self, texts: Sequence[str], /) -> np.ndarray:
        """Texts -> (N, D)."""
        ...


class Judges(Protocol):
    """The networks of a family that read pictures."""

    @property
    def family(self) -> Family:
        """The family they belong to."""
        ...

    def clip(self) -> Clip:
        """The CLIP of the family."""
        ...

    def networks(self) -> Mapping[str, Network]:
        """The networks that controls need."""
        ...

    def vae_roundtrip(self, images: Sequence[np.ndarray], /) -> list[np.ndarray]:
        """Pictures (uint8 H×W×3) encoded and decoded once by the VAE; all of one size."""
        ...

    def weight_hashes(self) -> dict[str, str]:
        """Name of a part -> hash of its weights."""
        ...


def word_judge(judges: Judges) -> WordJudge | None:
    """The family's judge of words; None where CLIP has to tell."""
    return cast("WordJudge | None", judges.networks().get(WORDS))


def clip_score(image_embeds: np.ndarray, text_embeds: np.ndarray) -> np.ndarray:
    """100 × cosine of every picture (N, D) with every text (T, D): float (N, T).

    Not cut off at 0, as CLIPScore is: a picture that contradicts a prompt would be lost there.
    """
    from workbench.metrics.clip import clip_similarity

    n, t = len(image_embeds), len(text_embeds)
    images, texts = np.repeat(image_embeds, t, axis=0), np.tile(text_embeds, (n, 1))
    pairs = clip_similarity(images, texts, clamp=False)
    return np.asarray(pairs.numpy(), dtype=float).reshape(n, t)


def logit_scale(clip: Any) -> float:
    """The factor on cosines that a CLIP was trained with: `clip.logit_scale`, or its model's."""
    own = getattr(clip, "logit_scale", None)
    return float(clip.model.logit_scale.exp()) if own is None else float(own)


def judge_hashes(judges: Judges, needs: Sequence[str]) -> dict[str, str]:
    """Hashes of the weights that decide readings: VAE, CLIP, judge of words, needed networks.

    Loads them if they are not yet loaded. ControlNets are left out: they make samples, not
    readings.
    """
    judges.vae_roundtrip([])
    judges.clip()
    networks = judges.networks()
    for name in (*needs, WORDS):
        networks.get(name)
    family = judges.family
    controlnets = {ref.title for ref in family.controlnets.values()}
    return {
        name: value
        for name, value in sorted(judges.weight_hashes().items())
        if not any(name == title or name.startswith(f"{title}/") for title in controlnets)
    }
