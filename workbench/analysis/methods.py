"""Ways to put an interval around a mean of sources, many data sets at a time.

All take one mean per source (seeds, prompts and bases of a source averaged before) and return
the two ends of a two-sided interval. `intervals` uses the one that keeps its promise with few
sources: `simulate` compares them, and docs/statistics.md holds the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Literal

import numpy as np

Ends = tuple[np.ndarray, np.ndarray]
Weights = Literal["rademacher", "webb"]

DRAWS = 999
WEBB = tuple(sign * math.sqrt(k / 2) for sign in (-1, 1) for k in (1, 2, 3))
_CELLS = 4_000_000
"""Data sets are worked on in parts of about this many (data set, draw) pairs."""


def student_t(means: np.ndarray, level: float = 0.95, seed: int = 0) -> Ends:
    """Student's t on one mean per source: exact where these means are normal.

    Args:
        means: float (R, n): R data sets of n ≥ 2 sources each, without NaN.
        level: coverage wanted, between 0 and 1.
        seed: has no part in this method; all methods are called alike.

    Returns:
        low, high: float (R,) each.
    """
    from scipy.stats import t

    means = _checked(means, level)
    n = means.shape[1]
    centre, half = means.mean(1), float(t.ppf(0.5 + level / 2, n - 1)) * _error(means)
    return centre - half, centre + half


def percentile(means: np.ndarray, level: float = 0.95, seed: int = 0) -> Ends:
    """Percentile bootstrap: quantiles of the mean of n sources drawn with replacement.

    B. Efron, "Bootstrap methods: another look at the jackknife", Ann. Statist. 7 (1979).
    Arguments and result as in `student_t`; `seed` fixes the draws.
    """
    means = _checked(means, level)
    ends = [(1 - level) / 2, (1 + level) / 2]
    shares = _drawn_shares(means.shape[1], seed)
    return _in_parts(means, lambda part: np.quantile(part @ shares.T, ends, axis=1))


def bca(means: np.ndarray, level: float = 0.95, seed: int = 0) -> Ends:
    """Bias-corrected and accelerated bootstrap.

    B. Efron, "Better bootstrap confidence intervals", J. Amer. Statist. Assoc. 82 (1987),
    with the acceleration from the jackknife over sources. Arguments and result as in `student_t`.
    """
    from scipy.stats import norm

    means = _checked(means, level)
    n = means.shape[1]
    shares = _drawn_shares(n, seed)
    ends = norm.ppf([(1 - level) / 2, (1 + level) / 2])

    def of(part: np.ndarray) -> np.ndarray:
        drawn = np.sort(part @ shares.T, axis=1)
        centre = part.mean(1, keepdims=True)
        below = (drawn < centre).mean(1) + 0.5 * (drawn == centre).mean(1)
        bias = norm.ppf(np.clip(below, 1 / DRAWS, 1 - 1 / DRAWS))
        away = centre - part  # a left-out source moves the mean by this / (n - 1)
        power = 6 * (away**2).sum(1) ** 1.5
        speed = np.divide(-(away**3).sum(1), power, out=np.zeros(len(part)), where=power > 0)
        found = []
        for end in ends:
            z = bias + (bias + end) / (1 - speed * (bias + end))
            place = np.clip(norm.cdf(z) * (DRAWS - 1), 0, DRAWS - 1)
            left = np.floor(place).astype(int)
            right = np.minimum(left + 1, DRAWS - 1)
            rows = np.arange(len(part))
            found.append(
                drawn[rows, left] + (place - left) * (drawn[rows, right] - drawn[rows, left])
            )
        return np.stack(found)

    return _in_parts(means, of)


def studentised(means: np.ndarray, level: float = 0.95, seed: int = 0) -> Ends:
    """Bootstrap-t: Student's t with critical values from sources drawn with replacement.

    B. Efron and R. Tibshirani, *An Introduction to the Bootstrap* (1993), section 12.5. Draws of
    one source n times over have no error of their own and count as infinitely far off, so with
    three or four sources the interval has no end. Arguments and result as in `student_t`.
    """
    means = _checked(means, level)
    n = means.shape[1]
    shares = _drawn_shares(n, seed)
    ends = [(1 + level) / 2, (1 - level) / 2]

    def of(part: np.ndarray) -> np.ndarray:
        centred = part - part.mean(1, keepdims=True)
        drawn = centred @ shares.T
        variance = np.maximum(centred**2 @ shares.T - drawn**2, 0) / (n - 1)
        tiny = 1e-12 * centred.var(1, keepdims=True)
        ratio = np.where(
            variance > tiny, drawn / np.sqrt(np.maximum(variance, tiny + 1e-300)),
            np.copysign(math.inf, drawn),
        )  # fmt: skip
        limits = np.quantile(ratio, ends, axis=1, method="closest_observation")
        return part.mean(1) - limits * _error(part)

    return _in_parts(means, of)


def wild(means: np.ndarray, level: float = 0.95, seed: int = 0, weights: Weights = "webb") -> Ends:
    """Wild cluster bootstrap-t with the null imposed, turned into an interval.

    A value belongs to the interval when the test of it is not significant: distances of the
    sources from it are multiplied by random weights, and the share of draws with a |t| at least
    as large as the real one is p. A. C. Cameron, J. Gelbach and D. Miller, "Bootstrap-based
    improvements for inference with clustered errors", Rev. Econ. Stat. 90 (2008); six-point
    weights for few clusters: M. D. Webb, "Reworking wild bootstrap based inference for clustered
    errors", Queen's Economics Department Working Paper 1315 (2014). All combinations of weights
    are used where there are no more than `DRAWS` of them.

    Args:
        means, level, seed: as in `student_t`.
        weights: "rademacher" (±1) or "webb" (±√½, ±1, ±√1½).

    Returns:
        low, high: float (R,) each; infinite where no value can be excluded, which ±1 cannot do
        with five sources or fewer.
    """
    means = _checked(means, level)
    draws = _wild_draws(means.shape[1], weights, seed)

    def of(part: np.ndarray) -> np.ndarray:
        centre, error = part.mean(1), np.maximum(_error(part), 1e-300)
        found = []
        for side in (-1.0, 1.0):
            inside, outside = np.zeros(len(part)), np.full(len(part), 1000.0)
            endless = _wild_p(part, centre + side * outside * error, draws) > 1 - level
            for _ in range(16):
                # The end lies a few errors away: halve in proportion, not in difference.
                middle = np.sqrt((1 + inside) * (1 + outside)) - 1
                kept = _wild_p(part, centre + side * middle * error, draws) > 1 - level
                inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
            found.append(centre + side * np.where(endless, math.inf, inside) * error)
        return np.stack(found)

    return _in_parts(means, of)


def wild_holds(
    means: np.ndarray, value: float, level: float = 0.95, seed: int = 0, weights: Weights = "webb"
) -> np.ndarray:
    """Whether the interval of `wild` holds a value, bool (R,): one test in place of a search."""
    means = _checked(means, level)
    draws = _wild_draws(means.shape[1], weights, seed)
    kept = [_wild_p(part, np.full(len(part), value), draws) > 1 - level for part in _parts(means)]
    return np.concatenate(kept)


def wild_rademacher(means: np.ndarray, level: float = 0.95, seed: int = 0) -> Ends:
    """`wild` with weights ±1."""
    return wild(means, level, seed, "rademacher")


def wild_webb(means: np.ndarray, level: float = 0.95, seed: int = 0) -> Ends:
    """`wild` with Webb's six weights."""
    return wild(means, level, seed, "webb")


METHODS: dict[str, Callable[[np.ndarray, float, int], Ends]] = {
    "Student t": student_t,
    "percentile": percentile,
    "BCa": bca,
    "bootstrap-t": studentised,
    "wild, ±1": wild_rademacher,
    "wild, Webb": wild_webb,
}
WILD: dict[str, Weights] = {"wild, ±1": "rademacher", "wild, Webb": "webb"}


def _checked(means: np.ndarray, level: float) -> np.ndarray:
    if not 0 < level < 1:
        raise ValueError(f"level: {level} is not between 0 and 1")
    means = np.asarray(means, dtype=float)
    if means.ndim != 2 or means.shape[1] < 2:
        raise ValueError(f"means: need (data sets, at least 2 sources), got {means.shape}")
    return means


def _error(means: np.ndarray) -> np.ndarray:
    """Standard error of the mean over sources, (R,)."""
    return np.asarray(means.std(1, ddof=1) / math.sqrt(means.shape[1]))


def _in_parts(means: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> Ends:
    low, high = np.concatenate([of(part) for part in _parts(means)], axis=1)
    return low, high


def _parts(means: np.ndarray) -> list[np.ndarray]:
    return np.array_split(means, max(1, math.ceil(len(means) * DRAWS / _CELLS)))


def _drawn_shares(n: int, seed: int) -> np.ndarray:
    """Share of every source in each draw of n sources with replacement, (DRAWS, n)."""
    rng = np.random.default_rng([seed, n])
    return rng.multinomial(n, np.full(n, 1 / n), size=DRAWS) / n


def _wild_draws(n: int, weights: Weights, seed: int) -> np.ndarray:
    """Weights of the sources, (draws, n); the first draw leaves all as it is."""
    values = (-1.0, 1.0) if weights == "rademacher" else WEBB
    if len(values) ** n <= DRAWS:
        return np.array(list(product(values, repeat=n)))
    drawn = np.random.default_rng([seed, n]).choice(values, size=(DRAWS, n))
    drawn[0] = 1.0
    return drawn


def _wild_p(means: np.ndarray, null: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Two-sided p of each data set's own null value, (R,)."""
    n = means.shape[1]
    away = means - null[:, None]
    squares = away**2
    real = _t_squared(away.mean(1), squares.mean(1), n)
    drawn = _t_squared(away @ draws.T / n, squares @ (draws**2).T / n, n)
    return np.asarray((drawn >= real[:, None] * (1 - 1e-9)).mean(1))


def _t_squared(mean: np.ndarray, square: np.ndarray, n: int) -> np.ndarray:
    """t² from the mean and the mean square of n values; infinite where they do not vary."""
    variance = (square - mean**2) / (n - 1)
    flat = variance <= 1e-14 * square
    return np.where(flat, math.inf, mean**2 / np.where(flat, 1.0, variance))
