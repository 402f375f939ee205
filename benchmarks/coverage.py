"""Which interval keeps its promise with few sources? Prints the tables of docs/statistics.md.

    python benchmarks/coverage.py [--runs 10000] [--reading-runs 200] [--tipping-runs 500]
        [--seed 0]

Every cell is the share of simulated studies, in per cent, whose 95 % interval holds the truth;
in brackets its median width as a multiple of the width of Student's t. The first table has the
lowest share and the greatest width of the shapes with a promise. Then come tipping scales, and
last the table of docs/trust.md, which is made of resampled real readings, see `readings`.

One simulated study has n sources and a few seeds for each. What is estimated is the mean effect
over all sources there could be. The shapes are those that measurements take: adherence is bounded
and piles up below its ceiling, sources differ unevenly, some sources leave much to the seed. Every
method takes one mean per source (seeds, prompts and base models of a source averaged before);
`workbench.analysis` uses the first, which keeps its promise with few sources.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd

from workbench.analysis.intervals import t_halves
from workbench.analysis.tipping import tipping

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


def in_use(means: np.ndarray, level: float = 0.95, seed: int = 0) -> Ends:
    """The interval of `workbench.analysis`: Student's t with fewer degrees of freedom.

    See `workbench.analysis.student`. Arguments and result as in `student_t`.
    """
    means = _checked(means, level)
    runs, n = means.shape
    centre, half = means.mean(1), t_halves(means.std(1, ddof=1), np.full(runs, n), level)
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


IN_USE = "in use"
METHODS: dict[str, Callable[[np.ndarray, float, int], Ends]] = {
    IN_USE: in_use,
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


SOURCES = (3, 5, 8, 15, 40)
SEEDS = 3
FEW = 200
"""Widths of the wild bootstraps are taken from so many data sets."""

Draw = Callable[[np.random.Generator, int, int], np.ndarray]


@dataclass(frozen=True)
class Shape:
    """How a measurement is spread.

    draw(rng, R, n) gives R data sets as (R, n, SEEDS). truth is the mean over all sources.
    promised: whether the interval is meant to keep its promise here.
    """

    name: str
    draw: Draw
    truth: float
    promised: bool = True
    about: str = ""


def _normal(rng: np.random.Generator, runs: int, n: int) -> np.ndarray:
    source = rng.normal(0.3, 0.1, (runs, n, 1))
    return source + rng.normal(0, 0.08, (runs, n, SEEDS))


def _skewed(rng: np.random.Generator, runs: int, n: int) -> np.ndarray:
    source = 0.3 + 0.1 * (rng.gamma(4, size=(runs, n, 1)) - 4) / 2
    return source + rng.normal(0, 0.08, (runs, n, SEEDS))


def _bounded(rng: np.random.Generator, runs: int, n: int) -> np.ndarray:
    source = rng.beta(6, 2, (runs, n, 1))
    return rng.beta(20 * source, 20 * (1 - source), (runs, n, SEEDS))


def _uneven(rng: np.random.Generator, runs: int, n: int) -> np.ndarray:
    source = rng.normal(0.3, 0.05, (runs, n, 1))
    noise = 0.08 * np.exp(rng.normal(0, 0.8, (runs, n, 1)))
    return source + noise * rng.normal(size=(runs, n, SEEDS))


def _very_skewed(rng: np.random.Generator, runs: int, n: int) -> np.ndarray:
    source = 0.2 + 0.1 * rng.exponential(size=(runs, n, 1))
    return source + rng.normal(0, 0.02, (runs, n, SEEDS))


def _shared_seeds(rng: np.random.Generator, runs: int, n: int) -> np.ndarray:
    source = rng.normal(0.3, 0.1, (runs, n, 1))
    return source + rng.normal(0, 0.08, (runs, 1, SEEDS)) + rng.normal(0, 0.04, (runs, n, SEEDS))


SHAPES = (
    Shape("normal", _normal, 0.3, about="sources and seeds vary normally"),
    Shape("skewed", _skewed, 0.3, about="sources vary with a skewness of 1 (gamma)"),
    Shape("bounded", _bounded, 0.75, about="in [0, 1], piled up below 1 (beta in beta)"),
    Shape("uneven seeds", _uneven, 0.3, about="the spread over seeds differs tenfold by source"),
    Shape("very skewed", _very_skewed, 0.3, False, "sources vary exponentially (skewness 2)"),
    Shape(
        "shared seeds", _shared_seeds, 0.3, False,
        "a seed moves all sources alike; the truth is that over all seeds",
    ),
)  # fmt: skip


def shape_named(name: str) -> Shape:
    """The shape of that name; KeyError if there is none."""
    return {shape.name: shape for shape in SHAPES}[name]


def coverage(
    *,
    shapes: Iterable[Shape] = SHAPES,
    sources: Sequence[int] = SOURCES,
    methods: Sequence[str] = tuple(METHODS),
    runs: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """How often the interval of each method holds the truth.

    Args:
        runs: simulated studies for each shape and number of sources.
        seed: fixes the studies and the draws of the bootstraps.

    Returns:
        One row per shape, n_sources and method: promised (bool), coverage (share of the runs),
        width (median of its width divided by that of Student's t on the same data, infinite where
        half the intervals have no end).
    """
    rows = []
    for number, shape in enumerate(shapes):
        for n in sources:
            rng = np.random.default_rng([seed, number, n])
            means = shape.draw(rng, runs, n).mean(2)
            for name in methods:
                held, width = _judged(name, means, shape.truth, level, seed)
                rows.append(
                    {
                        "shape": shape.name,
                        "promised": shape.promised,
                        "n_sources": n,
                        "method": name,
                        "coverage": float(held.mean()),
                        "width": width,
                    }
                )
    return pd.DataFrame(rows)


def _judged(
    name: str, means: np.ndarray, truth: float, level: float, seed: int
) -> tuple[np.ndarray, float]:
    """Which data sets' intervals hold the truth, and how wide they are against Student's t."""
    if name in WILD:
        held = wild_holds(means, truth, level, seed, WILD[name])
        means = means[:FEW]  # the search for the ends is slow
    low, high = METHODS[name](means, level, seed)
    if name not in WILD:
        held = (low <= truth) & (truth <= high)
    usual_low, usual_high = student_t(means, level)
    return held, float(np.median((high - low) / (usual_high - usual_low)))


def tipping_coverage(
    sources: Iterable[int] = (5, 8, 15), runs: int = 500, seed: int = 0
) -> pd.DataFrame:
    """How often the interval of a tipping scale holds the scale at which half of all pictures obey.

    Each source has a scale of its own at which its pictures give way, normally distributed around
    the truth; four pictures of each at five scales obey or not, by a logistic curve. The truth
    stands at the middle of the range or near its end, sources differ much or little, and the
    curve is steep or flat.

    Returns:
        One row per number of sources and kind: n_sources, truth, spread, steepness, coverage.
    """
    scales, pictures = np.linspace(0, 1.6, 5), 4
    rows = []
    for n, truth, spread, steep in product(sources, (0.8, 1.2), (0.1, 0.3, 0.5), (4.0, 12.0)):
        rng = np.random.default_rng([seed, n])
        held = 0
        for own in rng.normal(truth, spread, (runs, n, 1)):
            share = 1 / (1 + np.exp(steep * (scales - own)))
            counts = np.full(share.shape, float(pictures))
            found = tipping(scales, counts, rng.binomial(pictures, share).astype(float))
            held += found["low"] <= truth <= found["high"]  # type: ignore[operator]
        rows.append((n, truth, spread, steep, held / runs))
    return pd.DataFrame(rows, columns=["n_sources", "truth", "spread", "steepness", "coverage"])


def main() -> None:
    """Read the command line, simulate, print."""
    from readings import best_scale_coverage, kurtosis_table, reading_coverage, reading_table

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000, help="simulated studies for each cell")
    parser.add_argument(
        "--reading-runs", type=int, default=200, help="studies of real readings for each cell"
    )
    parser.add_argument("--tipping-runs", type=int, default=500, help="the same for tipping scales")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.perf_counter()
    found = coverage(runs=options.runs, seed=options.seed)
    print(f"{options.runs} simulated studies for each cell, seed {options.seed}\n")
    print(worst(found))
    print()
    print(table(found))
    tips = tipping_coverage(runs=options.tipping_runs, seed=options.seed)
    print(f"\n{options.tipping_runs} simulated studies for each tipping scale: held, in per cent\n")
    kinds = ["truth", "spread", "steepness"]
    print((100 * tips.pivot_table("coverage", kinds, "n_sources")).round(1).to_string())
    runs, seed = options.reading_runs, options.seed
    found = pd.concat(
        [reading_coverage(runs=runs, seed=seed), best_scale_coverage(runs=runs, seed=seed)]
    )
    print(f"\n{runs} simulated studies of each real reading\n")
    print(reading_table(found))
    print(f"\n20000 simulated studies of each real reading\n\n{kurtosis_table()}")
    print(f"\n{time.perf_counter() - began:.0f} s")


def table(found: pd.DataFrame) -> str:
    """The result of `coverage` as a Markdown table: coverage and relative width."""
    keys = ["shape", "n_sources"]
    shares = found.pivot_table(index=keys, columns="method", values="coverage", sort=False)
    widths = found.pivot_table(index=keys, columns="method", values="width", sort=False)
    methods = list(dict.fromkeys(found["method"]))
    lines = [f"| shape | sources | {' | '.join(methods)} |", "|---|--:|" + "--:|" * len(methods)]
    notes = {shape.name: "" if shape.promised else " *" for shape in SHAPES}
    for key in shares.index:
        shape, n = key
        cells = [f"{100 * shares.loc[key, m]:.1f} ({_times(widths.loc[key, m])})" for m in methods]
        lines.append(f"| {shape}{notes[shape]} | {n} | {' | '.join(cells)} |")
    return "\n".join(lines)


def worst(found: pd.DataFrame) -> str:
    """What `table` tells, over the promised shapes: the lowest coverage and the greatest width."""
    promised = found[found["shape"].isin([shape.name for shape in SHAPES if shape.promised])]
    places = promised.groupby(["method", "n_sources"], sort=False)
    low, wide = places["coverage"].min(), places["width"].max()
    counts = list(dict.fromkeys(found["n_sources"]))
    lines = [f"| sources | {' | '.join(map(str, counts))} |", "|---|" + "--:|" * len(counts)]
    for method in dict.fromkeys(found["method"]):
        cells = [f"{100 * low[method, n]:.1f} ({_times(wide[method, n])})" for n in counts]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _times(ratio: float) -> str:
    return "no end" if ratio == float("inf") else f"{ratio:.2f}"


if __name__ == "__main__":
    main()
