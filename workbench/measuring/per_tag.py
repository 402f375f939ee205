"""Per-tag scores: is this tag in the picture, rather than one of its alternatives?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.prompts import join_tags


@dataclass(frozen=True)
class TagQuestion:
    """One tag and the texts it is told apart by; the first text has the tag.

    `context` is the prompt the tag stands in. It is the same at every prompt length, so that a
    tag's scores can be compared along that axis.
    """

    tag: str
    context: tuple[str, ...]
    texts: tuple[str, ...]
    grouped: bool

    @property
    def prompt(self) -> str:
        """The context as text."""
        return join_tags(self.context)


def tag_question(
    tag: str, context: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> TagQuestion:
    """The question for one tag of a prompt.

    Args:
        tag: one of `context`.
        context: the prompt's tags.
        groups: tags that exclude each other; a tag in none of them is asked as with or without.

    Raises:
        ValueError: the tag is not in the context.
    """
    if tag not in context:
        raise ValueError(f"{tag!r} is not in the prompt {join_tags(context)!r}")
    group = next((g for g in groups.values() if tag in g), ())
    place = list(context).index(tag)

    def put(words: Sequence[str]) -> str:
        return join_tags([*context[:place], *words, *context[place + 1 :]])

    others = [[word] for word in group if word != tag] if group else [[]]
    texts = (put([tag]), *(put(words) for words in others))
    return TagQuestion(tag, tuple(context), texts, bool(group))


def questions(
    full: Sequence[str], used: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> tuple[TagQuestion, ...]:
    """One question per tag of the full prompt, then per tag of the used prompt that it lacks."""
    extra = [tag for tag in used if tag not in full]
    return tuple(
        [tag_question(tag, full, groups) for tag in full]
        + [tag_question(tag, used, groups) for tag in extra]
    )


def tag_scores(
    image_embeds: np.ndarray, text_embeds: np.ndarray, logit_scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the first text, and whether it is the most probable one.

    Args:
        image_embeds: (N, D), unit norm.
        text_embeds: (T, D), unit norm, the tag's own text first.
        logit_scale: the factor CLIP was trained with (its temperature's inverse).

    Returns:
        float (N,) in [0, 1] and bool (N,); a tie counts for the tag.
    """
    from workbench.metrics.clip import tag_obeyed, tag_probability

    probability = tag_probability(image_embeds, text_embeds, 0, logit_scale)
    return probability.numpy(), tag_obeyed(image_embeds, text_embeds).numpy()
