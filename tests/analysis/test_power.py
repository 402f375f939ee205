"""Protects the minimum detectable effect: a study of that size really finds it in 80 %."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from benchmarks.coverage import in_use
from workbench.analysis.power import minimum_detectable, standard_effect
from workbench.analysis.student import limit


@pytest.mark.parametrize("n", [3, 5, 8, 40])
def test_studies_of_that_effect_find_it_four_times_in_five(n: int) -> None:
    effect = standard_effect(n)
    low, high = in_use(np.random.default_rng(n).normal(effect, 1, (20_000, n)))
    assert ((low > 0) | (high < 0)).mean() == pytest.approx(0.8, abs=0.012)


@pytest.mark.parametrize("n", [8, 15, 40])
def test_it_agrees_with_statsmodels(n: int) -> None:
    alpha = 2 * stats.t.sf(limit(n), n - 1)  # at which the usual test asks for as much
    assert standard_effect(n) == pytest.approx(
        TTestPower().solve_power(nobs=n, alpha=alpha, power=0.8), rel=2e-3
    )


def test_it_scales_with_the_spread_and_shrinks_with_sources() -> None:
    found = minimum_detectable(np.array([1.0, 2.0, 1.0, 1.0]), np.array([5, 5, 6, 1]))
    assert found[1] == pytest.approx(2 * found[0])
    assert found[2] < found[0]
    assert math.isnan(found[3])
