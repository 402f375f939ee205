"""Protects the plain values: no NaN without a reason, one direction per metric."""

from __future__ import annotations

import dataclasses
import math

import pytest

from workbench.metrics import MetricSpec, Reading


def test_nan_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="reason"):
        Reading(math.nan)
    reading = Reading.nothing("the wanted map has no edges")
    assert reading.is_nan
    assert reading.reason == "the wanted map has no edges"
    assert not Reading(0.0).is_nan


def test_direction_decides_what_is_better() -> None:
    up = MetricSpec("f1", "F1", higher_is_better=True, low=0, high=1)
    down = MetricSpec("rmse", "RMSE", higher_is_better=False, low=0)
    assert up.is_better(0.9, 0.8)
    assert not up.is_better(0.8, 0.8)
    assert down.is_better(0.1, 0.2)
    assert not down.is_better(math.nan, 1)
    assert (up.best, down.best) == (1, 0)


def test_wrong_specs_are_refused_and_right_ones_fixed() -> None:
    with pytest.raises(ValueError, match="identifier"):
        MetricSpec("canny f1", "x", higher_is_better=True)
    with pytest.raises(ValueError, match="below"):
        MetricSpec("a", "x", higher_is_better=True, low=1, high=0)
    spec = MetricSpec("a", "x", higher_is_better=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "b"  # type: ignore[misc]
