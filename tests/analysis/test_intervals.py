"""Protects the intervals: the right formula, the right unit (a source), the right coverage."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from workbench.analysis.intervals import ONE_SOURCE, summarise, t_halves
from workbench.analysis.student import freedom, limit, two_sided_p

Simulate = Callable[..., pd.DataFrame]


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_interval_agrees_with_scipy(n: int, level: float) -> None:
    values = np.random.default_rng(n).normal(3, 2, n)
    half = t_halves(np.array([values.std(ddof=1)]), np.array([n]), level)[0]
    mean = values.mean()
    result = stats.t.interval(level, n * (n - 1) / (2 * n - 1), mean, stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx(result)


@pytest.mark.parametrize("n", [4, 9])
def test_the_degrees_of_freedom_are_those_of_readings_with_that_kurtosis(n: int) -> None:
    """A gamma of shape 3 has an excess kurtosis of 2; chi-squared with k has 2 mean² / var = k."""
    variances = np.random.default_rng(n).gamma(3, size=(400_000, n)).var(1, ddof=1)
    assert freedom(n) == pytest.approx(2 * variances.mean() ** 2 / variances.var(), rel=0.06)


@pytest.mark.parametrize("n", [2, 5, 24])
def test_p_fits_the_interval(n: int) -> None:
    assert two_sided_p(limit(n, 0.9), n) == pytest.approx(0.1)
    assert limit(n) > stats.t.ppf(0.975, n - 1)
    assert limit(400) == pytest.approx(1.96, abs=0.02)


@pytest.mark.parametrize("n", [2, 5, 24])
def test_sources_that_agree_may_lack_a_kind(n: int, simulate: Simulate) -> None:
    """As large as a share may be that is seen in none of n; only adherence has a known unit."""
    frame = simulate(lambda s, n: 0.5, lambda s, n: 0.5, sources=n, noise=0, source_sd=0)
    found = summarise(frame[frame["metric"] == "canny_f1"], "adherence", ["scale"])
    most = proportion_confint(0, n, alpha=0.1, method="beta")[1]
    assert (found["high"] - found["mean"]).to_numpy() == pytest.approx(most)
    values = summarise(frame[frame["metric"] == "canny_f1"], "value", ["scale"])
    assert (values["high"] == values["mean"]).all()
    shared = frame[frame["metric"] == "canny_f1"].assign(trial="one", scale=0.0)
    assert (summarise(shared, "adherence", ["scale"])["high"] == found["mean"][0]).all()


def test_fewer_than_two_values_have_no_interval() -> None:
    assert np.isnan(t_halves(np.array([math.nan, math.nan]), np.array([0, 1]))).all()


def test_seeds_do_not_count_as_sources(simulate: Simulate) -> None:
    """Twenty seeds of two sources are two independent values, not forty."""
    frame = simulate(lambda s, n: 0.5, lambda s, n: 0.5, sources=2, seeds=20, lengths=(3,))
    rows = frame[frame["metric"] == "canny_f1"]
    found = summarise(rows, "adherence", ["control"]).iloc[0]
    means = rows.groupby("source")["adherence"].mean()
    half = t_halves(np.array([means.std()]), np.array([2]))[0]
    assert (found["low"], found["high"]) == pytest.approx(
        (means.mean() - half, means.mean() + half)
    )
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
