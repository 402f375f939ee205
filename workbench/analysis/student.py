"""Student's t for few sources, whose readings are skewed and clumped.

With n sources the usual n - 1 degrees of freedom belong to normal readings. The spread of a few
skewed ones is known worse: the degrees of freedom of a sample variance are 2 / (k/n + 2/(n - 1)),
with k the excess kurtosis (F. Satterthwaite, "An approximate distribution of estimates of variance
components", Biometrics Bull. 2, 1946; B. O'Neill, "Some useful moment results in sampling
problems", Amer. Statist. 68, 2014). A kurtosis cannot be told from so few readings. `KURTOSIS` is
the least whole number with which intervals of real readings hold what docs/statistics.md promises;
`benchmarks/coverage.py` prints how often they do. Everything that compares sources asks here.
"""

from __future__ import annotations

import numpy as np

KURTOSIS = 2.0
"""The excess kurtosis of readings over sources for which intervals are made; 0 is a normal's."""


def freedom(n: np.ndarray | int, kurtosis: float = KURTOSIS) -> np.ndarray:
    """Degrees of freedom of the standard error of a mean of n ≥ 2 sources: about half of n - 1.

    Args:
        n: how many sources, int (G,) or a number; fewer than two count as two.
        kurtosis: the excess kurtosis of what is read; with 0 there are n - 1.

    Returns:
        float, of the shape of n.
    """
    n = np.maximum(np.asarray(n, dtype=float), 2)
    return np.asarray(2 / (kurtosis / n + 2 / (n - 1)))


def limit(n: np.ndarray | int, level: float = 0.95) -> np.ndarray:
    """So many standard errors the interval of a mean of n sources reaches to each side."""
    return reach(freedom(n), level)


def reach(degrees: np.ndarray | float, level: float = 0.95) -> np.ndarray:
    """So many standard errors an interval of Student's t reaches to each side.

    Args:
        degrees: of freedom, float or int, any shape.

    Returns:
        float, of the shape of `degrees`.
    """
    degrees = np.asarray(degrees)
    if not degrees.size:  # a run without pictures is shown before SciPy is loaded
        return np.zeros(degrees.shape)
    from scipy.stats import t

    # Thousands of pairs of points have few different numbers of sources.
    different, places = np.unique(degrees, return_inverse=True)
    return np.asarray(t.ppf(0.5 + level / 2, different)[places].reshape(degrees.shape))


def two_sided_p(ratio: np.ndarray | float, n: np.ndarray | int) -> np.ndarray:
    """p of a mean of n sources that lies so many standard errors from 0, to fit `limit`."""
    from scipy.stats import t

    return np.asarray(2 * t.sf(np.abs(ratio), freedom(n)))
