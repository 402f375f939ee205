"""The words of the Paperdoll world: eight groups of tags and what each tag looks like."""

from __future__ import annotations

from collections.abc import Sequence

TAG_GROUPS: dict[str, tuple[str, ...]] = {
    "who": ("a girl", "a boy"),
    "hair_length": ("long hair", "short hair"),
    "hair_colour": ("blond hair", "black hair", "brown hair", "red hair"),
    "eyes": ("black eyes", "blue eyes", "green eyes"),
    "coat": ("black coat", "red coat", "blue coat", "green coat", "yellow coat", "white coat"),
    "season": ("winter", "spring", "summer", "autumn"),
    "weather": ("snow", "rain", "sunny", "night"),
    "place": ("house", "trees", "mountain", "field"),
}
"""Group name -> the tags that exclude each other, in the order prompts use."""

SILHOUETTE_GROUPS: tuple[str, ...] = ("who", "hair_length", "place")
"""Groups whose tags change outlines, so that prompt and control can conflict."""

FOUNDING_PROMPT: tuple[str, ...] = (
    "a girl",
    "long hair",
    "blond hair",
    "black eyes",
    "black coat",
    "winter",
    "snow",
)

GROUP_OF_TAG: dict[str, str] = {tag: group for group, tags in TAG_GROUPS.items() for tag in tags}

RGB = tuple[float, float, float]

HAIR_COLOURS: dict[str, RGB] = {
    "blond hair": (0.97, 0.82, 0.36),
    "black hair": (0.11, 0.10, 0.13),
    "brown hair": (0.45, 0.27, 0.13),
    "red hair": (0.80, 0.22, 0.10),
}
EYE_COLOURS: dict[str, RGB] = {
    "black eyes": (0.05, 0.05, 0.06),
    "blue eyes": (0.10, 0.38, 1.00),
    "green eyes": (0.08, 0.70, 0.22),
}
COAT_COLOURS: dict[str, RGB] = {
    "black coat": (0.13, 0.13, 0.16),
    "red coat": (0.88, 0.12, 0.13),
    "blue coat": (0.15, 0.32, 0.90),
    "green coat": (0.10, 0.58, 0.24),
    "yellow coat": (0.98, 0.82, 0.12),
    "white coat": (0.96, 0.96, 0.97),
}
GROUND_COLOURS: dict[str, RGB] = {
    "winter": (0.92, 0.94, 0.98),
    "spring": (0.66, 0.86, 0.42),
    "summer": (0.24, 0.58, 0.22),
    "autumn": (0.76, 0.52, 0.22),
}
FOLIAGE_COLOURS: dict[str, RGB] = {
    "winter": (0.86, 0.90, 0.96),
    "spring": (0.98, 0.66, 0.80),
    "summer": (0.12, 0.46, 0.14),
    "autumn": (0.92, 0.46, 0.08),
}
SKY_COLOURS: dict[str, RGB] = {
    "snow": (0.74, 0.79, 0.88),
    "rain": (0.46, 0.51, 0.60),
    "sunny": (0.42, 0.74, 0.99),
    "night": (0.07, 0.08, 0.24),
}


def complete_tags(tags: Sequence[str], fallback: Sequence[str]) -> tuple[str, ...]:
    """One tag for every group: the first of ``tags`` in the group, else that of ``fallback``.

    Words which are no tag of this world are ignored. ``fallback`` holds eight tags in group order.
    """
    chosen = dict(zip(TAG_GROUPS, fallback, strict=True))
    for tag in reversed(tags):
        if tag in GROUP_OF_TAG:
            chosen[GROUP_OF_TAG[tag]] = tag
    return tuple(chosen.values())
