"""Protects the reader of study files from broken and hostile YAML."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.study import Study, StudyError
from workbench.study.yamlfile import (
    MAX_BYTES,
    dump_entries,
    dump_yaml,
    first_comment,
    parse_yaml,
    read_text,
    shipped_studies,
    study_file,
)


def refused(text: str) -> str:
    with pytest.raises(StudyError) as caught:
        parse_yaml(text, name="s.yaml")
    (line,) = caught.value.problems
    return line


def test_a_repeated_key_is_named_with_its_place() -> None:
    assert refused("name: a\nseeds: [1]\nname: b\n") == (
        's.yaml, line 3, column 1: the key "name" appears twice'
    )
    assert "twice" in refused("shortening: {seed: 1, seed: 2}")


def test_broken_yaml_names_the_line() -> None:
    assert refused("name: a\nseeds: [1\nsteps: 3\n").startswith("s.yaml, line 3")


def test_aliases_are_refused_so_that_a_small_file_cannot_grow() -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    assert "aliases" in refused(bomb)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['true']",
        "name: !!python/name:os.system",
        "",
        "- a\n- b\n",
        "just text",
        "1: a\n",
        "? [a, b]\n: c\n",
        "name: a\x00b",
        "date: 2024-99-99",
    ],
)
def test_what_is_not_a_plain_mapping_is_refused(text: str) -> None:
    assert refused(text)


def test_deep_nesting_is_refused_without_a_crash() -> None:
    assert "deep" in refused("a: " + "[" * 20_000)


def test_a_large_file_is_refused_by_size(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(StudyError, match="too large"):
        read_text(path)
    assert "too large" in refused("#" * (MAX_BYTES + 1))


def test_missing_folder_and_binary_files_give_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.yaml", ".", "binary.yaml"):
        with pytest.raises(StudyError) as caught:
            Study.from_yaml(tmp_path / name)
        assert len(caught.value.problems) == 1


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: a\r\n")
    assert parse_yaml(read_text(path)) == {"name": "a"}


def test_a_bare_name_is_a_study_of_the_package_where_there_is_no_such_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the folder one stands in: an installed package has its studies out of sight."""
    monkeypatch.chdir(tmp_path)
    shipped = shipped_studies()
    (tmp_path / "demo").mkdir()  # a folder of that name hides nothing
    assert study_file("demo") == shipped["demo"]
    assert Study.from_yaml("demo").folder == shipped["demo"].parent
    (tmp_path / "demo").rmdir()
    (tmp_path / "demo").write_text("name: mine\n")
    assert study_file("demo") == Path("demo")
    assert study_file(tmp_path / "demo") == tmp_path / "demo"


@pytest.mark.parametrize(
    "named", ["demmo", "./demo", "demo.yaml", "data/studies/demo.yaml", "a\0b" * 300]
)
def test_a_study_that_is_nowhere_is_told_with_those_that_there_are(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError) as caught:
        Study.from_yaml(named)
    (line,) = caught.value.problems
    assert "no such file" in line and "founding-experiment" in line
    assert ('did you mean "demo"' in line) == ("dem" in named)


def test_each_study_of_the_package_says_in_its_first_line_what_it_is() -> None:
    told = {name: first_comment(path) for name, path in shipped_studies().items()}
    assert told["demo"].startswith("The founding question")
    assert all(text[:1].isupper() and text[-1] in ".?" for text in told.values())


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z_]{0,20}", fullmatch=True),
        PLAIN | st.lists(PLAIN) | st.dictionaries(st.text(), PLAIN | st.lists(PLAIN)),
        max_size=6,
    )
)
def test_a_study_written_entry_by_entry_is_the_one_written_whole(values: dict[str, object]) -> None:
    values = {**values, "seeds": [1, 2]}
    assert dump_entries(values) == dump_entries(values) == dump_yaml(values)
