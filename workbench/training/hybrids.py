"""Hybrids: figures whose parts contradict each other freely, as in pictures that two signals steer.

A skirt over trousers, a bow on short hair, one strand, hair of half length, a house before a
mountain: no scene shows them, generated pictures do.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from workbench.paperdoll import SIDE, STYLES, TAG_GROUPS, draw_in, render, sample_scene
from workbench.paperdoll.figure import FULL_STRAND, Parts
from workbench.training.data import tag_indices

SHORT_STRAND, LONG_STRAND = 0.7, 1.15
"""Hair that hangs down no further, in head radii, is short; from the second on it is long."""
_PLAIN = 0.3
"""Share of ordinary scenes among the hybrids."""
_CHUNK = 100


@dataclass(frozen=True)
class Hybrids:
    """Pictures and what they show.

    Attributes:
        rgb: uint8 (N, 128, 128, 3).
        seen: float32 (N, tags), the tags of all groups one after another: 1 where the picture shows
            it, 0 where not, between where a fair observer would not decide.
    """

    rgb: np.ndarray
    seen: np.ndarray

    def __len__(self) -> int:
        return len(self.rgb)


def draw_parts(rng: np.random.Generator, plain: Parts) -> Parts:
    """The parts of a hybrid: each drawn by itself; sometimes those that a scene asks for."""
    if rng.random() < _PLAIN:
        return plain
    skirt = float(rng.choice([0.0, 1.0, rng.uniform(0.2, 0.8)], p=[0.42, 0.42, 0.16]))
    legs = bool(rng.random() < (0.75 if skirt > 0.5 else 0.25))
    bow = bool(rng.random() < 0.5)
    ends = [0.0, FULL_STRAND, rng.uniform(0.2, FULL_STRAND)]
    strand = float(rng.choice(ends, p=[0.4, 0.4, 0.2]))
    other = strand if rng.random() < 0.85 else float(rng.choice(ends))
    return Parts(skirt, legs, bow, (strand, other))


def girl_share(parts: Parts) -> float:
    """How much a figure is a girl's: two of skirt, bare legs and bow decide."""
    signs = [parts.skirt, float(parts.bare_legs), float(parts.bow)]
    return float(np.clip(sum(signs) - 1.0, 0.0, 1.0))


def long_share(parts: Parts) -> float:
    """How much hair is long: 0 up to `SHORT_STRAND`, 1 from `LONG_STRAND` on, both sides alike."""
    length = float(np.mean(parts.strands))
    return float(np.clip((length - SHORT_STRAND) / (LONG_STRAND - SHORT_STRAND), 0.0, 1.0))


def render_hybrids(seeds: range) -> Hybrids:
    """Hybrids of the scenes of some seeds, each in one of the drawing styles."""
    rgb = np.zeros((len(seeds), SIDE, SIDE, 3), np.uint8)
    seen = np.zeros((len(seeds), sum(map(len, TAG_GROUPS.values()))), np.float32)
    starts = dict(zip(TAG_GROUPS, _starts(), strict=True))
    for row, seed in enumerate(seeds):
        rng = np.random.default_rng([seed, 1])
        scene = sample_scene(seed)
        parts = draw_parts(rng, Parts.of(scene))
        made = render(scene, parts)
        style = STYLES[int(rng.integers(len(STYLES)))]
        rgb[row] = draw_in(style, made.rgb, made.depth, made.normal, made.segmentation)
        for start, index in zip(_starts(), tag_indices(scene), strict=True):
            seen[row, start + index] = 1.0
        for group, share in (("who", girl_share(parts)), ("hair_length", long_share(parts))):
            seen[row, starts[group] : starts[group] + 2] = share, 1.0 - share
    return Hybrids(rgb, seen)


def make_hybrids(seeds: range, workers: int = 2) -> Hybrids:
    """As `render_hybrids`, by several processes."""
    chunks = [seeds[i : i + _CHUNK] for i in range(0, len(seeds), _CHUNK)]
    with ProcessPoolExecutor(min(workers, os.cpu_count() or 1)) as pool:
        parts = list(pool.map(render_hybrids, chunks))
    return Hybrids(
        np.concatenate([part.rgb for part in parts]), np.concatenate([part.seen for part in parts])
    )


def _starts() -> list[int]:
    """Where each group's tags begin among all tags."""
    return [0, *np.cumsum([len(tags) for tags in TAG_GROUPS.values()])[:-1].tolist()]
