"""Protects statements that rest on pictures which all sources share: luck is reckoned with."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from workbench.analysis import findings, trend
from workbench.analysis.interaction import interactions
from workbench.analysis.intervals import summarise
from workbench.analysis.shared import above_zero, picture_weights, shared_error
from workbench.analysis.tipping import tipping_scales

TAG = "snow"


def studies(
    runs: int, sources: int, seeds: int, scales: tuple[float, ...], *, lengths: int = 1
) -> pd.DataFrame:
    """Studies of nothing but luck, told apart by `control`; at scale 0 sources share pictures."""
    rng = np.random.default_rng(sources + 10 * seeds)
    table = pd.DataFrame(
        list(product(range(runs), range(sources), range(seeds), range(2, 2 + lengths), scales)),
        columns=["run", "source", "seed", "length", "scale"],
    )
    table["control"] = table["run"].map("c{:04d}".format)
    own = table["source"].where(table["scale"] > 0, -1)
    picture = table.assign(own=own).groupby(["run", "own", "seed", "length", "scale"]).ngroup()
    luck = rng.normal(0.5, 0.1, picture.max() + 1)
    prompts = table["length"].map(lambda n: f"{TAG}, " * n + "x")
    return table.assign(
        trial=picture.map(str), adherence=luck[picture], value=luck[picture], prompt=prompts,
        base="b", metric="clip_used", setting="length", chance=0.0, ceiling=1.0,
    )  # fmt: skip


@pytest.mark.parametrize("scales", [(0.0, 0.4, 0.8, 1.2, 1.6), (0.0, 1.0)], ids=["five", "two"])
@pytest.mark.parametrize(("sources", "seeds", "lengths"), [(5, 2, 1), (8, 2, 3), (15, 4, 1)])
def test_luck_of_shared_pictures_is_called_a_trend_at_most_in_6_of_100(
    sources: int, seeds: int, lengths: int, scales: tuple[float, ...]
) -> None:
    table = studies(600, sources, seeds, scales, lengths=lengths)
    found = trend(table, "clip_used")
    assert found["direction"].isin(["rises", "falls"]).mean() <= 0.06
    alone = trend(table.assign(trial=np.arange(len(table)).astype(str)), "clip_used")
    assert alone["direction"].isin(["rises", "falls"]).mean() > 0.06  # what it would be otherwise


def test_sentences_know_of_shared_pictures() -> None:
    table = studies(1, 5, 2, (0.0, 1.0), lengths=2).assign(control="canny")
    change = trend(table, "clip_used").iloc[0]
    both = pd.concat([table, table.assign(metric="canny_f1")])
    (found,) = [f for f in findings(both) if f.kind == "prompt"]
    assert (found.low, found.high) == (change["change_low"], change["change_high"])


@pytest.mark.slow
@pytest.mark.parametrize("sources", [5, 15])
def test_nor_an_interaction(sources: int) -> None:
    table = studies(500, sources, 2, (0.0, 0.4, 0.8, 1.2), lengths=3)
    metrics = dict.fromkeys(table["control"].unique(), "none")
    found = interactions(table, control_metrics=metrics)
    assert len(found) == 500
    assert found["direction"].isin(["rises", "falls"]).mean() <= 0.06


def test_nor_a_tipping_scale() -> None:
    table = studies(300, 15, 2, (0.0, 0.4, 0.8, 1.2))
    obeyed = (table["value"] > 0.5).astype(float)
    found = tipping_scales(table.assign(metric=f"tag_obeyed:{TAG}", value=obeyed))
    assert len(found) == 300
    assert (found["clear"] & found["answer"].isin(["tips", "gains"])).mean() <= 0.06


def test_the_interval_at_scale_0_is_that_of_the_pictures() -> None:
    table = studies(1, 6, 4, (0.0, 1.0))
    zero = summarise(table, "adherence", ["control", "scale"]).iloc[0]
    seeds = table[(table["scale"] == 0) & (table["source"] == 0)]["adherence"]
    expected = stats.ttest_1samp(seeds, 0).confidence_interval()
    assert (zero["low"], zero["high"]) == pytest.approx((expected.low, expected.high))


def test_a_real_change_is_still_found() -> None:
    table = studies(200, 8, 4, (0.0, 0.4, 0.8, 1.2), lengths=2)
    moved = table["adherence"] + 0.4 * table["scale"]
    found = trend(table.assign(adherence=moved), "clip_used")
    assert (found["direction"] == "rises").mean() > 0.95
    held = (found["change_low"] <= 0.48) & (found["change_high"] >= 0.48)
    assert held.mean() >= 0.93


def test_one_seed_tells_nothing_of_luck_and_the_note_says_so() -> None:
    found = trend(studies(1, 6, 1, (0.0, 1.0)), "clip_used").iloc[0]
    assert "all sources share pictures of one seed" in found["note"]


def test_pictures_of_their_own_change_nothing() -> None:
    table = studies(20, 5, 2, (0.4, 1.0))
    shared = shared_error(table, "adherence", ["control"], 20)
    assert not shared.shares.any() and (shared.variance == 0).all()
    assert above_zero(table) is table
    assert (picture_weights(table, ["metric", "control"]) == 1).all()


def test_a_shared_picture_counts_once_in_all() -> None:
    table = studies(1, 5, 2, (0.0, 1.0))
    weights = picture_weights(table, ["metric"])
    assert weights[table["scale"] == 0].sum() == pytest.approx(2)
    assert (weights[table["scale"] > 0] == 1).all()
    assert set(above_zero(table)["scale"]) == {1.0}
