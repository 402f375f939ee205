"""Captions of Paperdoll scenes: whole, shortened and shuffled tag lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from workbench.paperdoll import TAG_GROUPS


def caption(tags: Sequence[str]) -> str:
    """Tags as one prompt."""
    return ", ".join(tags)


def random_caption(
    tags: Sequence[str], rng: np.random.Generator, *, empty: float = 0.0, whole: float = 0.5
) -> str:
    """A training caption: empty, whole, a prefix, or a random part, sometimes shuffled.

    Args:
        tags: the scene's eight tags.
        empty: share of empty captions (dropped prompts).
        whole: share of captions with all tags, of those which are not empty.
    """
    if rng.random() < empty:
        return ""
    kept = list(tags)
    draw = rng.random()
    if draw > whole:
        if rng.random() < 0.4:
            kept = kept[: rng.integers(1, len(kept) + 1)]
        else:
            share = rng.uniform(0.2, 0.9)
            kept = [tag for tag in kept if rng.random() < share] or [kept[rng.integers(len(kept))]]
    if rng.random() < 0.3:
        rng.shuffle(kept)
    return caption(kept)


def swapped(
    tags: Sequence[str], group: int, rng: np.random.Generator | None = None
) -> Iterator[str]:
    """The caption with each tag of one group in turn, in the group's order."""
    for option in list(TAG_GROUPS.values())[group]:
        changed = list(tags)
        changed[group] = option
        if rng is not None and rng.random() < 0.3:
            rng.shuffle(changed)
        yield caption(changed)


def corpus(seed: int, count: int = 20_000) -> Iterator[str]:
    """Captions to build the tokenizer's vocabulary from."""
    rng = np.random.default_rng(seed)
    groups = list(TAG_GROUPS.values())
    for _ in range(count):
        yield random_caption([g[rng.integers(len(g))] for g in groups], rng)
