"""Pictures in which prompt and control conflict: how they are drawn up and made.

On rendered scenes every word has its usual outline, so a reader of words can be right there for
the wrong reason. Here the source contradicts the prompt in most of its words, over all control
types, base checkpoints and scales, and what comes out is often a hybrid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.paperdoll import SIDE, TAG_GROUPS, Scene, render, sample_scene

if TYPE_CHECKING:
    from workbench.controls import ControlMap, MapKey
    from workbench.families.manager import ModelManager
    from workbench.study import Trial

SEED = 61
"""Of the draws of the shipped set."""
SOURCES = range(960_000, 960_648)
"""Scenes of the sources of the shipped set: six for each control, base and scale."""
SCALES: tuple[float, ...] = (0.0, 0.4, 0.8, 1.2, 1.6, 2.0)
"""Conditioning scales of the pictures."""
_CONTRADICTS = 0.8
"""How often a word of the prompt is another than that of the source."""
_WHOLE = 0.4
"""How often the prompt keeps a word of every group."""


@dataclass(frozen=True)
class Conflict:
    """One picture to make: the source scene, its control, and a prompt that contradicts it."""

    source: int
    control: str
    base: str
    scale: float
    prompt: tuple[str, ...]
    seed: int

    @property
    def scene(self) -> Scene:
        """The scene of the source."""
        return sample_scene(self.source)


def draw_conflicts(
    seed: int, sources: Sequence[int], controls: Sequence[str], bases: Sequence[str]
) -> list[Conflict]:
    """A picture for each source scene; controls, bases and scales take turns.

    Args:
        seed: of the draws of words and of how many of them the prompt keeps.
        sources: scene seeds.
    """
    rng = np.random.default_rng(seed)
    found = []
    for k, source in enumerate(sources):
        words = []
        for group, own in zip(TAG_GROUPS, sample_scene(source).tags, strict=True):
            others = [tag for tag in TAG_GROUPS[group] if tag != own]
            contradicts = rng.random() < _CONTRADICTS
            words.append(others[rng.integers(len(others))] if contradicts else own)
        keep = len(words) if rng.random() < _WHOLE else int(rng.integers(1, len(words) + 1))
        if rng.random() < 0.5:
            kept = words[:keep]
        else:
            places = np.sort(rng.permutation(len(words))[:keep])
            kept = [words[i] for i in places]
        place, turn = k % len(controls), k // len(controls)
        found.append(
            Conflict(
                source, controls[place], bases[turn % len(bases)],
                SCALES[turn // len(bases) % len(SCALES)], tuple(kept), 1 + k % 97,
            )
        )  # fmt: skip
    return found


def make_conflicts(conflicts: Sequence[Conflict], manager: ModelManager) -> np.ndarray:
    """The pictures, uint8 (N, 128, 128, 3), by the family's default settings."""
    from workbench.training.audit.samples import make_images, make_sources

    rgb = np.stack([render(c.scene).rgb for c in conflicts])
    sources = make_sources(rgb)
    out = np.zeros((len(conflicts), SIDE, SIDE, 3), np.uint8)
    for base in dict.fromkeys(c.base for c in conflicts):
        drawn = manager.for_base(base)
        rows = [i for i, c in enumerate(conflicts) if c.base == base]
        lookup, keys = _maps(conflicts, rows, sources, drawn)
        trials = [_trial(drawn, conflicts[i], keys[i]) for i in rows]
        out[rows] = make_images(trials, lookup, drawn)
    return out


def _maps(
    conflicts: Sequence[Conflict], rows: Sequence[int], sources: Sequence, manager: ModelManager
) -> tuple[dict[MapKey, ControlMap], dict[int, MapKey]]:
    from workbench.controls import MapKey, get_control

    lookup: dict[MapKey, ControlMap] = {}
    keys: dict[int, MapKey] = {}
    for control in dict.fromkeys(conflicts[i].control for i in rows):
        mine = [i for i in rows if conflicts[i].control == control]
        kind = get_control(control)
        settings = kind.settings(manager.family.settings_for(control))
        maps = kind.extract([sources[i].image for i in mine], settings, manager.networks())
        for i, made in zip(mine, maps, strict=True):
            keys[i] = MapKey(sources[i].sha256, control, settings.map_canonical())
            lookup[keys[i]] = made
    return lookup, keys


def _trial(manager: ModelManager, conflict: Conflict, key: MapKey) -> Trial:
    from dataclasses import replace

    from workbench.training.audit.samples import make_trial
    from workbench.training.captions import caption

    prompt = caption(conflict.prompt)
    if not conflict.scale:  # no control can matter
        return make_trial(manager, prompt, conflict.seed)
    made = make_trial(manager, prompt, conflict.seed, conflict.control, key)
    return replace(made, scale=conflict.scale)
