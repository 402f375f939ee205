"""Per-tag scores: is this tag in the picture, rather than one of its alternatives?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.prompts import join_tags
from workbench.study.canonical import short_hash


@dataclass(frozen=True)
class TagQuestion:
    """One tag and the texts it is told apart by; the first text has the tag.

    A tag with alternatives is asked `alone`: "long hair" against "short hair". Inside the prompt
    the other words would have their say, and a picture of a cut prompt would be judged by words
    that it never was to show. A tag without alternatives has nothing to stand against but the
    prompt without it, which is a weaker question: any likeness to the prompt answers it, too.

    `context` is the prompt the tag stands in. `judge` names what reads it, "" for CLIP.
    """

    tag: str
    context: tuple[str, ...]
    texts: tuple[str, ...]
    alone: bool
    judge: str = ""

    @property
    def prompt(self) -> str:
        """The context as text."""
        return join_tags(self.context)

    @property
    def asked(self) -> str:
        """Tells readings of one question from those of another; stored beside the reading."""
        return short_hash([self.judge, *self.texts])


def tag_question(
    tag: str, context: Sequence[str], alternatives: Mapping[str, Sequence[str]], judge: str = ""
) -> TagQuestion:
    """The question for one tag of a prompt.

    Args:
        tag: one of `context`.
        context: the prompt's tags.
        alternatives: tag -> what may be seen in its place; one without is asked as with or without.
        judge: names what reads it.

    Raises:
        ValueError: the tag is not in the context.
    """
    if tag not in context:
        raise ValueError(f"{tag!r} is not in the prompt {join_tags(context)!r}")
    if others := alternatives.get(tag, ()):
        return TagQuestion(tag, tuple(context), (tag, *others), True, judge)
    without = [other for other in context if other != tag]
    texts = (join_tags(context), join_tags(without))
    return TagQuestion(tag, tuple(context), texts, False, judge)


def questions(
    full: Sequence[str],
    used: Sequence[str],
    alternatives: Mapping[str, Sequence[str]],
    judge: str = "",
) -> tuple[TagQuestion, ...]:
    """One question per tag of the full prompt, then per tag of the used prompt that it lacks."""
    extra = [tag for tag in used if tag not in full]
    return tuple(
        [tag_question(tag, full, alternatives, judge) for tag in full]
        + [tag_question(tag, used, alternatives, judge) for tag in extra]
    )


def words_beyond_chance(seen: Sequence[float], chance: Sequence[float]) -> float:
    """How many of a prompt's words a picture shows, beyond chance: the mean over the words of
    (seen - chance) / (1 - chance).

    1: every word is to be seen. 0: as many as in pictures that know nothing of the prompt, however
    many words there are and however easily each is hit. Below 0: fewer, which takes something that
    works against the prompt. Each word is corrected by itself, as Cohen's kappa does for a label
    (J. Cohen, "A coefficient of agreement for nominal scales", Educ. Psychol. Meas. 20, 1960).

    Args:
        seen: of each word 1 or 0. chance: of each word the share of unrelated pictures that show
            it, in [0, 1).

    >>> words_beyond_chance([1, 0], [0.5, 0.5])
    0.0
    """
    pairs = zip(seen, chance, strict=True)
    return float(np.mean([(s - c) / (1 - c) for s, c in pairs]))


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
