"""Protects prompt length × scale: the truth is found, nothing is not, and a failure is said."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from workbench.analysis import interaction as module
from workbench.analysis.interaction import MODEL, SLOPES, interaction, interactions

LENGTHS, SCALES = (2, 4, 7), (0.0, 0.4, 0.8, 1.2, 1.6)


def points(
    sources: int, effect: float, rng: np.random.Generator, *, between: float = 0.02
) -> pd.DataFrame:
    """Sources that differ in level, both slopes and interaction around the true effect."""
    grid = list(product(range(sources), LENGTHS, SCALES))
    table = pd.DataFrame(grid, columns=["source", "length", "scale"])
    own = rng.normal(0, [[0.1], [0.02], [0.05], [between]], (4, sources))[:, table["source"]]
    mean = 0.5 + own[0] + (own[1] - 0.02) * table["length"] + (own[2] + 0.4) * table["scale"]
    product_ = (own[3] + effect) * (table["length"] - 4) * (table["scale"] - 0.8)
    return table.assign(adherence=mean + product_ + rng.normal(0, 0.03, len(table)))


@pytest.mark.parametrize("effect", [-0.08, 0.08])
def test_a_true_interaction_is_found_with_its_size(effect: float) -> None:
    found = interaction(points(8, effect, np.random.default_rng(0)))
    assert found["method"] == MODEL and found["reason"] == ""
    assert found["direction"] == ("rises" if effect > 0 else "falls")
    assert found["low"] < effect < found["high"]  # type: ignore[operator]


def test_with_complete_data_the_model_is_the_t_test_of_one_slope_per_source() -> None:
    table = points(7, 0.03, np.random.default_rng(1))
    found = interaction(table)
    assert found["method"] == MODEL
    slopes = []
    for _, mine in table.groupby("source"):
        x = np.stack([np.ones(15), mine["length"], mine["scale"], mine["length"] * mine["scale"]])
        slopes.append(np.linalg.lstsq(x.T, mine["adherence"].to_numpy(), rcond=None)[0][3])
    law = stats.t(7 * 6 / 13, np.mean(slopes), stats.sem(slopes))  # seven sources, see `student`
    assert found["interaction"] == pytest.approx(np.mean(slopes), rel=1e-3)
    assert (found["low"], found["high"]) == pytest.approx(law.interval(0.95), rel=1e-2)
    assert found["p"] == pytest.approx(2 * law.cdf(0), rel=0.02)


def test_the_fit_of_complete_data_is_the_known_solution() -> None:
    """`interaction` takes the short way with complete data; the fitted model agrees with it."""
    table = points(7, 0.03, np.random.default_rng(1))
    found = interaction(table)
    a, b = ((table[k] - table[k].mean()) / table[k].std(ddof=0) for k in ("length", "scale"))
    unit = table["length"].std(ddof=0) * table["scale"].std(ddof=0)
    design = np.stack([np.ones(len(table)), a, b, a * b], axis=1)
    fit = module.mixed_model(table["adherence"].to_numpy(), design, table["source"].to_numpy())
    assert not isinstance(fit, str)
    estimate, error = (value / unit for value in fit)
    assert found["interaction"] == pytest.approx(estimate, rel=1e-3)
    half = stats.t.ppf(0.975, 7 * 6 / 13) * error
    assert (found["low"], found["high"]) == pytest.approx(
        (estimate - half, estimate + half), rel=0.01
    )


def test_gaps_are_no_problem() -> None:
    table = points(8, 0.08, np.random.default_rng(2)).sample(frac=0.7, random_state=0)
    found = interaction(table)
    assert found["direction"] == "rises"
    assert found["low"] < 0.08 < found["high"]  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sources", "between", "gaps", "runs"),
    [(5, 0.02, 0, 1000), (8, 0.01, 0, 1000), (5, 0.02, 3, 100), (5, 0.0, 3, 100)],
)
def test_no_interaction_is_called_one_at_most_in_6_of_100(
    sources: int, between: float, gaps: int, runs: int
) -> None:
    rng = np.random.default_rng(sources + gaps)
    found = [interaction(points(sources, 0, rng, between=between).iloc[gaps:]) for _ in range(runs)]
    wrong = np.mean([row["direction"] in ("rises", "falls") for row in found])
    assert 0.005 < wrong <= 0.06


def test_few_sources_fall_back_and_say_so() -> None:
    found = interaction(points(4, 0.08, np.random.default_rng(3)))
    assert found["method"] == SLOPES
    assert "needs 5 sources" in str(found["reason"])
    assert found["direction"] == "rises"


def test_sources_that_agree_exactly_are_not_counted_by_picture() -> None:
    """Without a difference between sources the model's error would rest on pictures."""
    reasons = set()
    for seed in range(8):
        found = interaction(points(5, 0.0, np.random.default_rng(seed), between=0.0))
        if found["method"] == SLOPES:
            reasons.add(found["reason"])
    assert any("no difference between sources" in str(reason) for reason in reasons)


def test_a_model_that_fails_is_replaced_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from statsmodels.regression.mixed_linear_model import MixedLM

    def broken(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(MixedLM, "fit", broken)
    table = points(6, 0.08, np.random.default_rng(4)).iloc[1:]
    found = interaction(table)
    assert found["method"] == SLOPES
    assert found["reason"] == f"{module.FAILED} (Singular matrix)"
    assert found["direction"] == "rises"


def test_one_source_has_no_interval_and_constant_data_no_effect() -> None:
    one = interaction(points(1, 0.1, np.random.default_rng(5)))
    assert one["direction"] == "cannot tell"
    assert np.isnan(one["low"])  # type: ignore[call-overload]
    flat = interaction(points(6, 0.1, np.random.default_rng(5)).assign(adherence=0.5))
    assert flat["direction"] == "no clear effect"


def test_the_table_covers_control_and_prompt(demo_frame: pd.DataFrame) -> None:
    found = interactions(demo_frame)
    assert set(zip(found["control"], found["what"], strict=True)) == set(
        product(("canny", "depth"), ("control", "prompt"))
    )
    assert found["n_sources"].eq(4).all()
    assert interactions(demo_frame[demo_frame["length"] == 7]).empty
    assert interactions(demo_frame[demo_frame["scale"] == 0.8]).empty


def test_two_lengths_and_two_scales_have_slopes_but_no_model() -> None:
    """Four points fit four coefficients exactly: no noise is left, and none is divided by."""
    table = points(6, 0.05, np.random.default_rng(2), between=0.0)
    table = table[table["length"].isin([2, 7]) & table["scale"].isin([0.0, 1.6])]
    found = interaction(table)
    assert (found["method"], found["reason"]) == (SLOPES, module.BARE)
    corner = table.set_index(["source", "length", "scale"])["adherence"].unstack([1, 2])
    slopes = (corner[7, 1.6] - corner[7, 0.0] - corner[2, 1.6] + corner[2, 0.0]) / (5 * 1.6)
    assert found["interaction"] == pytest.approx(slopes.mean())
    interval = stats.t.interval(0.95, 6 * 5 / 11, slopes.mean(), stats.sem(slopes))
    assert (found["low"], found["high"]) == pytest.approx(interval)
