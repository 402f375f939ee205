"""Protects the word "first": a control type has it only by every metric that judges the whole map.

The tests by every choice of the metrics are made again here one by one, with SciPy and statsmodels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from workbench.analysis import by_metric, compare_types, curve, findings, ranking
from workbench.analysis.ranking_findings import ranking_findings

Simulate = Callable[..., pd.DataFrame]
BASE = np.linspace(0.3, 0.6, 8)


def read(
    values: dict[str, dict[str, np.ndarray]], *, seeds: int = 2, noise: float = 0.02, rng: int = 0
) -> pd.DataFrame:
    """One scale; values: control type -> metric -> one mean for each source."""
    draw = np.random.default_rng(rng)
    rows = [
        {"source": f"s{i}", "seed": seed, "control": name, "base": "b", "setting": "length",
         "length": 3, "prompt": "x, y, z", "scale": 1.0, "metric": metric,
         "adherence": mean + draw.normal(0, noise)}
        for name, metrics in values.items()
        for metric, means in metrics.items()
        for (i, mean), seed in product(enumerate(means), range(seeds))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def one(frame: pd.DataFrame) -> tuple[str, str]:
    (found,) = ranking_findings(frame, None)
    return found.text, found.direction


CANNY = {"canny_f1": BASE, "canny_f1_strict": BASE - 0.1}


def test_first_is_who_is_first_by_every_metric() -> None:
    frame = read(
        {"canny": CANNY, "depth": {"depth_pearson": BASE + 0.3, "depth_si_rmse": BASE + 0.2}}
    )
    text, direction = one(frame)
    assert "depth is obeyed most, before canny" in text and direction == "comes first"
    assert "whichever metric of both is chosen (p < 0.001 by the least clear choice)" in text


def test_else_the_metrics_are_named_by_which_it_is_and_by_which_not() -> None:
    """As it was found: clear by Pearson, not by the scale-invariant RMSE of the same maps."""
    depth = {"depth_pearson": BASE + 0.3, "depth_si_rmse": BASE, "depth_delta1": BASE + 0.2}
    text, direction = one(read({"canny": CANNY, "depth": depth}))
    assert direction == "by some metrics only" and "obeyed most" not in text
    assert "depth is obeyed more than canny by depth_pearson against canny_f1 (" in text
    assert "clearly by depth_pearson, depth_delta1, not clearly by depth_si_rmse." in text


def test_a_rival_read_by_another_metric_may_be_the_first() -> None:
    canny = {"canny_f1": BASE, "canny_f1_strict": BASE + 0.4}
    text, direction = one(read({"canny": canny, "depth": {"depth_pearson": BASE + 0.2}}))
    assert direction == "by some metrics only"
    assert "clearly against canny by canny_f1, not clearly against canny by canny_f1_strict" in text
    assert "1 of 2 choices turn it round" in text


def test_metrics_that_ask_a_part_of_the_question_are_not_asked() -> None:
    parts = {"canny_f1": BASE, "canny_precision": BASE + 0.9, "canny_recall": BASE + 0.9}
    frame = read({"canny": parts, "depth": {"depth_pearson": BASE + 0.3}})
    text, direction = one(frame)
    assert direction == "comes first" and "least clear choice" not in text  # one metric each
    assert len(compare_types(frame).choices) == 1
    roles = by_metric(frame).drop_duplicates("metric").set_index("metric")["role"]
    assert roles["canny_precision"] == "part" and roles["canny_f1"] == "stands"


def test_of_several_all_must_be_behind_by_every_metric() -> None:
    hed = {"hed_f1": BASE - 0.1, "hed_ssim": BASE + 0.34}
    depth = {"depth_pearson": BASE + 0.3, "depth_delta1": BASE + 0.4}
    text, direction = one(read({"canny": CANNY, "depth": depth, "hed": hed}))
    assert direction == "by some metrics only"
    assert "depth is ahead of all others, next of which is canny, by the metric that stands" in text
    assert "clearly by depth_delta1, not clearly by depth_pearson" in text  # for hed_ssim
    assert "1 of 8 choices turn it round" in text
    assert "3 of 3 pairs are clear, 1 whichever metric is chosen" in text


def test_two_settings_of_one_type_are_compared_metric_by_metric() -> None:
    """F1 with tolerance of the one is never held against F1 without of the other."""
    one_way = {"canny_f1": BASE + 0.5, "canny_f1_strict": BASE + 0.1}
    other = {"canny_f1": BASE + 0.3, "canny_f1_strict": BASE - 0.1}
    frame = pd.concat(
        read({"canny": v}).assign(control_settings=f'{{"low":{low}}}')
        for low, v in ((20, one_way), (90, other))
    )
    found = compare_types(frame)
    assert (found.choices["first_metric"] == found.choices["second_metric"]).all()
    assert len(found.choices) == 2
    assert found.pairs["better_by_every"].tolist() == ["canny (low=20)"]


@pytest.mark.parametrize("seed", range(12))
def test_each_choice_is_a_paired_t_test_and_the_largest_p_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    metrics = {
        "canny": ("canny_f1", "canny_f1_strict"),
        "depth": ("depth_pearson", "depth_si_rmse", "depth_abs_rel"),
        "hed": ("hed_f1", "hed_ssim"),
    }
    level = dict(zip(metrics, rng.permutation([0.0, 0.15, 0.3]), strict=True))
    values = {
        name: {m: BASE + level[name] + rng.normal(0, 0.06) + rng.normal(0, 0.05, 8) for m in names}
        for name, names in metrics.items()
    }
    frame = read(values, rng=seed)
    lost = (frame["source"] == "s3") & (frame["metric"] == "hed_ssim")
    frame = frame[~lost].copy()
    means = frame.groupby(["control", "metric", "source"])["adherence"].mean()
    found = compare_types(frame)
    for row in found.choices.to_dict("records"):
        a, b = (means[row[side], row[f"{side}_metric"]] for side in ("first", "second"))
        both = a.index.intersection(b.index)
        away, n = a[both] - b[both], len(both)
        law = stats.t(n * (n - 1) / (2 * n - 1), away.mean(), stats.sem(away))
        p = 2 * min(law.cdf(0), law.sf(0))
        assert (row["p"], row["low"], row["high"]) == pytest.approx((p, *law.interval(0.95)))
        assert row["n_sources"] == len(both)
    worst, primary = [], []
    for pair in found.pairs.to_dict("records"):
        mine = found.choices[
            (found.choices["first"] == pair["first"]) & (found.choices["second"] == pair["second"])
        ]
        assert mine["first_metric"].iloc[0] == metrics[pair["first"]][0]
        assert pair["p"] == mine["p"].iloc[0] and pair["difference"] > 0
        worst.append(float(mine["p"].where(mine["difference"] > 0, 1.0).max()))
        primary.append(pair["p"])
        # Whoever is better by every metric is so by each, and by the one that is ranked by.
        if pair["better_by_every"]:
            assert (mine["better"] == pair["better_by_every"]).all()
            assert pair["better"] == pair["better_by_every"]
        assert (mine["better"].iloc[0] != "") == (pair["better"] != "")
    assert found.pairs["p_every"].to_numpy() == pytest.approx(
        multipletests(worst, method="holm")[1]
    )
    assert found.pairs["p_holm"].to_numpy() == pytest.approx(
        multipletests(primary, method="holm")[1]
    )
    assert (found.ranks["every_low"] <= found.ranks["rank_low"]).all()
    assert (found.ranks["every_high"] >= found.ranks["rank_high"]).all()


@pytest.mark.slow
def test_types_apart_by_one_metric_only_are_told_apart_by_every_one_at_most_in_6_of_100() -> None:
    """Four types that differ by the metric each is ranked by, and not at all by another."""
    rankings, sources = 400, 6
    names = {
        "canny": ("canny_f1", "canny_f1_strict"), "depth": ("depth_pearson", "depth_si_rmse"),
        "hed": ("hed_f1", "hed_ssim"), "pose": ("pose_pck", "pose_oks"),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    both = [(n, m, 0.5 * i * (k == 0)) for i, n in enumerate(names) for k, m in enumerate(names[n])]
    table = pd.DataFrame(
        [(b, s, *row) for b in range(1, rankings + 1) for s in range(sources) for row in both],
        columns=["scale", "source", "control", "metric", "adherence"],
    )
    table["adherence"] += rng.normal(0, 0.1, len(table))
    found = compare_types(table.assign(seed=1, setting="length", base="b"))  # each scale: a ranking
    wrong = (found.pairs["better_by_every"] != "").groupby(found.pairs["scale"]).any()
    assert len(wrong) == rankings and wrong.mean() <= 0.06
    assert ((found.pairs["better"] != "").groupby(found.pairs["scale"]).all()).mean() > 0.9


def test_every_metric_stands_in_the_table_with_its_interval(simulate: Simulate) -> None:
    tolerant = simulate(lambda s, n: 0.5 * s, lambda s, n: 0.5)
    strict = simulate(lambda s, n: 0.2 * s, lambda s, n: 0.5, primary="canny_f1_strict", rng_seed=1)
    frame = pd.concat([tolerant, strict[strict["metric"] == "canny_f1_strict"]])
    table = by_metric(frame)
    assert list(dict.fromkeys(table["metric"])) == ["canny_f1", "canny_f1_strict"]
    for metric, mine in table.groupby("metric"):
        assert list(mine["scale"][:-1]) == [0.4, 0.8, 1.2, 1.6]  # at 0 the control has no say
        whole = curve(frame, str(metric), by=("control", "scale"))
        told = mine[["mean", "low", "high"]].to_numpy()
        assert told[:-1] == pytest.approx(whole[["mean", "low", "high"]].to_numpy()[1:])
        over = curve(frame[frame["scale"] > 0], str(metric), by=("control",))
        assert told[-1] == pytest.approx(over[["mean", "low", "high"]].to_numpy()[0])


def test_bad_input_is_one_sentence_each() -> None:
    good = {"canny": CANNY, "depth": {"depth_pearson": BASE + 0.3, "depth_si_rmse": BASE + 0.2}}
    frame = read(good)
    assert ranking_findings(frame[frame["control"] == "canny"], None) == []  # nothing to rank
    assert ranking_findings(frame.iloc[:0], None) == [] and by_metric(frame.iloc[:0]).empty
    alone = ranking_findings(frame[frame["source"] == "s0"], None)
    assert [f.direction for f in alone] == ["cannot tell"]
    assert "one source cannot be generalised" in alone[0].text

    silent = frame.assign(adherence=frame["adherence"].mask(frame["control"] == "depth"))
    (found,) = ranking_findings(silent, None)
    assert found.direction == "cannot tell" and math.isnan(found.estimate)
    assert found.text == (
        "All control types: not ranked, as nothing could be measured above scale 0: "
        "depth by depth_pearson."
    )
    empty = by_metric(silent).set_index("metric")
    assert empty.loc["depth_pearson", ["mean", "low"]].isna().all()
    assert empty.loc["depth_pearson", "note"] == "nothing was measured"
    nothing = frame.assign(adherence=math.nan)
    (found,) = ranking_findings(nothing, None)
    assert "canny by canny_f1, depth by depth_pearson" in found.text
    assert len(ranking(nothing)[0]) == 0

    other = frame.assign(adherence=frame["adherence"].mask(frame["metric"] == "depth_si_rmse"))
    assert "obeyed most" in one(other)[0]  # a metric without any reading is not asked
    apart = frame[(frame["control"] == "canny") == frame["source"].isin(["s0", "s1", "s2"])]
    assert "they have no source, seed and prompt in common" in one(apart)[0]


def test_a_metric_that_only_one_source_has_bears_nothing_out() -> None:
    depth = {"depth_pearson": BASE + 0.3, "depth_si_rmse": BASE + 0.3}
    frame = read({"canny": CANNY, "depth": depth})
    few = (frame["metric"] != "depth_si_rmse") | (frame["source"] == "s0")
    text, direction = one(frame[few])
    assert direction == "by some metrics only" and "not clearly by depth_si_rmse" in text


def test_two_sources_that_agree_to_the_last_digit_prove_no_rank() -> None:
    values = {"canny": {"canny_f1": np.array([0.25, 0.5])},
              "depth": {"depth_pearson": np.array([0.5, 0.75])}}  # fmt: skip
    text, direction = one(read(values, noise=0.0))
    assert direction == "no clear effect" and "no clear first" in text
    assert "agree to the last digit are no evidence" in text


def test_all_findings_hold_the_ranking(synthetic_frame: Callable[..., pd.DataFrame]) -> None:
    found = [f for f in findings(synthetic_frame(sources=5)) if f.kind == "ranking"]
    assert found and all(f.text.endswith(".") for f in found)
