"""Protects what a study may say of its words: what can be seen in place of each."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.study import Study, StudyError, make_plan

FIELDS: dict[str, Any] = {
    "name": "x",
    "sources": ["paperdoll:1"],
    "controls": ["canny"],
    "prompt": "a girl, long hair, fog",
}


def problems(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(StudyError) as caught:
        Study(**(FIELDS | changes))
    return caught.value.problems


def test_alternatives_reach_the_plan_and_the_file() -> None:
    given = {"long hair": ["short hair"], "fog": "haze, clear sky"}
    study = Study(**FIELDS, alternatives=given)
    assert study.alternatives == {"long hair": ("short hair",), "fog": ("haze", "clear sky")}
    assert Study.from_dict(dict(study.model_dump(mode="json"))) == study
    plan = make_plan(study, resolution=128)
    assert plan.alternatives == study.alternatives
    assert "alternatives" in study.to_yaml()
    plain = Study(**FIELDS)
    assert "alternatives" not in plain.to_yaml()  # and studies older than it keep their hash
    assert plain.hash != study.hash
    assert {cell.id for cell in plan.cells} == {
        cell.id for cell in make_plan(plain, resolution=128).cells
    }


def test_words_of_extra_prompts_may_have_some_too() -> None:
    extra = {"conflicting": ["a dog"]}
    assert Study(**FIELDS, extra_prompts=extra, alternatives={"a dog": ["a cat"]}).alternatives


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fog": []}, "alternatives.fog: has no alternative"),
        ({"fog": ["Fog", "haze"]}, "alternatives.fog: is its own alternative"),
        ({"fog": ["haze", "haze"]}, "alternatives.fog: 'haze' appears twice"),
        ({"long hare": ["short hair"]}, 'is in no prompt (did you mean "long hair"?)'),
        ({"fog": [""]}, "is an empty tag"),
        (["fog"], "is not a mapping"),
    ],
)
def test_each_mistake_is_one_sentence(given: Any, said: str) -> None:
    found = problems(alternatives=given)
    assert len(found) == 1
    assert said in found[0]


def test_captions_are_sentences_without_words_of_their_own() -> None:
    captions = {"paperdoll:1": "a girl in the fog"}
    (found,) = problems(captions=captions, alternatives={"fog": ["haze"]})
    assert "has no meaning with captions" in found
