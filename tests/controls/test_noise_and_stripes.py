"""Protects the zero of adherence to lines: what shows a texture has not obeyed, what shows the
source in bad quality has.

On photographs the best is 1 and chance the mean of the other photographs, or white noise if it is
more; on scenes of the embedded world the best is what its autoencoder leaves of the source.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from workbench.controls import ControlMap, get_control
from workbench.controls.base import Networks, white_on_black
from workbench.families.judge import load_judge
from workbench.images import fit_image
from workbench.metrics.edges import default_tolerance, edge_f1
from workbench.metrics.thinning import thin
from workbench.paperdoll import render, sample_scene
from workbench.paths import data_dir

pytestmark = pytest.mark.models
LINES = ("canny", "hed", "lineart", "scribble")
ABOUT_NOTHING = 0.16
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
Pictures = list[np.ndarray]


@lru_cache
def photographs(size: int = 512) -> Pictures:
    """The photographs that come along, uint8 size×size×3."""
    folder = data_dir() / "sources"
    found = (Image.open(folder / f"{name}.png").convert("RGB") for name in PHOTOGRAPHS)
    return [fit_image(np.asarray(picture), size) for picture in found]


@lru_cache
def networks() -> Networks:
    return load_judge(data_dir() / "models" / "paperdoll" / "judge").networks()


def jpeg(picture: np.ndarray, quality: int = 30) -> np.ndarray:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data).convert("RGB"))


def grain(size: int, sigma: float) -> np.ndarray:
    """A picture of white noise, blurred by sigma pixels and brought back to full contrast."""
    noise = np.random.default_rng(5).random((size, size, 3), np.float32)
    noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma)) if sigma else noise
    spread = (noise - noise.mean((0, 1))) / noise.std((0, 1))
    return np.clip(128 + 64 * spread, 0, 255).astype(np.uint8)


def bars(size: int, period: int, across: bool = False) -> np.ndarray:
    """Black and white stripes."""
    row = np.uint8(255) * (np.arange(size) * 2 // period % 2).astype(np.uint8)
    grey = np.broadcast_to(row[:, None] if across else row, (size, size))
    return np.repeat(grey[:, :, None], 3, axis=2)


def as_dense(name: str, wanted: ControlMap, seed: int = 9) -> ControlMap:
    """White noise with as many pixels as the wanted lines have."""
    level = min(0.25, float(wanted.data.max()) / 2)
    lines = wanted.data if name == "canny" else thin(wanted.data > level)
    return white_on_black(np.random.default_rng(seed).permuted(lines).astype(wanted.data.dtype))


def value(name: str, got: Sequence[ControlMap], wanted: Sequence[ControlMap]) -> np.ndarray:
    control = get_control(name)
    settings: Any = control.settings()
    pairs = zip(got, wanted, strict=True)
    return np.array([control.agreement(g, w, settings).value for g, w in pairs])


class Scale:
    """Adherence to some pictures' maps, each with its own chance and best."""

    def __init__(self, name: str, pictures: Pictures, worse: Callable[[Pictures], Pictures] | None):
        self.name, self.control = name, get_control(name)
        self.wanted = self.maps(pictures)
        shifts = range(1, len(pictures))
        others = [value(name, self.wanted[i:] + self.wanted[:i], self.wanted) for i in shifts]
        settings: Any = self.control.settings()
        noise = [self.control.noise(wanted, settings) for wanted in self.wanted]
        floor = [reading.value for reading in noise if reading is not None]
        self.chance = np.maximum(np.mean(others, axis=0), floor)
        self.best = self.value(worse(pictures)) if worse else np.ones(len(pictures))

    def maps(self, pictures: Pictures) -> list[ControlMap]:
        return self.control.extract(pictures, self.control.settings(), networks())

    def value(self, pictures: Pictures) -> np.ndarray:
        return value(self.name, self.maps(pictures), self.wanted)

    def adherence(self, values: np.ndarray) -> float:
        return float(np.mean((values - self.chance) / (self.best - self.chance)))

    def textures(self) -> dict[str, float]:
        """The adherence of noise as dense as the lines, of pictures of noise, and of stripes."""
        size, count = self.wanted[0].data.shape[0], len(self.wanted)
        dense = [as_dense(self.name, wanted) for wanted in self.wanted]
        found = {"noise as dense": self.adherence(value(self.name, dense, self.wanted))}
        drawn = {f"noise of {sigma}": grain(size, sigma) for sigma in (0, 2)}
        drawn |= {f"stripes of {p}": bars(size, p, p == 32) for p in (8, 16, 32)}
        for kind, (texture,) in ((kind, self.maps([picture])) for kind, picture in drawn.items()):
            found[kind] = self.adherence(value(self.name, [texture] * count, self.wanted))
        return found


@pytest.mark.slow
@pytest.mark.parametrize("name", LINES)
def test_on_photographs(name: str) -> None:
    scale = Scale(name, photographs(), None)
    found = scale.textures()
    assert max(found.values()) < ABOUT_NOTHING, found
    obeyed = scale.adherence(scale.value([jpeg(picture) for picture in photographs()]))
    # Line art draws the blocks of a JPEG too: faint lines, which are brought to middle grey.
    assert obeyed > (0.7 if name == "lineart" else 0.8)


@pytest.mark.parametrize("name", LINES)
def test_on_scenes(name: str) -> None:
    from workbench.training.export import load_vae
    from workbench.training.vae import reconstruct

    vae = load_vae(data_dir() / "models" / "paperdoll").eval()
    scenes = [render(sample_scene(seed)).rgb for seed in range(940_000, 940_006)]
    scale = Scale(name, scenes, lambda pictures: list(reconstruct(vae, np.stack(pictures))))
    found = scale.textures()
    assert max(found.values()) < ABOUT_NOTHING, found
    assert scale.adherence(scale.value([jpeg(picture) for picture in scenes])) > 0.8


def test_without_pairing_noise_would_be_far_above_chance() -> None:
    """What the pairing is for: the same scale by the metric of earlier versions."""
    maps = get_control("canny").extract(photographs(256), get_control("canny").settings(), {})
    pixels = default_tolerance(512, 512) / 2
    chance = np.mean([edge_f1(maps[i - 1].data, maps[i].data, pixels) for i in range(len(maps))])
    noise = np.mean([edge_f1(as_dense("canny", m).data, m.data, pixels) for m in maps])
    assert (noise - chance) / (1 - chance) > 0.2
    paired = [edge_f1(as_dense("canny", m).data, m.data, pixels, one_to_one=True) for m in maps]
    assert np.mean(paired) < noise - 0.1
