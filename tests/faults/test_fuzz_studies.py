"""Protects the reading of study files from files that are broken, hostile or merely odd.

Over 2,000 seeded files: each gives a study, which comes back when it is written, or sentences that
say what is wrong, within two seconds of processor time and 1 GiB of memory.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from scripts import GIB, result_of

from workbench import yamltext
from workbench.study import Study, StudyError
from workbench.study.fields import FEW, MANY

COUNT = 2100
SEED = 1


@pytest.mark.slow
def test_malformed_studies_are_read_rightly_or_refused(tmp_path: Path) -> None:
    result = result_of("fuzz_studies.py", SEED, COUNT, tmp_path)
    counts = result["counts"]
    assert result["faults"] == []
    assert sum(counts.values()) == COUNT
    assert result["peak"] < GIB
    # The files really are of all kinds: sound ones are read, others are mostly refused.
    assert counts["unharmed read"] == COUNT // 20
    for kind in ("truncated", "flipped", "punctuated", "noise", "other_keys", "other_entries"):
        assert counts[f"{kind} refused"] > 100, kind
    for kind in ("truncated", "documents", "other_values", "many"):
        assert counts.get(f"{kind} read", 0) + counts[f"{kind} refused"] > 100, kind


@pytest.fixture(params=["with C", "without C"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The reader of YAML, and a copy that finds no parser in C; both must keep the same rules."""
    if request.param == "with C":
        return yamltext
    monkeypatch.delattr(yaml, "CSafeLoader")
    spec = importlib.util.spec_from_file_location("yamltext_without_c", yamltext.__file__)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: !!python/name:os.system", "line 1, column 7: tags"),
        ("name: !!binary aGVsbG8=", "tags"),
        ("name: ! x", "tags"),
        ("seeds: !x [1]", "tags"),
        ("a: &a [b]\nc: *a", "line 2, column 4: aliases"),
        ("name: a\n<<: {seeds: [1]}", "line 2, column 1: merge keys"),
        ("name: a\nname: b", "line 2, column 1: the key"),
        ("a: " + "[" * 30 + "]" * 30, "nested too deeply"),
        ("a: " + "[" * 20_000, "nested too deeply"),
        ("a: [" + "1," * yamltext.MAX_NODES + "]", "has more than 30,000 values"),
        ("a: 0x" + "f" * 60_000, "line 1, column 4: is too long for a number"),
        ("a: 1" + ":59" * 20_000, "is too long for a number"),
        ("name: a\0b", "not valid YAML"),
    ],
)
def test_hostile_yaml_is_refused_with_its_place(reader: ModuleType, text: str, words: str) -> None:
    with pytest.raises(reader.YamlError, match=words):
        reader.read_yaml(text, name="s.yaml", what="study")


def test_plain_yaml_is_read_alike(reader: ModuleType) -> None:
    text = "name: &anchor x\nseeds: [1, 0x10, -3]\nscales:\n- 1.5\n- .5\nprompt: |\n  a, b\n"
    assert reader.read_yaml(text, name="s.yaml", what="study") == {
        "name": "x", "seeds": [1, 16, -3], "scales": [1.5, 0.5], "prompt": "a, b\n",
    }  # fmt: skip


def test_aliases_count_as_what_they_stand_for(reader: ModuleType) -> None:
    def read(text: str) -> dict[str, object]:
        found: dict[str, object] = reader.read_yaml(text, name="f", what="catalogue", aliases=True)
        return found

    assert read("a: &x {b: &y [1, 2], c: *y}\nd: *x") == {
        "a": {"b": [1, 2], "c": [1, 2]}, "d": {"b": [1, 2], "c": [1, 2]},
    }  # fmt: skip
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
    )
    for text, words in (
        (bomb, "has more than 30,000 values, too many for a catalogue"),
        ("a: &None [" + "1, " * 20_000 + "]\nb: [1]\nc: *None", "more than 30,000 values"),
        ("a: &x [*x]", r"alias \*x"),
        ("a: *nobody", r"alias \*nobody"),
    ):
        with pytest.raises(reader.YamlError, match=words):
            read(text)


def study(**changes: object) -> Study:
    fields: dict[str, object] = {
        "name": "s", "sources": ["paperdoll:1"], "controls": ["canny"], "prompt": "a girl",
    }  # fmt: skip
    return Study(**(fields | changes))


@pytest.mark.parametrize("settings", [{"low": float("nan")}, {"low": b"x"}, {"low": {1, 2}}])
def test_settings_that_json_cannot_say_are_no_crash(settings: dict[str, object]) -> None:
    chosen = {"type": "canny", "settings": settings}
    with pytest.raises(StudyError, match="appears twice"):
        study(controls=[chosen, chosen])


def test_a_number_too_long_to_print_is_no_crash() -> None:
    with pytest.raises(StudyError, match="steps: a value that is too long to show is too large"):
        study(steps=10**5000)


def test_a_message_stays_readable_however_many_mistakes_there_are() -> None:
    with pytest.raises(StudyError) as caught:
        study(
            scales=[-1] * 500, **{f"x{i}": 1 for i in range(400)}, **{"\x1b[31m": 1, "y" * 5000: 1}
        )
    assert len(caught.value.problems) > 400
    text = str(caught.value)
    assert len(text) < 20_000 and "more" in text
    assert "\x1b" not in "".join(caught.value.problems)


@pytest.mark.parametrize(
    ("field", "count"), [("seeds", MANY), ("sources", MANY), ("scales", FEW), ("prompt", FEW)]
)
def test_whatever_a_study_may_hold_can_be_read_back(field: str, count: int, tmp_path: Path) -> None:
    entries = {
        "seeds": list(range(count + 1)),
        "sources": [f"paperdoll:{i}" for i in range(count + 1)],
        "scales": [i / 1000 for i in range(count + 1)],
        "prompt": [f"tag {i}" for i in range(count + 1)],
    }[field]
    with pytest.raises(StudyError, match=f"allowed: up to {count:,} entries"):
        study(**{field: entries})
    largest = study(**{field: entries[:-1]})
    file = tmp_path / "large.yaml"
    file.write_text(largest.to_yaml(), encoding="utf-8")
    assert Study.from_yaml(file) == largest


def test_a_source_whose_name_no_system_takes_is_a_problem_of_the_study(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    for label in ("a" * 300, "a/" * 3000 + "b", "s.yaml/x"):
        file.write_text(f"name: s\nsources: [{label}]\ncontrols: [canny]\nprompt: a\n")
        with pytest.raises(StudyError, match=r"sources\[0\]: there is no file"):
            Study.from_yaml(file)
