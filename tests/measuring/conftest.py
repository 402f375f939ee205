"""Judges that are quick and plain, but real: their figures can be worked out by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from workbench.families import Family, get_family
from workbench.study import Plan, Study, make_plan

PROMPT = "a girl, long hair, winter"


class PixelClip:
    """Embeds a picture by its mean colour in 2×2 blocks, a text by a hash."""

    logit_scale = 20.0

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        out = np.zeros((len(images), 12))
        for row, image in zip(out, images, strict=True):
            h, w = image.shape[0] // 2, image.shape[1] // 2
            blocks = [
                image[i * h : (i + 1) * h, j * w : (j + 1) * w] for i in (0, 1) for j in (0, 1)
            ]
            row[:] = np.concatenate([block.mean((0, 1)) for block in blocks]) + 1.0
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        out = []
        for text in texts:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
            out.append(np.abs(np.random.default_rng(seed).normal(size=12)))
        vectors = np.stack(out)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class PixelJudges:
    """A VAE that rounds to 16 levels, brightness as depth, and the colour CLIP."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.calls: list[str] = []
        self._clip = PixelClip()

    def clip(self) -> PixelClip:
        return self._clip

    def networks(self) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        def depth(batch: np.ndarray) -> np.ndarray:
            self.calls.append(f"depth:{len(batch)}")
            return np.asarray(batch.mean(-1) / 255.0, np.float32)

        return {"depth": depth}

    def vae_roundtrip(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        if images:
            self.calls.append(f"vae:{len(images)}")
        return [np.asarray(image // 16 * 16, np.uint8) for image in images]

    def weight_hashes(self) -> dict[str, str]:
        return {"base": "0", "clip": "1"}


@pytest.fixture
def make_study() -> Callable[..., Study]:
    """A small study; keyword arguments replace fields."""

    def make(**changes: Any) -> Study:
        fields: dict[str, Any] = {
            "name": "small",
            "sources": ["paperdoll:900001", "paperdoll:900002"],
            "controls": ["canny", "depth"],
            "prompt": PROMPT,
            "lengths": [0, 3],
            "scales": [0, 1],
            "seeds": [1, 2],
        }
        return Study(**(fields | changes))

    return make


@pytest.fixture
def plan(make_study: Callable[..., Study]) -> Plan:
    """The plan of the small study at 128 pixels."""
    return make_plan(make_study(), resolution=128)


@pytest.fixture
def world() -> PixelJudges:
    """Judges of a family that renders its own references."""
    return PixelJudges(get_family("paperdoll"))


@pytest.fixture
def no_world() -> PixelJudges:
    """Judges of a family that has nothing but the study's own pictures."""
    return PixelJudges(get_family("paperdoll").model_copy(update={"world": ""}))


@pytest.fixture
def noise() -> Callable[[int], np.ndarray]:
    """A picture of coarse random blocks, uint8 128×128×3, by its seed."""

    def make(seed: int) -> np.ndarray:
        blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return np.kron(blocks, np.ones((16, 16, 1), np.uint8))

    return make
