"""Protects the intervals: the right formula, the right unit (a source), the right coverage."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from workbench.analysis.intervals import ONE_SOURCE, summarise, t_halves

Simulate = Callable[..., pd.DataFrame]


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_interval_agrees_with_scipy(n: int, level: float) -> None:
    values = np.random.default_rng(n).normal(3, 2, n)
    half = t_halves(np.array([values.std(ddof=1)]), np.array([n]), level)[0]
    result = stats.ttest_1samp(values, 0).confidence_interval(level)
    mean = values.mean()
    assert (mean - half, mean + half) == pytest.approx((result.low, result.high))


def test_fewer_than_two_values_have_no_interval() -> None:
    assert np.isnan(t_halves(np.array([math.nan, math.nan]), np.array([0, 1]))).all()


def test_seeds_do_not_count_as_sources(simulate: Simulate) -> None:
    """Twenty seeds of two sources are two independent values, not forty."""
    frame = simulate(lambda s, n: 0.5, lambda s, n: 0.5, sources=2, seeds=20, lengths=(3,))
    rows = frame[frame["metric"] == "canny_f1"]
    found = summarise(rows, "adherence", ["control"]).iloc[0]
    means = rows.groupby("source")["adherence"].mean()
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert found["n_sources"] == 2
    assert found["n_samples"] == 200


def test_unequal_numbers_of_seeds_weigh_sources_equally() -> None:
    frame = pd.DataFrame(
        {
            "source": ["a", "b", "b", "b"],
            "seed": [1, 1, 2, 3],
            "adherence": [0.0, 1.0, 1.0, 1.0],
            "scale": 1.0,
        }
    )
    assert summarise(frame, "adherence", ["scale"]).iloc[0]["mean"] == 0.5


def test_one_source_says_why_there_is_no_interval(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.5, lambda s, n: 0.5, sources=1, seeds=3)
    found = summarise(frame, "adherence", ["metric", "scale"])
    assert found["low"].isna().all()
    assert (found["note"] == ONE_SOURCE).all()
    assert (found["spread"] > 0).all()


def test_an_empty_frame_gives_an_empty_table(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.5, lambda s, n: 0.5).iloc[:0]
    found = summarise(frame, "adherence", ["scale"])
    assert len(found) == 0
    assert "mean" in found
