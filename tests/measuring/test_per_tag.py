"""Protects the question asked about each tag and the probability that answers it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.measuring.per_tag import questions, tag_question, tag_scores

ALTERNATIVES = {
    "a girl": ("a boy",),
    "winter": ("spring", "summer"),
    "a boy": ("a girl",),
}


def test_a_tag_with_alternatives_is_asked_alone() -> None:
    found = tag_question("winter", ("a girl", "winter", "red coat"), ALTERNATIVES)
    assert found.texts == ("winter", "spring", "summer")
    assert found.alone
    assert found.prompt == "a girl, winter, red coat"


def test_a_free_word_stands_against_the_prompt_without_it() -> None:
    found = tag_question("red coat", ("a girl", "red coat", "winter"), ALTERNATIVES)
    assert found.texts == ("a girl, red coat, winter", "a girl, winter")
    assert not found.alone
    assert tag_question("fog", ("fog",), ALTERNATIVES).texts == ("fog", "")


def test_the_question_about_a_tag_is_the_same_at_every_prompt_length() -> None:
    found = questions(("a girl", "winter"), ("a boy",), ALTERNATIVES)
    assert [q.tag for q in found] == ["a girl", "winter", "a boy"]
    assert [q.prompt for q in found] == ["a girl, winter", "a girl, winter", "a boy"]


def test_readings_of_other_questions_are_told_apart() -> None:
    plain = tag_question("fog", ("fog", "snow"), {})
    others = (
        tag_question("fog", ("fog", "rain"), {}),
        tag_question("fog", ("fog", "snow"), {"fog": ["haze"]}),
        tag_question("fog", ("fog", "snow"), {"fog": ["haze", "mist"]}),
        tag_question("fog", ("fog", "snow"), {}, "a judge"),
    )
    assert len({plain.asked, *(other.asked for other in others)}) == 5
    assert plain.asked == tag_question("fog", ("fog", "snow"), {}).asked


def test_a_tag_outside_the_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="not in the prompt"):
        tag_question("snow", ("a girl",), {})


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
