"""Protects lists as people write them, and texts that a study must not rewrite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from workbench.study import Study, StudyError, check_syntax
from workbench.study.plan import make_plan
from workbench.study.ranges import expand_numbers
from workbench.study.single import single_study
from workbench.study.yamlfile import parse_yaml

HEAD = "name: x\ncontrols: [canny]\n"


def study_of(folder: Path, text: str) -> Study:
    """The study of a file with this text, in a folder."""
    (folder / "study.yaml").write_text(HEAD + text, "utf-8")
    return Study.from_yaml(folder / "study.yaml")


@pytest.mark.parametrize(
    ("text", "scales"),
    [
        ("0..1.6 step 0.4", (0, 0.4, 0.8, 1.2, 1.6)),
        ("0..1 step 0.3", (0, 0.3, 0.6, 0.9)),
        ("[0, 0.5..0.7 step 0.1, 2]", (0, 0.5, 0.6, 0.7, 2)),
        ("0, 1..3", (0, 1, 2, 3)),
        (".25, .5...75 step .25", (0.25, 0.5, 0.75)),
        ("1.5", None),
    ],
)
def test_scales_can_be_a_range(tmp_path: Path, text: str, scales: tuple[float, ...] | None) -> None:
    lines = f'sources: ["paperdoll:1"]\nprompt: a girl\nscales: {text}\n'
    if scales is None:  # one number is no list
        with pytest.raises(StudyError, match="scales"):
            study_of(tmp_path, lines)
        return
    study = study_of(tmp_path, lines)
    assert study.scales == scales
    listed = study_of(tmp_path, lines.replace(text, str(list(scales))))
    assert listed.hash == study.hash and Study.from_dict(study.model_dump()) == study


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("scales", "1..0 step 0.5", "must rise"),
        ("scales", "0..1 step 0", "must rise"),
        ("scales", "0..1.6", "has no step"),
        ("scales", "0..9 step 0.0001", "more than 10,000 numbers"),
        ("scales", "none", "is no number and no range like 0..1.6 step 0.4"),
        ("scales", "0..20", "scales"),
        ("seeds", "0", "how many seeds"),
        ("seeds", "'3'", "seeds: '3' is text to YAML"),
        ("seeds", "['3']", "seeds.0.: '3' is text to YAML"),
        ("scales", '"0.5"', "scales: '0.5' is text to YAML"),
        ("scales", "['0.5', 1]", "scales.0.: '0.5' is text to YAML"),
        ("lengths", "'1'", "lengths: '1' is text to YAML"),
        ("steps", "'20'", "steps: '20' is text to YAML"),
        ("guidance_scale", "1e1", "guidance_scale: '1e1' is text to YAML"),
        ("lengths", "3", "lengths"),
        ("seeds", "1..2 step 0.5", "seeds"),
        ("seeds", "true", "seeds"),
    ],
)
def test_a_range_that_is_none_is_told(tmp_path: Path, field: str, value: str, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        study_of(tmp_path, f'sources: ["paperdoll:1"]\nprompt: a girl\n{field}: {value}\n')


def test_a_pair_takes_ranges(tmp_path: Path) -> None:
    text = "sources: ['paperdoll:1']\nprompt: a girl\n"
    pair = "- pair: [depth, canny]\n  scales: {depth: 0..1 step 0.5, canny: [0, 1]}\n"
    (tmp_path / "study.yaml").write_text(f"name: x\ncontrols:\n{pair}{text}")
    (entry,) = Study.from_yaml(tmp_path / "study.yaml").controls
    assert entry.axes(()) == ((0, 0.5, 1), (0, 1))  # type: ignore[union-attr]


def test_seeds_can_be_how_many_there_are(tmp_path: Path) -> None:
    base = "sources: ['paperdoll:1']\nprompt: a girl\nseeds: "
    assert study_of(tmp_path, base + "3").seeds == (1, 2, 3)
    assert study_of(tmp_path, base + "5..7").seeds == (5, 6, 7)
    assert study_of(tmp_path, base + "[3]").seeds == (3,)
    lengths = study_of(tmp_path, base.replace("a girl", "a girl, snow") + "1\nlengths: 1..2")
    assert lengths.lengths == (1, 2)


def test_what_is_no_range_comes_back_as_it_is() -> None:
    for value in (None, 1.5, [0.1, 2], ["a"], {"a": 1}, []):
        assert expand_numbers(value) == value


def test_sources_can_be_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("b.png", "a.JPG", "c.webp"):
        kind = {"b.png": "PNG", "a.JPG": "JPEG", "c.webp": "WEBP"}[name]
        colour = 40 * len(name) + ord(name[0])
        picture = np.full((16, 16, 3), colour % 256, np.uint8)
        Image.fromarray(picture).save(tmp_path / "pictures" / name, format=kind)
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    study = study_of(tmp_path, "sources: pictures/*\nprompt: a girl\n")
    assert study.sources == ("pictures/a.JPG", "pictures/b.png", "pictures/c.webp")
    some = study_of(tmp_path, "sources: ['paperdoll:1', 'map:pictures/?.png']\nprompt: a girl\n")
    assert some.sources == ("paperdoll:1", "map:pictures/b.png")
    absolute = study_of(tmp_path, f"sources: ['{tmp_path}/pictures/*.png']\nprompt: a girl\n")
    assert absolute.sources == (f"{tmp_path.as_posix()}/pictures/b.png",)
    with pytest.raises(StudyError, match="fits no picture in"):
        study_of(tmp_path, "sources: ['pictures/*.gif']\nprompt: a girl\n")


@pytest.mark.parametrize("number", ["010", "1:30", "-012"])
def test_numbers_that_others_read_otherwise_are_refused(tmp_path: Path, number: str) -> None:
    with pytest.raises(StudyError, match="is another number to other programs"):
        study_of(tmp_path, f"sources: ['paperdoll:1']\nprompt: a girl\nseeds: [{number}]\n")


CAPTION = "a red ball,a blue box, a red ball, a 1,000 year old tree  白裙，微风\r\nSnow. "


def test_a_caption_goes_to_the_model_as_it_is_written() -> None:
    label = "paperdoll:1"
    study = Study(name="x", sources=[label], controls=["canny"], captions={label: CAPTION})
    plan = make_plan(study, resolution=32)
    (trial,) = plan.trials
    assert trial.prompt == CAPTION
    assert Study.from_dict(study.model_dump()).hash == study.hash
    (cell,) = plan.cells
    text = single_study(trial, cell, dtype="float32", batch_size=1)
    again = make_plan(Study.from_dict(parse_yaml(text)), resolution=32)
    assert [t.id for t in again.trials] == [trial.id]


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("  ", "is empty"),
        ("a\x00b", "control character"),
        ("a" * 20_001, "more than 20,000 characters"),
    ],
)
def test_a_caption_that_is_none_is_told(caption: Any, words: str) -> None:
    label = "paperdoll:1"
    with pytest.raises(StudyError, match=words):
        Study(name="x", sources=[label], controls=["canny"], captions={label: caption})


@pytest.mark.parametrize(
    "prompt",
    [
        CAPTION.strip(),
        "白裙，微风",
        "a girl,  snow",
        "a, b, a",
        ["a  girl", "a 1,000 year old tree"],
    ],
)
def test_a_prompt_at_full_length_is_the_text_as_it_is_written(prompt: Any) -> None:
    text = prompt if isinstance(prompt, str) else ", ".join(prompt)
    study = Study(name="x", sources=["paperdoll:1"], controls=["canny"], prompt=prompt,
                  extra_prompts={"full": prompt})  # fmt: skip
    plan = make_plan(study, resolution=32)
    (trial,) = plan.trials
    assert trial.prompt == text
    assert {cell.full_prompt for cell in plan.cells} == {text}
    again = Study.from_dict(parse_yaml(study.to_yaml()))
    assert again == study and again.hash == study.hash
    single = single_study(trial, plan.cells[0], dtype="float32", batch_size=1)
    made = make_plan(Study.from_dict(parse_yaml(single)), resolution=32)
    assert [t.id for t in made.trials] == [trial.id]


def test_a_detailed_prompt_may_have_long_sentences() -> None:
    sentence = "a girl who " + "walks and " * 60 + "sings"
    study = Study(name="x", sources=["paperdoll:1"], controls=["canny"], prompt=[sentence, "snow"])
    assert study.prompt == (sentence, "snow")
    with pytest.raises(StudyError, match="more than 20,000 characters"):
        Study(name="x", sources=["paperdoll:1"], controls=["canny"], prompt=["a" * 15_000] * 1
              + ["b" * 6_000])  # fmt: skip


SYNTAX = (
    "sources: ['paperdoll:1']\nprompt: a girl, (snow:1.3)\nnegative_prompt: '[blurry], hands'\n"
)


def test_syntax_of_the_webui_is_refused_where_a_study_starts(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        study_of(tmp_path, SYNTAX)
    assert caught.value.problems == (
        'prompt: "(snow:1.3)" (a weight) is syntax of the webui, which is not done here: the model '
        "would read the characters; allowed: plain words; literal: true where the characters "
        "themselves are meant",
        'negative_prompt: "[blurry]" (a weight) is syntax of the webui, which is not done here: '
        "the model would read the characters; allowed: plain words; literal: true where the "
        "characters themselves are meant",
    )
    captions = (
        SYNTAX.split("\n", 1)[0] + "\ncaptions: {'paperdoll:1': 'a sign, [EXIT], <lora:x:1>'}\n"
    )
    with pytest.raises(StudyError, match=r"captions\.paperdoll:1: \"<lora:x:1>\""):
        study_of(tmp_path, captions)


def test_a_run_with_such_a_prompt_can_be_read_and_its_characters_can_be_meant(
    tmp_path: Path,
) -> None:
    values = parse_yaml(HEAD + SYNTAX)
    stored = Study.from_dict(values)
    with pytest.raises(StudyError, match="syntax of the webui"):
        check_syntax(stored)
    meant = study_of(tmp_path, SYNTAX + "literal: true\n")
    check_syntax(meant)
    assert "literal: true" in meant.to_yaml() and "literal" not in stored.to_yaml()
    trials = [make_plan(study, resolution=32).trials for study in (stored, meant)]
    assert [t.id for t in trials[0]] == [t.id for t in trials[1]]
