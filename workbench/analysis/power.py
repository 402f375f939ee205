"""What a study could not have found: the minimum detectable effect."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from workbench.analysis.student import limit

POWER = 0.8


def minimum_detectable(
    spread: np.ndarray | float, n: np.ndarray | int, *, level: float = 0.95, power: float = POWER
) -> np.ndarray:
    """The least true mean whose t interval over sources would exclude 0 with a given power.

    From the noncentral t distribution; J. Cohen, *Statistical Power Analysis for the Behavioral
    Sciences*, 2nd ed. (1988), chapter 2. The spread is itself an estimate, so with few sources
    the result is a rough figure.

    Args:
        spread: standard deviation over sources of what is tested, float (G,) or a number.
        n: how many sources, int (G,) or a number.
        level: coverage of the interval. power: the share of studies that would find it.

    Returns:
        float (G,), in the unit of the spread; NaN with fewer than two sources.
    """
    spread, n = np.atleast_1d(np.asarray(spread, dtype=float)), np.atleast_1d(np.asarray(n))
    sizes = {int(size): standard_effect(int(size), level, power) for size in np.unique(n)}
    return spread * np.array([sizes[int(size)] for size in n])


@lru_cache(maxsize=1024)
def standard_effect(n: int, level: float = 0.95, power: float = POWER) -> float:
    """The minimum detectable effect in standard deviations over sources; NaN below two."""
    from scipy.optimize import brentq
    from scipy.stats import chi2, norm

    if n < 2:
        return math.nan
    least = float(limit(n, level))
    # The noncentral t is a normal over a chi; scipy's own gives NaN for few sources.
    steps = (np.arange(4000) + 0.5) / 4000
    reach = least * np.sqrt(chi2.ppf(steps, n - 1) / (n - 1))

    def missing(shift: float) -> float:
        found = norm.sf(reach - shift) + norm.cdf(-reach - shift)
        return float(found.mean()) - power

    return float(brentq(missing, 0.0, 2 * least)) / math.sqrt(n)
