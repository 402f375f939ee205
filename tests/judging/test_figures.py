"""Protects the figures of an audit: against other implementations, by limits, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from workbench.judging.figures import Figure, calibration_error, mean_of, share, word_figures


def test_the_interval_of_a_share_is_wilsons() -> None:
    """Against the formula written out (Wilson 1927)."""
    hits = np.array([True] * 44 + [False] * 8)
    found = share(hits, np.arange(52))
    n, p, z = 52, 44 / 52, 1.959964
    middle, reach = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    assert found.value == pytest.approx(p)
    assert (found.low, found.high) == pytest.approx(
        ((middle - reach) / scale, (middle + reach) / scale), abs=1e-6
    )


def test_several_labels_of_one_picture_do_not_narrow_an_interval() -> None:
    hits = np.array([True, False, True, True] * 5)
    once = share(hits, np.arange(20))
    four = share(np.repeat(hits, 4), np.repeat(np.arange(20), 4))
    assert four == once
    assert math.isnan(share(np.zeros(0, bool), np.zeros(0)).value)


def test_the_mean_of_two_shares_covers_the_truth() -> None:
    draw = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        parts = [share(draw.random(n) < p, np.arange(n)) for n, p in ((24, 0.9), (28, 0.75))]
        found = mean_of(*parts)
        covered += found.low <= (0.9 + 0.75) / 2 <= found.high
    assert 930 <= covered <= 985
    same = Figure(0.5, 0.4, 0.6)
    assert mean_of(same, same).low == pytest.approx(0.5 - 0.1 / math.sqrt(2))


def test_the_calibration_error_is_that_of_torchmetrics() -> None:
    from torchmetrics.functional.classification import binary_calibration_error

    draw = np.random.default_rng(2)
    for n in (10, 52, 500):
        probability = draw.random(n) ** 2
        shown = draw.random(n) < probability**0.5
        wanted = binary_calibration_error(
            torch.tensor(probability), torch.tensor(shown).int(), n_bins=10, norm="l1"
        )
        assert calibration_error(probability, shown) == pytest.approx(float(wanted), abs=1e-6)
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0


def test_a_judge_with_true_probabilities_shows_what_is_said_by_chance() -> None:
    draw = np.random.default_rng(3)
    names = [str(i) for i in range(60)]
    probability = draw.random(60)
    errors = [calibration_error(probability, draw.random(60) < probability) for _ in range(500)]
    shown = draw.random(60) < probability
    found = word_figures("", names, shown, probability, probability >= 0.5)
    assert found.by_chance == pytest.approx(np.mean(errors), abs=0.01)


def test_all_figures_of_a_word() -> None:
    shown = np.array([True] * 10 + [False] * 10)
    seen = np.array([True] * 8 + [False] * 11 + [True])
    names = [f"{i}.png" for i in range(20)]
    found = word_figures("hat", names, shown, seen.astype(float), seen)
    assert (found.word, found.n, found.pictures) == ("hat", 20, 20)
    values = (found.sensitivity, found.specificity, found.balanced, found.right)
    assert [figure.value for figure in values] == pytest.approx([0.8, 0.9, 0.85, 0.85])
    for figure in (*values, found.calibration_error):
        assert figure.low <= figure.value <= figure.high
    assert found.calibration_error.value == pytest.approx(0.15)
    one_class = word_figures("hat", names[:10], shown[:10], seen[:10].astype(float), seen[:10])
    assert math.isnan(one_class.specificity.value) and one_class.sensitivity.value == 0.8
