"""Prompt adherence by words means the same at every prompt length, silhouette words included."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from workbench.measuring.per_tag import words_beyond_chance
from workbench.paperdoll import FOUNDING_PROMPT, GROUP_OF_TAG, TAG_GROUPS, render, sample_scene

LENGTHS = (1, 2, 4, 7)
CHANCE = {tag: 1 / len(TAG_GROUPS[group]) for tag, group in GROUP_OF_TAG.items()}


def test_all_words_are_one_and_chance_is_nothing_whatever_the_words() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 3, 8):
        chance = rng.uniform(0.05, 0.95, count)
        assert words_beyond_chance([1] * count, chance) == pytest.approx(1)
        drawn = rng.random((20_000, count)) < chance
        mean = np.mean([words_beyond_chance(row, chance) for row in drawn])
        assert mean == pytest.approx(0, abs=0.1)
        assert words_beyond_chance([0] * count, chance) < 0


def test_one_word_more_never_reads_as_less() -> None:
    chance = [0.5, 0.5, 0.25, 0.2]
    read = [words_beyond_chance([1] * k + [0] * (4 - k), chance) for k in range(5)]
    assert all(a < b for a, b in pairwise(read))


@pytest.mark.models
@pytest.mark.parametrize("length", LENGTHS)
def test_rendered_pictures_read_as_they_were_made(length: int) -> None:
    """All words right: 1. Left to chance: 0. One of n left to chance, each in turn: 1 - 1/n.

    "Left to chance" is a scene that knows nothing of the word: its group's tags come up alike
    often. All pictures go through the autoencoder, as samples do.
    """
    from workbench.families.manager import ModelManager

    manager = ModelManager("paperdoll")
    words, groups = FOUNDING_PROMPT[:length], list(TAG_GROUPS)
    alike = 24  # pictures for each tuple of left words: a multiple of every group's size

    def adherence(left: tuple[str, ...]) -> float:
        pictures = []
        for k in range(alike):
            scene = sample_scene(940_000 + k)
            tags = list(scene.tags)
            for word in words:
                group = GROUP_OF_TAG[word]
                options = TAG_GROUPS[group]
                tags[groups.index(group)] = options[k % len(options)] if word in left else word
            pictures.append(render(replace(scene, tags=tuple(tags))).rgb)
        seen = manager.words().read(manager.vae_roundtrip(pictures), words).seen
        chance = [CHANCE[word] for word in words]
        return float(np.mean([words_beyond_chance(row, chance) for row in seen]))

    assert adherence(()) == pytest.approx(1, abs=0.07)
    assert adherence(words) == pytest.approx(0, abs=0.07)
    for word in words if length < 7 else words[:2]:
        assert adherence((word,)) == pytest.approx(1 - 1 / length, abs=0.07), word


@pytest.mark.models
def test_the_judge_gives_unrelated_scenes_each_word_as_often_as_it_occurs() -> None:
    """The chance of a word is stated, not measured: here the judge is held to it."""
    from workbench.families.manager import ModelManager

    pictures = [render(sample_scene(945_000 + k)).rgb for k in range(240)]
    words = [tag for tags in TAG_GROUPS.values() for tag in tags]
    seen = ModelManager("paperdoll").words().read(pictures, words).seen
    shown = np.array(
        [[word in sample_scene(945_000 + k).tags for word in words] for k in range(240)]
    )
    assert np.abs(seen.mean(0) - shown.mean(0)).max() < 0.02
