"""How right a judge of words is on labelled pictures: shares with intervals, and calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10
_DRAWS = 2000


@dataclass(frozen=True)
class Figure:
    """A value in [0, 1] with its 95 % interval; NaN where there is nothing to count."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class WordFigures:
    """How a judge did on the labels of one word, or of all together (word "").

    n: labels, on `pictures` pictures. right: share of labels it agreed with. sensitivity: share of
    the "yes" that it saw; specificity: share of the "no" that it did not see; balanced: their mean.
    calibration_error: see `calibration_error`; by_chance: how large that is on average for a judge
    whose probabilities are true, with so few labels.
    """

    word: str
    n: int
    pictures: int
    right: Figure
    sensitivity: Figure
    specificity: Figure
    balanced: Figure
    calibration_error: Figure
    by_chance: float


def share(hits: np.ndarray, pictures: np.ndarray) -> Figure:
    """Share of bool (N,) with its Wilson interval (Wilson 1927).

    Labels of one picture are not independent, so the interval is that of as many labels as there
    are distinct `pictures` (ids, (N,)): right for one label a picture, else on the wide side.
    """
    from statsmodels.stats.proportion import proportion_confint

    if not len(hits):
        return Figure(math.nan, math.nan, math.nan)
    mean, count = float(hits.mean()), len(np.unique(pictures))
    low, high = proportion_confint(mean * count, count, method="wilson")
    return Figure(mean, float(low), float(high))


def mean_of(a: Figure, b: Figure) -> Figure:
    """The mean of two independent shares; its interval from theirs (Zou and Donner 2008, MOVER)."""
    value = (a.value + b.value) / 2
    down = math.hypot(a.value - a.low, b.value - b.low) / 2
    up = math.hypot(a.high - a.value, b.high - b.value) / 2
    return Figure(value, value - down, value + up)


def calibration_error(probability: np.ndarray, shown: np.ndarray) -> float:
    """Expected calibration error over ten bins of equal width (Naeini, Cooper, Hauskrecht 2015).

    The mean distance between the mean probability (N,) in a bin and the share that is shown
    (N,), weighted by the labels in it. 0 is perfect.
    """
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, probability - shown, minlength=BINS)
    return float(np.abs(gaps).sum() / len(probability))


def word_figures(
    word: str,
    pictures: Sequence[str],
    shown: np.ndarray,
    probability: np.ndarray,
    seen: np.ndarray,
) -> WordFigures:
    """All figures of one word's labels, or of all labels.

    Args:
        word: "" for all.
        pictures: which picture each label is about, (N,).
        shown: bool (N,), what the person says.
        probability, seen: float and bool (N,), what the judge says.
    """
    ids = np.unique(np.asarray(pictures), return_inverse=True)[1]
    yes = share(seen[shown], ids[shown])
    no = share(~seen[~shown], ids[~shown])
    probability = np.clip(probability.astype(float), 0, 1)
    draw = np.random.default_rng(0)
    true_ones = draw.random((_DRAWS, len(shown))) < probability
    return WordFigures(
        word=word,
        n=len(shown),
        pictures=int(ids.max()) + 1,
        right=share(seen == shown, ids),
        sensitivity=yes,
        specificity=no,
        balanced=mean_of(yes, no),
        calibration_error=_with_bootstrap(probability, shown, ids),
        by_chance=float(np.mean([calibration_error(probability, row) for row in true_ones])),
    )


def _with_bootstrap(probability: np.ndarray, shown: np.ndarray, ids: np.ndarray) -> Figure:
    """The calibration error with the percentile interval of a bootstrap over whole pictures."""
    groups = [np.flatnonzero(ids == index) for index in range(int(ids.max()) + 1)]
    draw = np.random.default_rng(0)
    found = []
    for chosen in draw.integers(0, len(groups), (_DRAWS, len(groups))):
        rows = np.concatenate([groups[index] for index in chosen])
        found.append(calibration_error(probability[rows], shown[rows]))
    low, high = np.percentile(found, [2.5, 97.5])
    return Figure(calibration_error(probability, shown), float(low), float(high))
