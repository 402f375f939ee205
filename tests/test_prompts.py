"""Protects the meaning of a prompt: order, nesting of shortened ones, nothing lost or invented."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.prompts import (
    Prompt,
    PromptVariant,
    Unit,
    form_variants,
    join_tags,
    kept_places,
    leave_one_out,
    parse_tags,
    shortened_variant,
    unit_variant,
    webui_syntax,
    whole_length,
)

FOUNDING = "a girl, long hair, blond hair, black eyes, black coat, winter, snow"
TAGS = tuple(FOUNDING.split(", "))


def shorten(tags, length, *how, **more):  # type: ignore[no-untyped-def]
    """The tags that are kept."""
    return tuple(tags[i] for i in kept_places(tags, length, *how, **more))


tag_lists = st.lists(
    st.text("abc é-", min_size=1).map(lambda s: " ".join(s.split())).filter(bool),
    unique=True,
    max_size=9,
)


def test_the_founding_prompt_is_seven_tags_and_back() -> None:
    assert parse_tags(FOUNDING) == TAGS
    assert join_tags(TAGS) == FOUNDING


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", ()),
        (" , ,\n,", ()),
        ("  a   girl ,\tsnow", ("a girl", "snow")),
        ("a girl\nsnow\r\nwinter", ("a girl", "snow", "winter")),
        ("a girl, snow, a girl", ("a girl", "snow")),
        ("Snow, snow", ("Snow", "snow")),
        ("a girl，snow", ("a girl", "snow")),
        ("<b>, $x$", ("<b>", "$x$")),
    ],
)
def test_parsing_cleans_up(text: str, tags: tuple[str, ...]) -> None:
    assert parse_tags(text) == tags


WRITTEN = [
    "a red ball, a blue box, a red ball, a 1,000 year old tree",
    "白裙，微风、 雪",
    "A girl stands in the snow.\nHer hair is  long, her coat black.",
    ",a girl,, snow ,",
]


@pytest.mark.parametrize("text", WRITTEN)
def test_a_text_at_full_length_is_the_text_as_it_is_written(text: str) -> None:
    prompt = Prompt.of(text)
    whole = shortened_variant(prompt, len(prompt.spans))
    assert whole.text == text and whole.tags == prompt.names and not whole.dropped
    for length in range(len(prompt.spans)):
        cut = shortened_variant(prompt, length)
        assert cut.text in text and cut.tags == prompt.names[:length]


def test_a_text_is_split_at_commas_and_line_ends_but_not_in_numbers() -> None:
    assert Prompt.of(WRITTEN[0]).names == (
        "a red ball", "a blue box", "a red ball", "a 1,000 year old tree",
    )  # fmt: skip
    assert shortened_variant(Prompt.of(WRITTEN[0]), 2).text == "a red ball, a blue box"
    assert Prompt.of(WRITTEN[1]).names == ("白裙", "微风", "雪")
    assert shortened_variant(Prompt.of(WRITTEN[1]), 2).text == "白裙，微风"
    assert Prompt.of("8k,4k").names == ("8k", "4k")


@settings(deadline=None)
@given(st.lists(st.text("abé ,1.", min_size=1)))
def test_a_list_of_tags_is_joined_as_it_is_written(tags: list[str]) -> None:
    prompt = Prompt.of(tags)
    assert prompt.text == ", ".join(tags)
    assert [prompt.text[start:end] for start, end in prompt.spans] == tags
    assert prompt.cut(range(0, len(tags), 2)) in (prompt.text, ", ".join(tags[::2]))


@pytest.mark.parametrize(
    "syntax",
    ["(word:1.3)", "(two words : 0.8)", "((word))", "[[word]]", "[word]", "[a|b]", "[a:b:0.5]",
     "(Blade Runner 2049:1.3)", "[a:0.5]", "[a::0.5]", "<lora:style:0.8>", "<LoRA:x>", "BREAK",
     "AND", "\\(character\\)"],
)  # fmt: skip
def test_syntax_of_the_webui_is_seen(syntax: str) -> None:
    shown = webui_syntax(f"a girl, {syntax}, snow")
    assert syntax in shown or syntax.startswith("\\")
    if syntax != "[word]":
        assert webui_syntax(f"a girl {syntax} in the snow", caption=True)


@pytest.mark.parametrize(
    "text",
    ["a girl (smiling)", "a girl (smiling, happy)", "(a ratio of 16:9)", "at noon (12:30)",
     "(16:9.5)", ":-)",
     "a sign that says [EXIT] in red", "SALT AND PEPPER", "the words \"BREAK\" on a wall",
     "a (b) and (c)", "I <3 you", "fast break and rest", "a | b", "", "f(x) = [1, 2]",
     "SANDRA, BREAKFAST", *WRITTEN, FOUNDING],
)  # fmt: skip
def test_ordinary_brackets_and_words_are_no_syntax(text: str) -> None:
    assert webui_syntax(text) == "" == webui_syntax(text, caption=True)


def test_the_kind_of_syntax_is_named() -> None:
    assert webui_syntax("[a|b]") == '"[a|b]" (words that change from step to step)'
    assert webui_syntax("[a]") == '"[a]" (a weight)'


def test_only_a_caption_may_have_a_part_wholly_in_square_brackets() -> None:
    assert webui_syntax("a poster, [sold out]") and not webui_syntax("a poster, [sold out]", True)


@settings(deadline=None)
@given(tag_lists)
def test_parsing_undoes_joining(tags: list[str]) -> None:
    assert parse_tags(join_tags(tags)) == tuple(tags)


@settings(deadline=None)
@given(tag_lists, st.data())
def test_kept_tags_stay_longest_in_the_order_of_the_prompt(
    tags: list[str], data: st.DataObject
) -> None:
    keep = data.draw(st.lists(st.sampled_from(tags), unique=True)) if tags else []
    versions = [shorten(tags, length, keep=keep) for length in range(len(tags) + 1)]
    assert set(versions[len(keep)]) == set(keep)
    assert versions[-1] == tuple(tags)
    for length, kept in enumerate(versions):
        assert len(kept) == length
        assert list(kept) == [tag for tag in tags if tag in kept]
    assert all(set(short) < set(long) for short, long in pairwise(versions))


def test_the_founding_prompt_is_cut_to_the_girl_her_hair_and_her_eyes() -> None:
    kept = ("a girl", "long hair", "black eyes")
    assert shortened_variant(TAGS, 3, keep=kept).text == "a girl, long hair, black eyes"
    assert shortened_variant(TAGS, 7, keep=kept).tags == TAGS


def test_prefix_keeps_the_first_tags() -> None:
    assert shorten(TAGS, 3) == ("a girl", "long hair", "blond hair")
    assert shorten(TAGS, 0) == ()
    assert shorten(TAGS, 7) == TAGS


@settings(deadline=None)
@given(tag_lists, st.integers(0, 2**40))
def test_random_choices_are_nested_and_keep_the_order(tags: list[str], seed: int) -> None:
    chosen = [shorten(tags, length, "random", seed) for length in range(len(tags) + 1)]
    for length, kept in enumerate(chosen):
        assert len(kept) == length
        assert list(kept) == sorted(kept, key=tags.index)
    for shorter, longer in pairwise(chosen):
        assert set(shorter) < set(longer)


def test_random_choices_depend_on_the_seed_and_never_on_the_day() -> None:
    assert len({shorten(TAGS, 3, "random", seed) for seed in range(50)}) > 10
    # A stored study must mean the same prompts next year, so the very choice is pinned.
    assert shorten(TAGS, 3, "random", 0) == ("blond hair", "black eyes", "winter")


def test_every_tag_is_chosen_about_equally_often() -> None:
    counts = dict.fromkeys(TAGS, 0)
    for seed in range(2000):
        for tag in shorten(TAGS, 3, "random", seed):
            counts[tag] += 1
    assert min(counts.values()) > 0.85 * 2000 * 3 / 7
    assert max(counts.values()) < 1.15 * 2000 * 3 / 7


@pytest.mark.parametrize("length", [-1, 8])
def test_a_length_out_of_range_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="between 0 and 7"):
        shorten(TAGS, length)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="prefix"):
        shorten(TAGS, 3, "suffix")  # type: ignore[arg-type]


def test_a_variant_knows_what_it_lacks() -> None:
    variant = shortened_variant(TAGS, 5)
    assert variant.text == "a girl, long hair, blond hair, black eyes, black coat"
    assert variant.dropped == ("winter", "snow")
    assert (variant.label, variant.length, variant.setting) == ("5 tags", 5, "length")
    assert shortened_variant(TAGS, 1).label == "1 tag"
    assert shortened_variant(TAGS, 0).text == ""


def test_leave_one_out_drops_each_tag_once() -> None:
    variants = leave_one_out(TAGS)
    assert [variant.dropped for variant in variants] == [(tag,) for tag in TAGS]
    for variant in variants:
        assert variant.length == 6
        assert set(variant.tags) | set(variant.dropped) == set(TAGS)
    assert variants[1].label == "without long hair"
    assert leave_one_out(()) == ()


def test_a_variant_cannot_lie_about_its_length() -> None:
    with pytest.raises(ValueError, match="length 2"):
        PromptVariant("x", ("a girl",), 2)


def test_prompts_load_nothing_heavy() -> None:
    code = (
        "import sys, workbench.prompts, workbench.metrics.spec, workbench.controls, "
        "workbench.images, workbench.controls.canny, workbench.controls.depth;"
        "print([m for m in ('torch', 'cv2', 'pandas', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SENTENCES = (
    "A girl, 1,000 years old, stands (smiling) in the snow. It is 3.5 degrees! Yes\n白裙。雪"
)


def test_words_and_sentences_end_where_the_guide_says() -> None:
    whole = Prompt.of(SENTENCES)
    assert whole.by("words").names[:6] == ("A", "girl", "1,000", "years", "old", "stands")
    assert whole.by("sentences").names == (
        "A girl, 1,000 years old, stands (smiling) in the snow.",
        "It is 3.5 degrees!", "Yes", "白裙。", "雪",
    )  # fmt: skip


def by_letters(text: str) -> int:
    return sum(map(str.isalnum, text))


@pytest.mark.parametrize("unit", ["tags", "words", "sentences", "tokens"])
def test_every_unit_cuts_the_text_from_its_end_and_keeps_whole_tags(unit: Unit) -> None:
    whole = Prompt.of(SENTENCES)
    most = whole_length(whole, unit, by_letters)
    before = 0
    for length in range(most + 1):
        variant = unit_variant(whole, length, unit, by_letters)
        assert SENTENCES.startswith(variant.text) and len(variant.text) >= before
        before = len(variant.text)
        assert variant.tags == whole.names[: len(variant.tags)]
        assert set(variant.tags) | set(variant.dropped) == set(whole.names)
        if unit == "tokens":
            assert by_letters(variant.text) <= length
    assert variant.text == SENTENCES and variant.label == f"{most} {unit}"
    with pytest.raises(ValueError, match="length must lie"):
        unit_variant(whole, most + 1, unit, by_letters)


def test_a_tag_is_kept_where_a_form_has_it_whole() -> None:
    whole = Prompt.of("a girl, long hair, snow")
    short, long = form_variants({"short": "snow, a girl", "long": whole.text + "!"}, whole)
    assert (short.label, short.length, short.tags, short.dropped) == (
        "short", 1, ("a girl", "snow"), ("long hair",),
    )  # fmt: skip
    assert (long.length, long.tags, long.text) == (2, ("a girl", "long hair"), whole.text + "!")
