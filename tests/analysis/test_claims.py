"""Protects readers from sentences that say more than the data: each case once led to one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest

from workbench.analysis import findings, ranking, sweet_spot, trend
from workbench.analysis.effects import span_of
from workbench.analysis.ranking_findings import ranking_findings
from workbench.analysis.tipping import tipping
from workbench.analysis.trends import BY_RHO
from workbench.analysis.wording import p_value
from workbench.formats import signed
from workbench.report.tables import adherence_text

Simulate = Callable[..., pd.DataFrame]
NAMES = ("canny", "depth", "hed")
METRICS = dict.fromkeys(NAMES, "f1")


def typed(values: dict[str, np.ndarray], *, seeds: int = 2, lengths: int = 2) -> pd.DataFrame:
    """One scale; values: control type -> one mean for each source; pictures differ a little."""
    rng = np.random.default_rng(3)
    rows = [
        {"source": f"s{i}", "seed": seed, "control": name, "base": "b", "setting": "length",
         "length": 2 + length, "prompt": "x, " * length + "y", "scale": 1.0, "metric": "f1",
         "adherence": mean + 0.1 * seed - 0.3 * length + rng.normal(0, 0.01)}
        for name, means in values.items()
        for (i, mean), seed, length in product(enumerate(means), range(seeds), range(lengths))
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("hole", [{"seed": 1}, {"length": 3}])
def test_equal_types_stay_equal_where_one_lacks_a_seed_or_a_prompt(hole: dict[str, int]) -> None:
    rng, rankings = np.random.default_rng(0), 150
    frames = []
    for number in range(rankings):
        means = rng.normal(0.6, 0.1, 8)
        frame = typed({name: means + rng.normal(0, 0.03, 8) for name in NAMES})
        frames.append(frame.assign(base=f"b{number}"))
    table = pd.concat(frames)
    ((column, value),) = hole.items()
    table = table[(table["control"] != "hed") | (table[column] != value)]
    _, pairs = ranking(table, control_metrics=METRICS)
    wrong = (pairs["better"] != "").groupby(pairs["base"]).any()
    assert len(wrong) == rankings and wrong.mean() <= 0.06


def test_first_is_only_who_is_clearly_ahead_of_all() -> None:
    base = np.linspace(0.4, 0.6, 6)
    wide = 0.35 * np.array([1, -1, 1, -1, 1, -1])
    frame = typed({"depth": base + 0.1, "canny": base + 0.02, "hed": base + wide})
    (found,) = ranking_findings(frame, METRICS)
    assert "depth is obeyed more than canny" in found.text
    assert "not clearly ahead of hed" in found.text
    assert found.direction == "no clear effect"
    (clear,) = ranking_findings(frame[frame["control"] != "hed"], METRICS)
    assert "depth is obeyed most, before canny" in clear.text


def test_sources_that_others_lack_turn_no_comparison_round() -> None:
    """Depth has the higher mean by five easy sources of its own, canny wins where both are."""
    hard = np.linspace(0.3, 0.4, 5)
    frame = typed({"depth": np.concatenate([hard, hard + 0.5]), "canny": hard + 0.1})
    ranks, pairs = ranking(frame, control_metrics=METRICS)
    assert list(ranks["control"]) == ["depth", "canny"] and pairs["better"].tolist() == ["canny"]
    row = ranks.set_index("control").loc["canny"]
    assert row["better_than"] == "depth" and row["rank_low"] <= row["rank"] <= row["rank_high"]
    (found,) = ranking_findings(frame, METRICS)
    assert "canny is obeyed more than depth where both have readings" in found.text


def test_there_is_no_best_scale_where_none_is_better(simulate: Simulate) -> None:
    nowhere = simulate(lambda s, n: -5.0, lambda s, n: 0.8)
    assert sweet_spot(nowhere).empty
    same = simulate(lambda s, n: 0.5, lambda s, n: 0.5, noise=0.0, source_sd=0.0)
    assert sweet_spot(same).empty
    assert not [f for f in findings(nowhere) if f.kind == "sweet spot"]


def test_a_sweet_spot_may_be_any_of_two_equal_scales(simulate: Simulate) -> None:
    truth = {0.0: 0.0, 0.4: 0.3, 0.8: 0.6, 1.2: 0.6, 1.6: 0.2}
    frame = simulate(lambda s, n: truth[s], lambda s, n: 0.7, sources=5, noise=0.0)
    spots = sweet_spot(frame)
    assert (spots["scale_low"] <= 0.8).all() and (spots["scale_high"] >= 1.2).all()


def test_a_word_lost_in_between_is_not_obeyed_throughout() -> None:
    scales = np.array([0.0, 0.4, 0.8, 1.2, 1.6])
    counts = np.full((6, 5), 4.0)
    dip = np.tile([4.0, 4.0, 0.0, 4.0, 4.0], (6, 1))
    assert tipping(scales, counts, counts)["clear"]
    found = tipping(scales, counts, dip)
    assert found["answer"] == "never" and not found["clear"]


def test_a_few_sources_that_agree_to_the_last_digit_prove_nothing(simulate: Simulate) -> None:
    for sources, direction in ((2, "no clear effect"), (6, "rises")):
        frame = simulate(
            lambda s, n: 0.1 * s, lambda s, n: 0.5, sources=sources, noise=0.0, source_sd=0.0
        )
        found = trend(frame, "canny_f1")
        assert found["direction"].tolist() == [direction]


def test_the_sources_that_are_named_are_those_that_carry_the_change(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.4 * s, lambda s, n: 0.5, sources=5)
    lost = frame["source"].isin(["s0", "s1", "s2"]) & (frame["scale"] == 1.6)
    some = [f for f in findings(frame[~lost]) if f.kind == "control"]
    assert "both ends in 2 of 5 sources" in some[0].text
    one = frame["source"].isin(["s0", "s1", "s2", "s3"]) & (frame["scale"] == 1.6)
    (alone,) = [f for f in findings(frame[~one]) if f.kind == "control"]
    assert "1 of 5 sources have a reading at both" in alone.text
    assert "nan" not in alone.text and alone.direction == "cannot tell"


def test_the_interaction_says_which_way_the_slopes_run(simulate: Simulate) -> None:
    def told(slope: Callable[[int], float]) -> str:
        frame = simulate(
            lambda s, n: 0.5 * s, lambda s, n: 0.8 + slope(n) * s, sources=8, lengths=(2, 4, 7),
            noise=0.01, slope_sd=0.02,
        )  # fmt: skip
        (found,) = [
            f for f in findings(frame) if f.kind == "interaction" and f.metric.endswith("prompt")
        ]
        return found.text

    assert "falls less steeply" in told(lambda n: -0.6 + 0.07 * n)
    assert "falls more steeply" in told(lambda n: -0.1 - 0.05 * n)
    assert "rises less steeply" in told(lambda n: 0.6 - 0.06 * n)
    turning = told(lambda n: -0.4 + 0.1 * n)
    assert "falls with the scale for short prompts and rises for long ones" in turning


def test_a_span_is_named_only_where_all_share_it() -> None:
    table = pd.DataFrame({"x_first": [0.0, 0.4], "x_last": [1.2, 1.2]})
    assert span_of(table.iloc[:1], "scale") == "scale 0 to 1.2"
    assert span_of(table, "scale") == "the smallest to the largest scale of each"


def test_no_p_is_zero() -> None:
    assert p_value(0.0312) == "p = 0.031" and p_value(0.0002) == "p < 0.001"


def test_what_makes_an_effect_unclear_is_said_with_its_figure(simulate: Simulate) -> None:
    """The ends differ clearly; between them the sources go up and down, each in its own way."""
    frame = simulate(lambda s, n: 0.0, lambda s, n: 0.5, seeds=1, lengths=(7,))
    dip, climb = (0.5, 0.4, 0.3, 0.2, 0.8), (0.4, 0.5, 0.6, 0.7, 0.8)
    paths = {"s0": dip, "s1": climb, "s2": dip, "s3": dip}
    mine = frame["metric"] == "canny_f1"
    for source, path in paths.items():
        frame.loc[mine & (frame["source"] == source), "adherence"] = path
    row = trend(frame, "canny_f1").iloc[0]
    assert row["change_low"] > 0 > row["rho_low"] and row["why"] == BY_RHO
    found = next(f for f in findings(frame) if f.kind == "control")
    assert found.direction == "no clear effect"
    rho = f"what decides is the mean Spearman rho {signed(row['rho'])}, 95 % interval "
    assert f"{rho}{signed(max(row['rho_low'], -1.0))} to " in found.text


def test_a_comparison_that_only_the_correction_makes_unclear_says_so() -> None:
    base = np.linspace(0.4, 0.6, 5)
    apart = 0.05 + 0.0235 * np.array([1, -1, 0.6, -0.6, 0])
    names = (*NAMES, "lineart")
    below = {name: base - 0.001 * i * apart for i, name in enumerate(names[1:])}
    frame = typed({names[0]: base + apart, **below})
    _, pairs = ranking(frame, control_metrics=dict.fromkeys(names, "f1"))
    alone = pairs[(pairs["low"] > 0) & (pairs["better"] == "")]
    assert len(alone) and (alone["p"] < 0.05).all() and (alone["p_holm"] > 0.05).all()
    (found,) = ranking_findings(frame, dict.fromkeys(names, "f1"))
    assert "by itself; what decides is p = " in found.text and "no clear first" in found.text


def test_an_interval_as_wide_as_the_scale_is_no_finding(simulate: Simulate) -> None:
    for slope_sd, told in ((3.0, False), (0.05, True)):
        frame = simulate(lambda s, n: 0.3, lambda s, n: 0.5, slope_sd=slope_sd, lengths=(7,))
        row = trend(frame, "canny_f1").iloc[0]
        assert (row["change_high"] - row["change_low"] > 2) != told
        found = next(f for f in findings(frame) if f.kind == "control")
        assert ("too few sources to say what the scale does" in found.text) != told
        assert (found.direction == "cannot tell") != told
        assert ("95 % interval" in found.text) == told


def test_tables_show_no_interval_of_adherence_that_says_nothing() -> None:
    assert adherence_text(1.17, -2.03, 4.37) == "1.17 (too few sources to say)"
    assert adherence_text(-0.4, -0.7, -0.02) == "−0.40 [−0.70, −0.02]"
    assert adherence_text(3.0, 1.5, 4.5) == "3.00 [1.50, 4.50]"  # wide, but clearly above chance


def test_what_few_sources_may_do_by_chance_is_said(simulate: Simulate) -> None:
    """Four sources all rise, or all fall, in 2 of 2⁴ studies without an effect."""
    for sources, words in ((4, "4 sources, which by chance all move one way in one of 8"), (5, "")):
        frame = simulate(lambda s, n: 0.5 * s, lambda s, n: 0.5, sources=sources, noise=0.01)
        (found,) = [f for f in findings(frame) if f.kind == "control"]
        assert found.direction == "rises" and words in found.text
        assert ("by chance" in found.text) == (sources == 4)
