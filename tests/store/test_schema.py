"""Protects the forms of the files of a run, their versions, and the way to plain JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.store import Manifest, Record, SchemaError, StoreError, plain
from workbench.store import schema as schemas
from workbench.store.schema import decode_cells, decode_record, encode_record, upgrade
from workbench.study import Trial

TRIAL = Trial(
    "paperdoll", "render", None, "", None, "snow", "", 1, 20, 5.0, "unipc", 0.0, 0.0, 1.0, 16
)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False,
    allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"]))  # fmt: skip


@given(
    extra=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES, max_size=4),
    row=st.fixed_dictionaries(
        {"cell": st.just("c"), "metric": st.just("m")},
        optional={"value": st.none() | st.floats(allow_nan=False, allow_infinity=False)},
    ),
    size=st.none() | st.integers(0, 2**40),
)
def test_a_record_survives_its_file(
    extra: dict[str, object], row: dict[str, object], size: int | None
) -> None:
    record = Record(
        trial=TRIAL,
        made_by={"device": "cpu"},
        sample_sha256="ab",
        file_sha256="cd",
        file_bytes=size,
        rows=(row,),
        extra=extra,
    )
    assert decode_record(encode_record(record)) == record


def _changed(**change: Any) -> bytes:
    """A sound record of which some parts are others."""
    return json.dumps(json.loads(encode_record(Record(trial=TRIAL))) | change).encode()


@pytest.mark.parametrize(
    ("name", "value"),
    [("value", "high"), ("value", True), ("seed", 0.5), ("seed", 2**63), ("prompt", 1)],
)
def test_a_value_of_the_wrong_type_makes_a_record_damaged(name: str, value: object) -> None:
    assert decode_record(_changed()) == Record(trial=TRIAL)
    with pytest.raises(StoreError, match=f"damaged .{name} is of the wrong type"):
        decode_record(_changed(rows=[{"cell": "c", "metric": "m", name: value}]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": [{"cell": "c"}]}, "metric is missing"),
        ({"rows": [{"cell": "", "metric": "m"}]}, "cell is missing"),
        ({"rows": [{"cell": "c", "metric": "m"}] * 2}, "it has m of cell c twice"),
        ({"cells": {"c": {"seed": "one"}}}, "at c: seed is of the wrong type"),
        ({"made_by": {"tokens": "five"}}, "tokens of its making is of the wrong type"),
        ({"made_by": {"seconds": 10**400}}, "seconds of its making is of the wrong type"),
        ({"trial": {"family": "x"}}, "not a trial"),
        ({"trial": 5}, "its record is damaged"),
        ({"rows": None}, "rows is of the wrong type"),
    ],
)
def test_what_is_wrong_with_a_record_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(StoreError, match=words):
        decode_record(_changed(**change))


@pytest.mark.parametrize("name", ["trial", "made_by", "file_sha256", "failed", "cells", "rows"])
def test_a_record_that_lacks_a_part_is_damaged(name: str) -> None:
    raw = json.loads(_changed())
    del raw[name]
    with pytest.raises(StoreError, match=f"damaged .*{name} is missing"):
        decode_record(json.dumps(raw).encode())


def test_a_file_of_an_older_version_goes_up_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SchemaError, match="an older version"):
        upgrade({"schema": -1}, "it")
    steps = {
        -1: lambda raw: {"schema": 0, "b": raw["a"]},
        0: lambda raw: {"schema": 1, "c": raw["b"]},
    }
    monkeypatch.setattr(schemas, "_STEPS", steps)
    assert upgrade({"schema": -1, "a": 5}, "it") == {"schema": 1, "c": 5}
    for other in (2, "x", None, [1]):
        with pytest.raises(SchemaError, match="another version"):
            upgrade({"schema": other}, "it")


def test_a_manifest_keeps_what_it_does_not_know() -> None:
    raw = {
        "schema": 1,
        "runtime": {"asked": None, "later": 1},
        "executor": {"kind": "k", "workers": [{"name": "a", "device": "cpu"}], "more": [1]},
        "earlier": [{"device": "cuda", "git": None}],
        "unheard": {"of": 1},
    }
    assert Manifest.model_validate(raw).as_json() == raw


def test_planned_cells_of_a_later_version_are_not_guessed_at() -> None:
    assert decode_cells({"schema": 1, "cells": {"c": "t"}}).trials == {"t"}
    assert decode_cells(["c"]).trials is None
    with pytest.raises(SchemaError):
        decode_cells({"schema": 2, "cells": {"c": "t"}})


@given(st.binary(max_size=40))
def test_bytes_that_are_no_record_give_one_error(data: bytes) -> None:
    with pytest.raises(StoreError):
        decode_record(data)


def test_plain_makes_json_of_numpy_and_of_what_is_no_number() -> None:
    value = {
        "f": np.float32(0.5),
        "n": np.float64("nan"),
        "i": np.int64(3),
        "b": np.bool_(True),
        "inf": math.inf,
        "t": (1, [2, math.nan]),
        "a": np.array([1.0, np.nan]),
        "s": {"b", "a"},
        4: None,
    }
    assert plain(value) == {
        "f": 0.5,
        "n": None,
        "i": 3,
        "b": True,
        "inf": None,
        "t": [1, [2, None]],
        "a": [1.0, None],
        "s": ["a", "b"],
        "4": None,
    }
    assert type(plain(np.float64(1.0))) is float


def test_a_record_is_written_for_people_and_read_back_to_the_last_digit() -> None:
    """As the usual writer of JSON would: one value a line, indented, in UTF-8."""
    numbers = [0.1, 1 / 3, 1e-7, 5e-324, 1.7e308, -0.0, 2**62, True, None, "é 日本 😀 \n\x00"]
    data = encode_record(Record(trial=TRIAL, extra={"numbers": numbers}))
    assert repr(json.loads(data)["extra"]["numbers"]) == repr(numbers)
    assert decode_record(data).extra["numbers"] == numbers
    usual = json.dumps(json.loads(data), indent=1, ensure_ascii=False)
    text = data.decode("utf-8")
    assert [line for line in text.splitlines() if "e-" not in line] == [
        line for line in usual.splitlines() if "e-" not in line
    ]
