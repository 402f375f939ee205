"""Protects the ranking of control types: its order, its correction, what it leaves open."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from workbench.analysis import ALL_CONTROLS, findings, ranking
from workbench.analysis.ranking import holm

Simulate = Callable[..., pd.DataFrame]


def several(
    simulate: Simulate, gains: dict[str, float], *, sources: int = 6, noise: float = 0.05
) -> pd.DataFrame:
    """Control types (named at will) whose adherence grows by their gain per unit of scale."""
    frames = []
    for number, (name, gain) in enumerate(gains.items()):
        frame = simulate(
            lambda s, n, gain=gain: gain * s, lambda s, n: 0.5, sources=sources, noise=noise,
            lengths=(3, 7), scales=(0.0, 0.8, 1.6), control_name=name, rng_seed=7,
        )  # fmt: skip
        shaken = np.random.default_rng(number).normal(0, noise, len(frame))
        frames.append(frame.assign(adherence=frame["adherence"] + shaken))
    return pd.concat(frames, ignore_index=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12))
def test_holm_agrees_with_statsmodels(values: list[float]) -> None:
    found = holm(np.array(values))
    known = [i for i, v in enumerate(values) if not math.isnan(v)]
    assert np.isnan(np.delete(found, known)).all()
    if known:
        expected = multipletests([values[i] for i in known], method="holm")[1]
        assert found[known] == pytest.approx(expected)


def test_types_stand_in_the_order_of_their_means(simulate: Simulate) -> None:
    frame = several(simulate, {"canny": 0.2, "depth": 0.6, "hed": 0.4})
    metrics = dict.fromkeys(("canny", "depth", "hed"), "canny_f1")
    ranks, pairs = ranking(frame, control_metrics=metrics)
    assert sorted(ranks["scale"].unique()) == [0.8, 1.6]  # at 0 the control has no say
    for _, group in ranks.groupby("scale"):
        assert list(group["control"]) == ["depth", "hed", "canny"]
        assert list(group["rank"]) == [1, 2, 3]
        assert list(group["mean"]) == sorted(group["mean"], reverse=True)
    last = ranks[ranks["scale"] == 1.6].set_index("control")
    assert last.loc["depth", "better_than"] == "hed, canny"
    assert (last["rank_low"] == last["rank"]).all() and (last["rank_high"] == last["rank"]).all()
    assert len(pairs) == 2 * 3
    assert (pairs["p_holm"] >= pairs["p"]).all()


def test_pairs_are_paired_t_tests_by_source(simulate: Simulate) -> None:
    frame = several(simulate, {"canny": 0.5, "depth": 0.55})
    _, pairs = ranking(frame, control_metrics={"canny": "canny_f1", "depth": "canny_f1"})
    row = pairs[pairs["scale"] == 0.8].iloc[0]
    mine = frame[(frame["scale"] == 0.8) & (frame["metric"] == "canny_f1")]
    means = mine.groupby(["control", "source"])["adherence"].mean().unstack(0)
    away, n = means[row["first"]] - means[row["second"]], len(means)
    freedom = n * (n - 1) / (2 * n - 1)
    interval = stats.t.interval(0.95, freedom, away.mean(), stats.sem(away))
    assert (row["low"], row["high"]) == pytest.approx(interval)
    result = stats.ttest_rel(means[row["first"]], means[row["second"]])
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(result.statistic), freedom))
    assert row["p_holm"] == row["p"]  # one pair: nothing to correct


@pytest.mark.slow
def test_equal_types_are_told_apart_at_most_in_6_of_100_rankings() -> None:
    """Four equal types, sources of different level: every base model is a ranking of its own."""
    rankings, names = 1000, ("canny", "depth", "hed", "pose")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        list(product(range(rankings), range(6), names)), columns=["base", "source", "control"]
    )
    level = rng.normal(0, 0.2, rankings * 6)[table["base"] * 6 + table["source"]]
    table = table.assign(
        adherence=0.5 + level + rng.normal(0, 0.1, len(table)), seed=1, setting="length",
        scale=1.0, metric="canny_f1",
    )  # fmt: skip
    ranks, pairs = ranking(table, control_metrics=dict.fromkeys(names, "canny_f1"))
    wrong = (pairs["better"] != "").groupby(pairs["base"]).any()
    assert len(wrong) == rankings
    assert 0.001 < wrong.mean() <= 0.06
    # Without the correction one ranking in ten would tell some of them apart.
    assert (pairs["p"] < 0.05).groupby(pairs["base"]).any().mean() > 0.06
    settled = (ranks["rank_low"] == ranks["rank_high"]).groupby(ranks["base"]).any()
    assert (settled <= wrong).all()


def test_ranks_left_open_hold_all_that_is_not_clear(simulate: Simulate) -> None:
    frame = several(simulate, {"canny": 0.5, "depth": 0.5, "hed": 0.1})
    metrics = dict.fromkeys(("canny", "depth", "hed"), "canny_f1")
    ranks, _ = ranking(frame, control_metrics=metrics)
    last = ranks[ranks["scale"] == 1.6].set_index("control")
    for name in ("canny", "depth"):
        assert (last.loc[name, "rank_low"], last.loc[name, "rank_high"]) == (1, 2)
    assert last.loc["hed", "rank_low"] == 3


def test_sources_that_only_one_type_has_do_not_count_in_a_pair(simulate: Simulate) -> None:
    frame = several(simulate, {"canny": 0.5, "depth": 0.55})
    frame = frame[(frame["control"] == "canny") | (frame["source"] != "s0")]
    ranks, pairs = ranking(frame, control_metrics={"canny": "canny_f1", "depth": "canny_f1"})
    assert set(pairs["n_sources"]) == {5}
    assert set(ranks["n_sources"]) == {5, 6}


def test_bases_are_ranked_apart(simulate: Simulate) -> None:
    one = several(simulate, {"canny": 0.2, "depth": 0.6})
    two = several(simulate, {"canny": 0.6, "depth": 0.2}).assign(base="ink")
    metrics = {"canny": "canny_f1", "depth": "canny_f1"}
    ranks, _ = ranking(pd.concat([one, two]), control_metrics=metrics)
    first = ranks[ranks["rank"] == 1].groupby("base")["control"].unique()
    assert list(first["ink"]) == ["canny"] and list(first["render"]) == ["depth"]


def test_one_source_and_one_type_rank_without_claims(simulate: Simulate) -> None:
    metrics = {"canny": "canny_f1", "depth": "canny_f1"}
    ranks, pairs = ranking(
        several(simulate, {"canny": 0.2, "depth": 0.6}, sources=1), control_metrics=metrics
    )
    assert ranks[["low", "high", "rank_low", "rank_high"]].isna().all(axis=None)
    assert pairs[["p", "p_holm", "low", "mde"]].isna().all(axis=None)
    assert (pairs["better"] == "").all()
    ranks, pairs = ranking(several(simulate, {"canny": 0.2}))
    assert (ranks["rank"] == 1).all() and pairs.empty
    empty = several(simulate, {"canny": 0.2}).iloc[:0]
    assert ranking(empty)[0].empty


def test_the_first_is_named_only_where_it_is_clear(simulate: Simulate) -> None:
    metrics = {"canny": "canny_f1", "depth": "canny_f1"}
    clear = several(simulate, {"canny": 0.2, "depth": 0.6})
    found = [f for f in findings(clear, control_metrics=metrics) if f.kind == "ranking"]
    assert len(found) == 2 and {f.control for f in found} == {ALL_CONTROLS}
    assert all("depth is obeyed most" in f.text and f.low > 0 for f in found)
    equal = several(simulate, {"canny": 0.5, "depth": 0.5})
    for finding in findings(equal, control_metrics=metrics):
        if finding.kind == "ranking":
            assert finding.direction == "no clear effect"
            assert "no clear first" in finding.text and "obeyed most" not in finding.text
