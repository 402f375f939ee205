"""Protects the tipping scale: the right fit, an interval that covers, an answer where none tips."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from statsmodels.api import Logit, add_constant

from workbench.analysis import tipping_scales, tipping_words
from workbench.analysis.tipping import firth_logistic, tipping

PRECISE = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000}
SCALES = np.array([0.0, 0.4, 0.8, 1.2, 1.6])


def obeying(chance: np.ndarray, seeds: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    counts = np.full(chance.shape, float(seeds))
    return counts, rng.binomial(seeds, chance).astype(float)


def simulated(
    tags: dict[str, tuple[float, float]], *, sources: int = 8, seeds: int = 6, spread: float = 0.15
) -> pd.DataFrame:
    """A frame in which the chance of a tag is one half at a scale that varies by source."""
    rng = np.random.default_rng(3)
    rows = []
    for (tag, (tip, steep)), source in product(tags.items(), range(sources)):
        own = tip + rng.normal(0, spread)
        for scale, seed in product(SCALES, range(seeds)):
            chance = 1 / (1 + math.exp(steep * (scale - own)))
            rows.append(
                {
                    "cell": f"{source}-{scale}-{seed}", "source": f"s{source}",
                    "control": "depth+pose", "base": "b", "setting": "length", "length": len(tags),
                    "prompt": ", ".join(tags), "scale": scale, "seed": seed,
                    "metric": f"tag_obeyed:{tag}", "value": float(rng.random() < chance),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


TAGS = {"long hair": (0.5, 8.0), "winter": (1.1, 8.0), "snow": (6.0, 2.0), "rain": (-4.0, 2.0)}


@pytest.mark.parametrize("obeyed", [(5, 4, 2, 1, 0), (5, 5, 5, 0, 0), (5, 5, 5, 5, 5), (0,) * 5])
def test_the_fit_maximises_the_penalised_likelihood(obeyed: tuple[int, ...]) -> None:
    """Held against a general optimiser; the last three cases are separated, two of them wholly."""
    counts, found = np.full(5, 5.0), np.array(obeyed, dtype=float)
    design = np.stack([np.ones(5), SCALES], axis=1)

    def loss(beta: np.ndarray) -> float:
        eta = design @ beta
        p = 1 / (1 + np.exp(-eta))
        information = (design * (counts * p * (1 - p))[:, None]).T @ design
        likelihood = (found * eta - counts * np.logaddexp(0, eta)).sum()
        return float(-likelihood - 0.5 * np.log(np.linalg.det(information)))

    best = minimize(loss, np.zeros(2), method="Nelder-Mead", options=PRECISE)
    fit = firth_logistic(SCALES, counts[None], found[None])[0]
    assert fit == pytest.approx(best.x, abs=1e-4)


def test_with_many_pictures_the_penalty_vanishes() -> None:
    rng = np.random.default_rng(0)
    chance = 1 / (1 + np.exp(4 * (SCALES - 0.9)))
    counts, obeyed = obeying(chance, 5000, rng)
    x = np.repeat(SCALES, 5000)
    y = np.concatenate([np.arange(5000) < k for k in obeyed]).astype(float)
    plain = Logit(y, add_constant(x)).fit(disp=0)
    assert firth_logistic(SCALES, counts[None], obeyed[None])[0] == pytest.approx(
        plain.params, rel=2e-3
    )


def test_many_fits_at_once_are_those_one_by_one() -> None:
    rng = np.random.default_rng(1)
    counts, obeyed = obeying(rng.uniform(0, 1, (40, 5)), 3, rng)
    together = firth_logistic(SCALES, counts, obeyed)
    alone = [firth_logistic(SCALES, counts[i : i + 1], obeyed[i : i + 1])[0] for i in range(40)]
    assert together == pytest.approx(np.array(alone), abs=1e-6)
    assert np.isfinite(together).all()


@pytest.mark.parametrize("sources", [5, 8, 15])
def test_the_interval_covers_the_truth(sources: int) -> None:
    """Sources tip at scales of their own around 0.8; three seeds each. Wide rather than narrow."""
    rng, runs, held, wrong = np.random.default_rng(sources), 500, 0, 0
    for _ in range(runs):
        tips = rng.normal(0.8, 0.25, (sources, 1))
        found = tipping(SCALES, *obeying(1 / (1 + np.exp(5 * (SCALES - tips))), 3, rng))
        low, high = found["low"], found["high"]
        assert isinstance(low, float) and isinstance(high, float)
        held += low <= 0.8 <= high
        wrong += bool(found["clear"]) and found["answer"] != "tips"
    assert 0.93 <= held / runs <= 0.99
    assert wrong / runs <= 0.01


def test_a_word_the_scale_leaves_alone_is_rarely_said_to_tip() -> None:
    """Obeyed by half, more or less, at every scale: there is nothing to find."""
    rng, runs, wrong = np.random.default_rng(9), 500, 0
    for _ in range(runs):
        level = 1 / (1 + np.exp(-rng.normal(0, 1, (6, 1))))
        found = tipping(SCALES, *obeying(np.repeat(level, 5, axis=1), 3, rng))
        wrong += bool(found["clear"])
    assert wrong / runs <= 0.06


def test_every_kind_of_answer_is_found() -> None:
    found = tipping_scales(simulated(TAGS)).set_index("tag")
    assert list(found.index[:1]) == ["rain"]
    assert found["answer"].to_dict() == {
        "rain": "always", "long hair": "tips", "winter": "tips", "snow": "never",
    }  # fmt: skip
    assert found["clear"].all()
    for tag in ("long hair", "winter"):
        row = found.loc[tag]
        assert row["low"] < TAGS[tag][0] < row["high"]
        assert row["low"] < row["scale"] < row["high"]
    assert found.loc["long hair", "scale"] < found.loc["winter", "scale"]
    assert found.loc[["snow", "rain"], "scale"].isna().all()
    assert (found["control"] == "depth+pose").all()
    words = {
        tag: tipping_words({str(k): v for k, v in row.items()}) for tag, row in found.iterrows()
    }
    assert words["snow"] == "never within 0 to 1.6"
    assert words["rain"] == "always: not obeyed even at 0"
    assert words["winter"].startswith(f"{found.loc['winter', 'scale']:.2f} [")


def test_the_other_way_round_is_no_tipping() -> None:
    found = tipping_scales(simulated({"snow": (0.8, -8.0)})).iloc[0]
    assert found["answer"] == "gains"
    assert found["slope"] > 0
    assert found["low"] < 0.8 < found["high"]


def test_one_source_has_no_interval() -> None:
    found = tipping_scales(simulated(TAGS, sources=1))
    assert found[["low", "high"]].isna().all(axis=None)
    assert not found["clear"].any()
    assert found["note"].str.contains("one source").all()


def test_perfect_separation_gives_a_scale_between_the_two() -> None:
    """Every picture obeys up to 0.8, none does after: the fit stays finite and tips in the gap."""
    counts = np.full((5, 5), 4.0)
    obeyed = np.tile([4.0, 4, 4, 0, 0], (5, 1))
    found = tipping(SCALES, counts, obeyed)
    assert found["answer"] == "tips"
    assert found["scale"] == pytest.approx(1.0, abs=0.02)
    assert found["clear"]
    low, high = found["low"], found["high"]
    assert isinstance(low, float) and isinstance(high, float)
    assert 0.7 < low < 0.95 and 1.05 < high < 1.3  # no finer than the scales that were tried


def test_missing_pictures_and_an_empty_frame() -> None:
    frame = simulated(TAGS)
    holes = frame[(frame["source"] != "s1") | (frame["scale"] < 1)]
    assert set(tipping_scales(holes)["n_sources"]) == {8}
    assert tipping_scales(frame.iloc[:0]).empty
    assert tipping_scales(frame[frame["scale"] == 0.4]).empty
