"""Protects the record format and its conversion to plain JSON."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.store import Record, StoreError
from workbench.store.records import decode_record, encode_record, plain
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
)
def test_a_record_survives_its_file(extra: dict[str, object], row: dict[str, object]) -> None:
    record = Record(TRIAL, {"device": "cpu"}, "ab", "cd", rows=(row,), extra=extra)
    assert decode_record(encode_record(record)) == record


@pytest.mark.parametrize(
    ("name", "value"),
    [("value", "high"), ("value", True), ("seed", 0.5), ("seed", 2**63), ("prompt", 1)],
)
def test_a_value_of_the_wrong_type_makes_a_record_damaged(name: str, value: object) -> None:
    record = Record(TRIAL, rows=({"cell": "c", "metric": "m", name: value},))
    with pytest.raises(StoreError, match=f"damaged .{name} is of the wrong type"):
        decode_record(encode_record(record))


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
