"""Protects the question asked about each tag and the probability that answers it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.measuring.per_tag import questions, tag_question, tag_scores

GROUPS = {"who": ("a girl", "a boy"), "season": ("winter", "spring", "summer")}


def test_a_grouped_tag_stands_against_its_alternatives_in_its_own_place() -> None:
    found = tag_question("winter", ("a girl", "winter", "red coat"), GROUPS)
    assert found.texts == (
        "a girl, winter, red coat",
        "a girl, spring, red coat",
        "a girl, summer, red coat",
    )
    assert found.grouped


def test_a_free_word_stands_against_the_prompt_without_it() -> None:
    found = tag_question("red coat", ("a girl", "red coat"), GROUPS)
    assert found.texts == ("a girl, red coat", "a girl")
    assert tag_question("fog", ("fog",), GROUPS).texts == ("fog", "")


def test_cut_tags_are_asked_in_the_full_prompt_and_foreign_ones_in_their_own() -> None:
    found = questions(("a girl", "winter"), ("a boy",), GROUPS)
    assert [q.tag for q in found] == ["a girl", "winter", "a boy"]
    assert [q.prompt for q in found] == ["a girl, winter", "a girl, winter", "a boy"]


def test_a_tag_outside_the_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="not in the prompt"):
        tag_question("snow", ("a girl",), GROUPS)


def test_scores_agree_with_a_softmax_written_out() -> None:
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(5, 8)), rng.normal(size=(3, 8))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    scores, obeyed = tag_scores(images, texts, 7.5)
    for i in range(5):
        weights = [math.exp(7.5 * sum(images[i] * text)) for text in texts]
        assert scores[i] == pytest.approx(weights[0] / sum(weights))
        assert obeyed[i] == (weights[0] == max(weights))
