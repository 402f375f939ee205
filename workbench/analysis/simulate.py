"""Simulated studies with a known truth: which interval covers it as often as it promises?

One simulated study has n sources and a few seeds for each. What is estimated is the mean effect
over all sources there could be. The shapes are those that measurements take: adherence is bounded
and piles up below its ceiling, sources differ unevenly, some sources leave much to the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis.methods import METHODS, WILD, student_t, wild_holds

if TYPE_CHECKING:
    import pandas as pd

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
    import pandas as pd

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
