"""Protects the study file: what is accepted, what is refused and how, and that it round-trips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.controls import get_control
from workbench.families import get_family
from workbench.samplers import SAMPLER_NAMES
from workbench.study import Choices, ControlChoice, FamilyChoice, PairChoice, Study, StudyError
from workbench.study.fields import ALLOWED
from workbench.study.yamlfile import parse_yaml

MINIMAL: dict[str, Any] = {
    "name": "x",
    "sources": ["paperdoll:1"],
    "controls": ["canny"],
    "prompt": ["a girl", "snow"],
}


def problems(choices: Choices | None = None, **changes: Any) -> tuple[str, ...]:
    with pytest.raises(StudyError) as caught:
        if choices is None:
            Study(**(MINIMAL | changes))
        else:
            Study.from_dict(MINIMAL | changes, choices=choices)
    return caught.value.problems


def test_a_minimal_study_has_the_documented_defaults() -> None:
    study = Study(**MINIMAL)
    assert (study.family, study.base, study.steps, study.guidance_scale) == (
        "paperdoll",
        ("render",),
        20,
        5.0,
    )
    assert (study.scheduler, study.negative_prompt, study.batch_size) == ("unipc", "", 16)
    assert (study.control_start, study.control_end, study.dtype) == (0.0, 1.0, "float32")
    assert study.shortening.method == "prefix"


def test_a_silent_study_takes_the_settings_of_its_family() -> None:
    """And what it does say stays; by keyword arguments nothing is known of families."""
    silent = Study.from_dict({**MINIMAL, "family": "paperdoll"})
    defaults = get_family("paperdoll").defaults
    assert (silent.guidance_scale, silent.steps) == (defaults.guidance_scale, defaults.steps)
    said = Study.from_dict({**MINIMAL, "guidance_scale": 7.5})
    assert said.guidance_scale == 7.5
    offered = FamilyChoice(("render",), ("canny",), {"base": ["render"], "steps": 3})
    choices = Choices({"paperdoll": offered}, lambda name: get_control(name).settings_type)
    assert Study.from_dict(MINIMAL, choices=choices).steps == 3


def test_a_prompt_may_be_text_or_a_list() -> None:
    text = Study(**(MINIMAL | {"prompt": " a girl, snow\n"}))
    assert text == Study(**MINIMAL)
    assert text.prompt == ("a girl", "snow")


def test_all_problems_come_at_once_and_name_their_field(choices: Choices, tmp_path: Path) -> None:
    data = {
        "nam": "x",
        "family": "paperdoll",
        "base": ["rendr"],
        "sources": ["paperdoll:1", "gone.png", "paperdoll:x"],
        "controls": ["cany", {"type": "canny", "settings": {"lo": 1, "high": 300}}],
        "prompt": "a girl, snow",
        "lengths": [1, 3],
        "scales": [0, -1, True, "1"],
        "seeds": [1, 1],
        "steps": 2.5,
        "schedular": "unipc",
        "shortening": "prefx",
        "extra_prompts": {"empty": ["x"], "conflicting": []},
    }
    with pytest.raises(StudyError) as caught:
        Study.from_dict(data, folder=tmp_path, choices=choices)
    lines = caught.value.problems
    for start in (
        "name: is missing",
        'nam: unknown key (did you mean "name"?)',
        'schedular: unknown key (did you mean "scheduler"?)',
        'base[0]: there is no base model in the family paperdoll "rendr" (did you mean "render"?)',
        "sources[2]: ",
        "controls[0].type: there is no control in the family paperdoll "
        '"cany" (did you mean "canny"?)',
        "controls[1].settings.lo: unknown key",
        "controls[1].settings.high: 300 is too large",
        "lengths[1]: 3 is longer than the prompt; allowed: 0 to 2",
        "scales[1]: -1 is too small; allowed: a list of numbers from 0 to 10",
        "scales[2]: True is not a number",
        "scales[3]: '1' is text to YAML",
        "seeds: 1 appears twice",
        "steps: 2.5 is not a whole number; allowed: a whole number from 1 to 1000",
        "shortening.method: 'prefx' is not known (did you mean \"prefix\"?)",
        "extra_prompts.empty: has tags",
        "extra_prompts.conflicting: has no tags",
    ):
        assert sum(line.startswith(start) for line in lines) == 1, (start, lines)
    assert len(lines) == 17
    assert all(line in str(caught.value) for line in lines)


def test_the_problems_of_a_pair_name_their_place_in_it(choices: Choices) -> None:
    lines = problems(
        choices,
        controls=[
            "depth",
            {
                "pair": ["cany", {"type": "canny", "settings": {"lo": 1, "high": 300}}],
                "scales": {"canny": [0, -1, 0.5]},
                "scale": 1,
            },
            {"pair": ["depth", {"typ": "canny"}]},
        ],
    )
    assert lines == (
        "controls[1].scales.canny[1]: -1 is too small; allowed: " + ALLOWED["scales"],
        'controls[1].scale: unknown key (did you mean "scales"?); allowed: pair, scales',
        "controls[2].pair[1].type: is missing; allowed: " + ALLOWED["controls"],
        'controls[2].pair[1].typ: unknown key (did you mean "type"?); allowed: settings, type',
    )
    lines = problems(
        choices,
        controls=[
            {
                "pair": ["cany", {"type": "canny", "settings": {"lo": 1, "high": 300}}],
                "scales": {"can": [1], "canny": [0, 0.5, 0.50]},
            }
        ],
    )
    assert lines == (
        'controls[0].scales.can: is not in the pair (did you mean "cany"?); allowed: cany, canny',
        "controls[0].scales.canny: 0.5 appears twice; allowed: each value once",
        'controls[0].pair[0].type: there is no control in the family paperdoll "cany" '
        '(did you mean "canny"?); allowed: depth, canny',
        "controls[0].pair[1].settings.high: 300 is too large; allowed: less than or equal to 255",
        'controls[0].pair[1].settings.lo: unknown key (did you mean "low"?); '
        "allowed: high, low, tolerance",
    )


def test_a_pair_is_read_written_and_counted(choices: Choices) -> None:
    from workbench.study.yamlfile import parse_yaml

    pair = {"pair": ["depth", {"type": "canny", "settings": {"low": 50}}]}
    controls = ["depth", pair | {"scales": {"canny": [0, 0.5, 1]}}]
    study = Study.from_dict(MINIMAL | {"controls": controls, "scales": [0, 1]}, choices=choices)
    single, both = study.controls
    assert isinstance(single, ControlChoice) and isinstance(both, PairChoice)
    assert [choice.type for choice in both.pair] == ["depth", "canny"]
    assert both.axes(study.scales) == ((0, 1), (0, 0.5, 1))
    assert study.cell_count == 2 + 2 * (2 * 3)
    back = Study.model_validate(parse_yaml(study.to_yaml()))
    assert back == study and back.hash == study.hash


def test_pairs_do_not_change_the_hash_of_other_studies() -> None:
    """The manifests of earlier runs hold it."""
    assert Study(**MINIMAL).hash[:16] == "1ccf8ce89048e1a4"


def test_a_missing_source_file_is_named_with_the_folder(choices: Choices, tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        Study.from_dict(MINIMAL | {"sources": ["gone.png"]}, folder=tmp_path, choices=choices)
    (line,) = caught.value.problems
    assert line.startswith('sources[0]: there is no file "gone.png"')
    assert str(tmp_path) in line


def test_unknown_family_names_those_that_exist(choices: Choices) -> None:
    (line,) = problems(choices, family="paperdol")
    assert 'did you mean "paperdoll"' in line
    assert line.endswith("allowed: paperdoll, toy")


def test_a_control_without_extractor_is_a_problem_not_a_crash(choices: Choices) -> None:
    (line,) = problems(choices, family="toy", base=["plain"], controls=["sonar"])
    assert line.startswith("controls[0].type:") and "sonar" in line


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "../up"),
        ("name", 7),
        ("base", []),
        ("sources", "a.png"),
        ("sources", []),
        ("controls", [{"type": "canny", "extra": 1}]),
        ("controls", ["canny", {"type": "canny"}]),
        ("controls", [7]),
        ("controls", [{"pair": []}]),
        ("controls", [{"pair": ["canny"]}]),
        ("controls", [{"pair": ["canny", "depth", "hed"]}]),
        ("controls", [{"pair": ["canny", "canny"]}]),
        ("controls", [{"pair": ["canny", "depth"]}, {"pair": ["depth", "canny"]}]),
        ("controls", [{"pair": ["canny", "depth"], "scales": {"hed": [1]}}]),
        ("controls", [{"pair": ["canny", "depth"], "scales": {"depth": []}}]),
        ("controls", [{"pair": ["canny", "depth"], "scales": [0, 1]}]),
        ("controls", [{"pair": ["canny", "depth"], "type": "canny"}]),
        ("prompt", ""),
        ("prompt", ["a, b"]),
        ("prompt", ["a", " "]),
        ("prompt", " , "),
        ("prompt", [True]),
        ("prompt", ["line\nbreak"]),
        ("lengths", [-1]),
        ("lengths", [1.0]),
        ("scales", []),
        ("scales", [float("nan")]),
        ("scales", [float("inf")]),
        ("scales", [0.3, 0.1 + 0.2]),
        ("seeds", [2**32]),
        ("steps", 0),
        ("guidance_scale", 0.5),
        ("scheduler", "heun"),
        ("negative_prompt", "a\nb"),
        ("control_start", -0.1),
        ("control_end", 1.1),
        ("batch_size", 0),
        ("dtype", "float64"),
        ("shortening", {"method": "random", "sed": 1}),
        ("extra_prompts", {"sparse": ["a"]}),
    ],
)
def test_a_wrong_value_is_one_problem_of_its_field(field: str, value: object) -> None:
    (line,) = problems(**{field: value})
    assert line.startswith(field)


def test_a_hostile_value_is_not_repeated_at_length() -> None:
    (line,) = problems(scheduler="x" * 100_000)
    assert len(line) < 400


def test_a_grid_that_is_too_large_is_refused_before_it_is_built() -> None:
    (line,) = problems(seeds=list(range(1000)), scales=[i / 100 for i in range(1000)])
    assert "1,000,000 cells" in line


def test_a_study_whose_table_nothing_could_read_is_refused() -> None:
    words = [f"word {i}" for i in range(90)]
    found = problems(prompt=words, scales=list(range(10)), seeds=list(range(5000)))
    assert len(found) == 1
    assert "5,300,000 readings" in found[0]
    fewer = {"prompt": words, "scales": list(range(10)), "seeds": list(range(3000))}
    assert Study(**MINIMAL | fewer).cell_count == 30_000


def test_not_a_mapping_at_all() -> None:
    with pytest.raises(StudyError):
        Study.model_validate(["a"])


def test_every_scheduler_of_the_families_is_allowed_and_no_other() -> None:
    for name in SAMPLER_NAMES:
        assert Study(**(MINIMAL | {"scheduler": name})).scheduler == name
    written = Study(**(MINIMAL | {"scheduler": "DPM++ 2M Karras"}))
    assert written == Study(**(MINIMAL | {"scheduler": "dpm++ 2m karras"}))
    assert Study(**(MINIMAL | {"scheduler": "UniPC"})).hash == Study(**MINIMAL).hash
    (line,) = problems(scheduler="none")
    assert line.endswith("allowed: " + ", ".join(SAMPLER_NAMES))


def test_hash_ignores_how_a_value_is_written_but_not_what_it_is() -> None:
    one = Study(**(MINIMAL | {"scales": [0, 0.5], "controls": ["canny"]}))
    same = Study(**(MINIMAL | {"scales": [0.0, 0.50], "controls": [{"type": "canny"}]}))
    assert one.hash == same.hash
    assert one.hash != Study(**(MINIMAL | {"scales": [0, 0.6]})).hash


def test_from_yaml_remembers_the_folder_and_equality_ignores_it(
    choices: Choices, tmp_path: Path
) -> None:
    study = Study(**MINIMAL)
    (tmp_path / "s.yaml").write_text(study.to_yaml(), encoding="utf-8")
    back = Study.from_yaml(tmp_path / "s.yaml", choices=choices)
    assert back == study and back.hash == study.hash
    assert back.folder == tmp_path


def test_cell_count_agrees_with_the_lists(study: Callable[..., Study]) -> None:
    assert study().cell_count == 2 * 2 * 2 * 3 * 2
    assert study(shortening="leave-one-out").cell_count == 2 * 2 * 5 * 3 * 2
    assert study(extra_prompts={"empty": []}).cell_count == 2 * 2 * 3 * 3 * 2


def _one_line(text: str) -> bool:
    return text.isprintable() and bool(text.strip()) and not set(text) & set(",，、")


WORDS = st.text(min_size=1, max_size=12).filter(_one_line)
TAGS = st.lists(WORDS, min_size=1, max_size=5, unique_by=lambda text: " ".join(text.split()))


@st.composite
def studies(draw: st.DrawFn) -> Study:
    prompt = draw(TAGS)
    both = draw(st.lists(WORDS, min_size=2, max_size=2, unique=True))
    unique = {"min_size": 1, "max_size": 4, "unique": True}
    scale = st.floats(0, 10, width=32).map(lambda value: round(value, 6) + 0.0)
    return Study(
        name=draw(st.from_regex(r"[a-z0-9][a-z0-9 ._-]{0,20}", fullmatch=True)),
        base=draw(st.lists(WORDS, **unique)),
        sources=draw(
            st.lists(st.integers(0, 10**9).map(lambda seed: f"paperdoll:{seed}"), **unique)
        ),
        controls=[
            {
                "type": draw(WORDS),
                "settings": draw(
                    st.dictionaries(
                        WORDS,
                        st.booleans()
                        | st.integers(-(2**40), 2**40)
                        | st.floats(allow_nan=False, allow_infinity=False)
                        | st.none()
                        | WORDS,
                        max_size=3,
                    )
                ),
            },
            {"pair": both, "scales": {both[1]: draw(st.lists(scale, **unique))}},
        ],
        prompt=prompt,
        lengths=draw(st.lists(st.integers(0, len(prompt)), max_size=3, unique=True)),
        shortening={
            "method": draw(st.sampled_from(["prefix", "random", "leave-one-out"])),
            "seed": draw(st.integers(0, 2**32 - 1)),
        },
        extra_prompts=draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "empty": st.just(None),
                    "insufficient": TAGS,
                    "conflicting": TAGS,
                    "full": TAGS,
                },
            )
        ),
        scales=draw(st.lists(scale, **unique)),
        seeds=draw(st.lists(st.integers(0, 2**32 - 1), **unique)),
        steps=draw(st.integers(1, 1000)),
        guidance_scale=draw(st.floats(1, 30)),
        scheduler=draw(st.sampled_from(SAMPLER_NAMES)),
        negative_prompt=draw(st.just("") | WORDS),
        control_start=draw(st.floats(0, 1)),
        control_end=draw(st.floats(0, 1)),
    )


@given(studies())
@settings(max_examples=150, deadline=None)
def test_study_to_yaml_to_study(study: Study) -> None:
    from workbench.study.yamlfile import parse_yaml

    back = Study.model_validate(parse_yaml(study.to_yaml()))
    assert back == study
    assert back.hash == study.hash


def test_tags_to_keep_are_checked_and_leave_older_studies_their_hash(
    choices: Choices, study: Callable[..., Study]
) -> None:
    plain = study(shortening="prefix")
    assert "keep" not in plain.to_yaml()
    assert plain.hash == study(shortening={"method": "prefix", "keep": []}).hash
    kept = study(lengths=[], shortening={"keep": "snow"})
    assert kept.shortening.keep == ("snow",) and kept.hash != study(lengths=[]).hash
    assert problems(choices, prompt="a girl, snow", shortening={"keep": ["snwo", "snow"]}) == (
        'shortening.keep[0]: "snwo" is not in the prompt (did you mean "snow"?); '
        "allowed: a girl, snow",
    )
    (line,) = problems(
        choices, prompt="a girl, snow", shortening={"method": "random", "keep": "snow"}
    )
    assert line == "shortening.keep: has no meaning with random; allowed: method prefix"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unit": "words", "prompt": "a girl in the snow", "lengths": [6]},
         "lengths[0]: 6 is longer than the prompt; allowed: 0 to 5"),
        ({"unit": "words", "shortening": "random"},
         "shortening: has no meaning with unit: words; allowed: prefix, without keep"),
        ({"forms": {"short": "a", "long": "b"}, "lengths": [1]},
         "lengths: cannot be varied together with forms; allowed: one of the two"),
        ({"forms": {"short": "a"}}, "forms: is one form only; allowed: two forms or more"),
        ({"captions": {"paperdoll:1": {"short": "a", "long": "b"}, "paperdoll:2": "c"}},
         "captions: sources have captions of different forms; allowed: the same names, in the same "
         "order, for each"),
        ({"forms": {"a": "x", "b": "y"}, "captions": {"paperdoll:1": "a", "paperdoll:2": "b"}},
         "forms: has no meaning with captions; allowed: forms of each caption"),
    ],
)  # fmt: skip
def test_lengths_that_cannot_be_are_told(changes: dict[str, Any], said: str) -> None:
    (line,) = problems(sources=["paperdoll:1", "paperdoll:2"], **changes)
    assert line == said


def test_units_and_forms_leave_the_hash_of_studies_without_them_alone() -> None:
    plain = Study(**MINIMAL)
    assert Study(**MINIMAL, unit="tags").hash == plain.hash != Study(**MINIMAL, unit="words").hash
    assert not {"unit", "forms", "literal"} & {*parse_yaml(plain.to_yaml())}
    forms = Study(**{k: v for k, v in MINIMAL.items() if k != "prompt"}, forms={"s": "a", "l": "b"})
    assert forms.prompt == ("b",) and Study.from_dict(parse_yaml(forms.to_yaml())) == forms
