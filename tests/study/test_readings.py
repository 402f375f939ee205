"""Protects that what the text encoder reads alike is one picture, and that it is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from workbench.families.reading import TextReader
from workbench.store.schema import cell_facts
from workbench.study import Choices, Plan, Study, installed_choices, make_plan, plan_notes

TAGS = [f"tag {number}" for number in range(40)]


def by_words(limit: int) -> tuple[Any, int]:
    """A tokenizer for which every word is a token, with start and end; case does not count."""
    return lambda text: [0, *(hash(word) for word in text.lower().split()), 1], limit


def choices(*encoders: tuple[Any, int]) -> Choices:
    known = installed_choices()
    reader = TextReader(encoders) if encoders else None
    family = replace(known.families["paperdoll"], reader=lambda *_: reader, text_limit=77)
    return replace(known, families={"paperdoll": family})


def plan_of(offered: Choices, **values: Any) -> tuple[Study, Plan]:
    values = {"name": "x", "sources": ["paperdoll:1"], "controls": ["canny"]} | values
    study = Study.from_dict({"scales": [0, 1], "seeds": [1, 2]} | values, choices=offered)
    return study, make_plan(study, resolution=32, choices=offered)


def test_forty_tags_of_which_the_encoder_reads_the_first_thirty_seven() -> None:
    """16 pictures would be made, 8 of them twice, and their lengths tested as an axis."""
    study, plan = plan_of(choices(by_words(77)), prompt=TAGS, lengths=[5, 20, 38, 39, 40])
    assert len(plan.trials) == 3 * 2 * 2
    labels = list(dict.fromkeys(cell_facts(cell)["label"] for cell in plan.cells))
    assert labels == ["5 tags", "20 tags", "38 tags, cut at 77 tokens"]
    last = plan.cells[-1].variant
    assert last.read == tuple(TAGS[:37]) and last.unread == ("tag 37",)
    assert cell_facts(plan.cells[-1])["dropped"] == "tag 38, tag 39, tag 37"
    (note,) = plan_notes(study, plan)
    assert note == (
        'The text encoder reads 77 tokens of a prompt: "38 tags" is cut there; "39 tags" and '
        '"40 tags" say no more and are not made; what is never read gets no verdict ("tag 37", '
        '"tag 38", "tag 39").'
    )


def test_the_encoder_that_reads_the_most_decides() -> None:
    """Stable Diffusion 3.5: two CLIPs read 77 tokens, T5 reads 256."""
    both = choices(by_words(77), by_words(256))
    study, plan = plan_of(both, prompt=TAGS, lengths=[20, 38, 40])
    assert {cell_facts(cell)["label"] for cell in plan.cells} == {"20 tags", "38 tags", "40 tags"}
    assert len(plan.trials) == 3 * 2 * 2 and plan_notes(study, plan) == ()


def test_texts_that_are_read_alike_are_made_once_under_the_first() -> None:
    _, plan = plan_of(
        choices(by_words(77)), prompt="a Girl, snow", extra_prompts={"full": "A  girl, snow"}
    )
    assert {trial.prompt for trial in plan.trials} == {"a Girl, snow"}
    assert {cell.variant.text for cell in plan.cells} == {"a Girl, snow", "A  girl, snow"}


def test_a_prompt_that_fits_keeps_its_trials_and_cells() -> None:
    values = {"prompt": TAGS[:9], "lengths": [2, 9]}
    plans = [plan_of(offered, **values)[1] for offered in (choices(by_words(77)), choices())]
    assert [c.id for c in plans[0].cells] == [c.id for c in plans[1].cells]
    assert plans[0].knows_reading and plans[0].reads and not plans[1].reads


@pytest.mark.parametrize(("tags", "known"), [(TAGS[:9], True), (TAGS, False)])
def test_without_a_tokenizer_it_is_said_where_a_prompt_may_be_cut(
    tags: list[str], known: bool
) -> None:
    study, plan = plan_of(choices(), prompt=tags, lengths=[5, len(tags)])
    assert plan.knows_reading is known
    assert any("cannot be told before" in note for note in plan_notes(study, plan)) is not known


def test_captions_are_cut_and_one_that_is_shorter_is_whole_once() -> None:
    captions = {"paperdoll:1": "one two three four five", "paperdoll:2": "one two"}
    _, plan = plan_of(
        choices(by_words(77)), sources=[*captions], captions=captions, unit="words",
        lengths=[1, 3, 4],
    )  # fmt: skip
    found = {source: [] for source in captions}
    for cell in plan.cells:
        if cell.scale == 1 and cell.seed == 1:
            found[cell.source].append((cell.variant.label, cell.variant.text))
            assert cell.full_prompt == captions[cell.source] and not cell.variant.tags
    assert found == {
        "paperdoll:1": [("1 word", "one"), ("3 words", "one two three"),
                        ("4 words", "one two three four")],
        "paperdoll:2": [("1 word", "one"), ("3 words", "one two")],
    }  # fmt: skip


def test_tokens_are_counted_by_the_tokenizer_and_provisionally_without_one() -> None:
    values = {"prompt": "aa bb cc dd", "unit": "tokens", "lengths": [2, 3]}
    study, plan = plan_of(choices(by_words(77)), **values)
    assert {cell.variant.text for cell in plan.cells} == {"aa bb", "aa bb cc"}
    study, plan = plan_of(choices(), **values)
    assert not plan.knows_reading
    assert "cannot be told before the model is downloaded" in plan_notes(study, plan)[-1]
