"""Protects the verdicts: a direction only where the data bear it out."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from workbench.analysis import curve, per_tag, tag_slopes, trend
from workbench.analysis.tags import silhouette_contrast
from workbench.analysis.trends import chain_statistics, wilcoxon_p

Simulate = Callable[..., pd.DataFrame]
OUTLINE = ("a girl", "long hair")


def chain(y: np.ndarray) -> pd.DataFrame:
    """Readings of one source, seed and prompt along the scale."""
    return pd.DataFrame({"scale": np.arange(float(len(y))), "adherence": y}).assign(
        source="s", seed=1, base="b", prompt="p"
    )


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_agrees_with_scipy(ties: bool) -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 4, 9).astype(float) if ties else rng.normal(size=9)
    found = chain_statistics(chain(y), "adherence", "scale")
    assert found["rho"].tolist() == pytest.approx([stats.spearmanr(np.arange(9), y).statistic])


def test_spearman_of_a_constant_is_no_trend() -> None:
    assert chain_statistics(chain(np.ones(4)), "adherence", "scale")["rho"].tolist() == [0]
    assert chain_statistics(chain(np.ones(1)), "adherence", "scale").empty


def test_wilcoxon_needs_five_sources() -> None:
    values = np.array([0.9, 0.8, 1.0, 0.7, 0.95])
    assert math.isnan(wilcoxon_p(values[:4]))
    assert wilcoxon_p(values) == pytest.approx(stats.wilcoxon(values).pvalue)
    assert wilcoxon_p(np.zeros(5)) == 1.0


@pytest.mark.parametrize("n", [5, 6, 9, 12])
def test_wilcoxon_agrees_with_scipy(n: int) -> None:
    values = np.random.default_rng(n).normal(0.3, 1, n)
    assert wilcoxon_p(values) == pytest.approx(stats.wilcoxon(values).pvalue)


def test_wilcoxon_is_exact_with_ties() -> None:
    """Held against all sign patterns, one by one."""
    values = np.array([0.5, -0.5, 1.0, 1.0, 1.0, -0.2, 0.5])
    ranks = stats.rankdata(np.abs(values))
    sums = [ranks[np.array(signs)].sum() for signs in product((True, False), repeat=7)]
    real = min(ranks[values > 0].sum(), ranks[values < 0].sum())
    assert wilcoxon_p(values) == pytest.approx(min(1, 2 * np.mean(np.array(sums) <= real)))
    assert wilcoxon_p(np.array([*values, 0.0])) == wilcoxon_p(values)


def test_change_and_slope_are_paired_by_source_and_seed(simulate: Simulate) -> None:
    """A source's own level drops out: with no other noise every source shows the same change."""
    frame = simulate(lambda s, n: 0.5 * s, lambda s, n: 0.5, noise=0, source_sd=10)
    row = trend(frame, "canny_f1").iloc[0]
    assert row["change"] == pytest.approx(0.8)
    assert row["change_high"] - row["change_low"] == pytest.approx(0, abs=1e-9)
    assert row["slope"] == pytest.approx(0.5)
    assert row["rho"] == pytest.approx(1)
    assert (row["x_first"], row["x_last"]) == (0.0, 1.6)


@pytest.mark.parametrize(("slope", "verdict"), [(0.4, "rises"), (-0.4, "falls")])
def test_a_true_trend_is_found(simulate: Simulate, slope: float, verdict: str) -> None:
    frame = simulate(lambda s, n: 0.5 + slope * s, lambda s, n: 0.5)
    row = trend(frame, "canny_f1").iloc[0]
    assert row["direction"] == verdict
    assert row["change_low"] <= 1.6 * slope <= row["change_high"]
    assert "Wilcoxon" in row["note"]
    assert math.isnan(row["p"])


def test_six_sources_allow_the_test(simulate: Simulate) -> None:
    row = trend(simulate(lambda s, n: 0.4 * s, lambda s, n: 0.5, sources=6), "canny_f1").iloc[0]
    assert row["p"] == pytest.approx(2 / 2**6)
    assert row["note"] == ""


def test_one_source_allows_no_verdict(simulate: Simulate) -> None:
    row = trend(simulate(lambda s, n: 0.4 * s, lambda s, n: 0.5, sources=1), "canny_f1").iloc[0]
    assert row["direction"] == "cannot tell"
    assert "one source" in row["note"]


def test_length_axis_is_paired_and_leaves_scale_0_out(simulate: Simulate) -> None:
    frame = simulate(
        lambda s, n: 100.0 if s == 0 and n == 7 else 0.9 - 0.05 * n, lambda s, n: 0.5, source_sd=1
    )
    row = trend(frame, "canny_f1", axis="length").iloc[0]
    assert row["change"] == pytest.approx(-0.35, abs=0.05)
    assert row["direction"] == "falls"
    assert (row["x_first"], row["x_last"]) == (0, 7)


def test_missing_pictures_do_not_shift_a_trend(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.5 * s, lambda s, n: 0.5, noise=0)
    frame.loc[(frame["scale"] == 0.8) & (frame["seed"] == 1), "adherence"] = math.nan
    assert trend(frame, "canny_f1").iloc[0]["slope"] == pytest.approx(0.5)


def test_missing_ends_do_not_shift_the_change(simulate: Simulate) -> None:
    """Where some sources have no reading at scale 0, their next one is no stand-in for it."""
    frame = simulate(lambda s, n: 0.5 * s, lambda s, n: 0.5, noise=0, source_sd=0, sources=6)
    late = sorted(frame["source"].unique())[:3]
    frame.loc[(frame["scale"] == 0) & frame["source"].isin(late), "adherence"] = math.nan
    row = trend(frame, "canny_f1").iloc[0]
    top = float(frame["scale"].max())
    assert (row["x_first"], row["x_last"]) == (0, top)
    assert (row["first"], row["last"]) == pytest.approx((0, 0.5 * top))
    assert (row["change"], row["change_low"]) == pytest.approx((0.5 * top, 0.5 * top))
    assert row["n_sources"] == 6 and "3 of 6 sources" in row["note"]


def test_an_absent_metric_gives_an_empty_table(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.5, lambda s, n: 0.5)
    assert trend(frame, "absent").empty
    assert curve(frame, "absent").empty
    assert tag_slopes(frame, silhouette=OUTLINE).empty
    assert silhouette_contrast(frame, silhouette=OUTLINE).empty


def test_curve_has_one_point_per_length_and_scale(simulate: Simulate) -> None:
    found = curve(simulate(lambda s, n: s + n, lambda s, n: 0.5, noise=0, source_sd=0), "canny_f1")
    assert len(found) == 15
    assert found["mean"].to_numpy() == pytest.approx(found["scale"] + found["length"])


def _tags(tag: str, scale: float) -> float:
    return 0.9 - (0.3 * scale if tag in OUTLINE else 0.0)


def test_per_tag_speaks_of_kept_tags_only(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.5, lambda s, n: 0.5, tag=_tags, lengths=(2, 7))
    found = per_tag(frame, silhouette=OUTLINE)
    counts = found[found["scale"] == 0].set_index("tag")["n_samples"]
    assert counts["a girl"] == 16  # both lengths
    assert counts["snow"] == 8  # the full prompt alone
    assert set(found[found["silhouette"]]["tag"]) == set(OUTLINE)
    everywhere = per_tag(frame, silhouette=OUTLINE, kept_only=False)
    assert (everywhere["n_samples"] == 16).all()


def test_slopes_put_the_overridden_words_first(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.5, lambda s, n: 0.5, tag=_tags)
    found = tag_slopes(frame, silhouette=OUTLINE)
    assert set(found["tag"][:2]) == set(OUTLINE)
    assert (found["direction"][:2] == "falls").all()
    assert found["slope"][0] == pytest.approx(-0.3, abs=0.05)
    row = silhouette_contrast(frame, silhouette=OUTLINE).iloc[0]
    assert row["difference_low"] <= -0.3 <= row["difference_high"] < 0
    assert row["n_sources"] == 4


def test_between_two_points_the_interval_of_the_change_decides(simulate: Simulate) -> None:
    """There rho is the sign of the change: one odd chain among few sources must not outvote it."""
    frame = simulate(lambda s, n: 0.3 * s, lambda s, n: 1.0, sources=3, scales=(0.0, 1.0),
                     lengths=(7,), seeds=2, noise=0.01, source_sd=0.0)  # fmt: skip
    odd = (frame["metric"] == "canny_f1") & (frame["scale"] == 1) & (frame["seed"] == 0)
    frame.loc[odd, "adherence"] -= 0.35  # one seed falls a little, the other rises much
    row = trend(frame, "canny_f1").iloc[0]
    assert row["rho"] == 0 and row["change_low"] > 0 and row["direction"] == "rises"
