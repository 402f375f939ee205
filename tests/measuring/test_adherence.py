"""Protects the arithmetic of adherence and the rule that NaN always has a reason."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.measuring import Reference, adherence
from workbench.measuring.adherence import unknown
from workbench.metrics.spec import MetricSpec

UP = MetricSpec("up", "Up", True, low=0.0, high=1.0)
DOWN = MetricSpec("down", "Down", False, low=0.0, high=255.0)
OPEN = MetricSpec("open", "Open", False, low=0.0)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.2, 0.0), (0.7, 1.0), (0.45, 0.5), (0.1, -0.2), (0.8, 1.2)]
)
def test_between_chance_and_ceiling(value: float, expected: float) -> None:
    found, reason = adherence(value, Reference(0.2, 0.7), UP)
    assert found == pytest.approx(expected)
    assert reason == ""


def test_lower_is_better_needs_no_other_formula() -> None:
    assert adherence(60.0, Reference(100.0, 20.0), DOWN)[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("value", "reference", "spec", "word"),
    [
        (math.nan, Reference(0.2, 0.7), UP, "no value"),
        (0.5, unknown("one source"), UP, "one source"),
        (0.5, Reference(0.2, math.nan), UP, "unknown"),
        (0.5, Reference(0.5, 0.519), UP, "not clearly better"),
        (0.5, Reference(0.7, 0.2), UP, "not clearly better"),
        (50.0, Reference(20.0, 100.0), DOWN, "not clearly better"),
        (50.0, Reference(100.0, 95.0), DOWN, "not clearly better"),
        (0.0, Reference(0.0, 0.0), OPEN, "not clearly better"),
        (0.1, Reference(0.1, 0.0999), OPEN, "not clearly better"),
    ],
)
def test_nan_has_a_reason(value: float, reference: Reference, spec: MetricSpec, word: str) -> None:
    found, reason = adherence(value, reference, spec)
    assert math.isnan(found)
    assert word in reason


@given(
    st.floats(-2, 2),
    st.floats(0, 0.4),
    st.floats(0.5, 1),
)
def test_an_affine_metric_gives_the_same_adherence(
    value: float, chance: float, ceiling: float
) -> None:
    flipped = MetricSpec("flipped", "Flipped", False, low=0.0, high=1.0)
    there = adherence(value, Reference(chance, ceiling), UP)[0]
    back = adherence(1 - value, Reference(1 - chance, 1 - ceiling), flipped)[0]
    assert there == pytest.approx(back, abs=1e-9)
