"""Numbers as text: what a reader of a report, a figure or a terminal sees."""

from __future__ import annotations

import math

import pytest

from workbench import formats


@pytest.mark.parametrize(
    ("value", "text"), [(0.634, "0.63"), (-0.5, "−0.50"), (-0.001, "0.00"), (math.nan, "–")]
)
def test_columns_have_a_fixed_count_of_decimals(value: float, text: str) -> None:
    assert formats.fixed(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.001, "0"), (0.4, "0.4"), (1.25, "1.25"), (10.0, "10"), (-0.5, "−0.5"),
     (math.nan, "–")],
)  # fmt: skip
def test_numbers_have_no_zeros_at_the_end(value: float, text: str) -> None:
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.123"), (-0.5, "−0.5"), (1234.5, "1234"), (math.nan, "–")]
)
def test_large_numbers_are_never_written_with_an_exponent(value: float, text: str) -> None:
    assert formats.significant(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.812, "+0.81"), (-0.0648, "−0.065"), (12.34, "+12.3"), (-250.4, "−250")]
)
def test_differences_are_short_and_signed(value: float, text: str) -> None:
    assert formats.signed(value) == text
    assert formats.plain(abs(value)) == text[1:]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")]
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


def test_bytes_have_their_unit() -> None:
    assert formats.gigabytes(7_640_000_000) == "7.6 GB"
    assert formats.mebibytes(1.5 * 2**20) == "1.5 MiB"
