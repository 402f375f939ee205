"""The four settings of the prompt in which ControlNets are compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

PRESETS = {
    "empty": "No word at all: the control steers alone",
    "insufficient": "The first word alone: it does not describe the picture",
    "conflicting": "Each word that the model knows becomes another of its group, which the source "
    "does not show",
    "full": "All words",
}
"""Name of a preset -> what it does."""


def preset(
    name: str,
    prompt: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    shows: Collection[str] = (),
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of a prompt under a preset, and those of them that are kept.

    Args:
        groups: words that exclude each other. shows: the words of the source, as far as known.

    Raises:
        ValueError: no such preset, or "conflicting" without any word that the groups know.
    """
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; there are: {', '.join(PRESETS)}")
    words = tuple(prompt)
    if name == "conflicting":
        words = tuple(dict.fromkeys(_opposite(word, groups, shows) for word in words))
        if not set(words) & {word for group in groups.values() for word in group}:
            raise ValueError(
                "no word of the prompt has an opposite that this model knows: write what "
                "contradicts the source yourself"
            )
    kept = {"empty": 0, "insufficient": 1}.get(name, len(words))
    return words, words[:kept]


def _opposite(word: str, groups: Mapping[str, Sequence[str]], shows: Collection[str]) -> str:
    """The word itself if it contradicts the source already, else the next of its group."""
    group = next((list(group) for group in groups.values() if word in group), [word])
    if not set(group) & set(shows):
        return group[(group.index(word) + 1) % len(group)]
    return word if word not in shows else group[(group.index(word) + 1) % len(group)]
