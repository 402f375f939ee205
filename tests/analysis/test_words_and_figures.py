"""Protects the reader from a word that its own printed figures contradict, rounding included.

Every kind of finding is read back from its text: the interval (or the p-value) that decides must
say what the word says. Frames are random, with effects about as large as their error, so that many
intervals end near 0; and sentences are made of figures that end as near to it as one likes.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from workbench.analysis import Finding, findings
from workbench.analysis.ranking_findings import BY_SOME, FIRST, ranking_findings
from workbench.analysis.trends import UNCLEAR, UNKNOWN, _verdict, describe
from workbench.analysis.wording import AGREED, p_digits, p_value, trend_finding
from workbench.formats import ends, fixed, signed
from workbench.report.tables import glance_table, interval_text

Simulate = Callable[..., pd.DataFrame]
NUMBER = r"([+−]?\d+(?:\.\d+)?)"
METRICS = {
    "canny": ("canny_f1", "canny_f1_strict"),
    "depth": ("depth_pearson", "depth_si_rmse"),
    "hed": ("hed_f1", "hed_ssim"),
}
TAGS = ("a girl", "long hair", "blond hair", "black eyes", "black coat", "winter", "snow")


def value(text: str) -> float:
    return float(text.replace("−", "-"))


def intervals(text: str) -> list[tuple[float, float]]:
    found = re.findall(rf"95 % interval {NUMBER} to {NUMBER}", text)
    return [(value(low), value(high)) for low, high in found]


def p_values(text: str, after: str) -> list[float]:
    """p-values before (or after) some words; "p < 0.001" counts as 0.001."""
    return [float(p) for p in re.findall(rf"p [=<] (\d\.\d+){after}", text)]


def holds_zero(limits: tuple[float, float]) -> bool:
    return limits[0] <= 0 <= limits[1]


def agrees(finding: Finding) -> None:
    """Assert that the word of a finding is that of its printed figures."""
    text, told = finding.text, intervals(finding.text)
    if finding.direction in ("rises", "falls") and finding.kind != "effects":
        assert told, text
        for low, high in told:
            assert low <= high and not holds_zero((low, high)), text
        assert (told[0][0] > 0) == (finding.direction == "rises"), text
        if finding.kind == "interaction":
            assert p_values(text, ";")[0] <= 0.05, text
    elif finding.kind == "ranking":
        ranking_agrees(finding, told)
    elif finding.direction == UNCLEAR and told:
        if "what decides is" in text:
            (change, decider) = told
            assert not holds_zero(change), text
            assert holds_zero(decider) or decider[0] * change[0] < 0, text
        elif AGREED not in text:
            assert holds_zero(told[0]), text
        assert "no clear" in text, text
    elif finding.direction == UNKNOWN:
        assert not told, text
        assert re.search("one source|too few|have a reading at both", text), text
    elif finding.kind == "sweet spot" and math.isfinite(finding.low):
        low, high = re.findall(rf"interval of the scale {NUMBER} to {NUMBER}", text)[0]
        assert value(low) <= finding.estimate <= value(high), text


def ranking_agrees(finding: Finding, told: list[tuple[float, float]]) -> None:
    text = finding.text
    if finding.direction == UNKNOWN:
        assert not told and "obeyed more" not in text and "is obeyed most, before" not in text, text
        return
    (limits,), (corrected,) = told, p_values(text, " after Holm") or [math.nan]
    ahead = "is obeyed more" in text or "is obeyed most" in text or "ahead of all others" in text
    if ahead:
        assert not holds_zero(limits) and corrected <= 0.05 and finding.direction != UNKNOWN, text
    elif "what decides is" in text:
        assert not holds_zero(limits) and corrected > 0.05, text
    elif AGREED not in text:
        assert holds_zero(limits) and corrected > 0.05, text
    assert ("no clear first" in text) == (not ahead), text
    assert ("is obeyed most, before" in text) == (finding.direction == FIRST), text
    least = p_values(text, " by the least clear choice")
    assert all(p <= 0.05 for p in least), text
    by_some = "not by every metric" in text or "not by all at once" in text
    assert by_some == (finding.direction == BY_SOME), text
    assert not (by_some and least), text
    if finding.direction == FIRST:
        assert "not clearly" not in text, text


def drawn(simulate: Simulate, seed: int, apart: float | None = None) -> pd.DataFrame:
    """A run with findings of every kind, whose effects are about as large as their errors.

    apart: how far the levels of control types lie apart, with sources enough to tell them.
    """
    rng = np.random.default_rng(seed)
    sources = int(rng.integers(2, 8)) if apart is None else 16
    frames = []
    for name, metrics in METRICS.items():
        size, lean, turn, cost = rng.normal(0, [0.08, 0.05, 0.02, 0.06])
        level = 0.5 + rng.normal(0, apart or 0.08)
        how = {"sources": sources, "lengths": (1, 3, 7), "scales": (0.0, 0.8, 1.6),
               "control_name": name, "source_sd": 0.08, "slope_sd": 0.05}  # fmt: skip
        for place, metric in enumerate(metrics):
            own = level + rng.normal(0, 0.05)
            frame = simulate(
                lambda s, n, a=own, b=size, c=lean: a + b * s + c * n / 7,
                lambda s, n, b=cost, c=turn: 0.8 + b * s + c * s * n,
                tag=lambda t, s, b=cost: 0.7 + b * s + 0.05 * s * TAGS.index(t) / 7,
                primary=metric, rng_seed=10 * seed + place, **how,
            )  # fmt: skip
            frames.append(frame if not place else frame[frame["metric"] == metric])
        whole = frames[-2]
        base = whole[whole["metric"] == metrics[0]]
        for other in ("clip_source", "diversity_structure", "diversity_looks", "bases_pose"):
            drift = rng.normal(0, 0.05) * base["scale"] + rng.normal(0, 0.08, len(base))
            nothing = {"chance": math.nan, "ceiling": math.nan, "adherence": math.nan}
            frames.append(base.assign(metric=other, value=0.5 + drift, **nothing))
        seen = whole[whole["metric"].str.startswith("tag:")]
        obeyed = seen["metric"].str.replace("tag:", "tag_obeyed:", n=1)
        frames.append(seen.assign(metric=obeyed, value=(seen["value"] > 0.68).astype(float)))
    frame = pd.concat(frames, ignore_index=True)
    none = {"partner": "", "partner_settings": "", "partner_scale": math.nan,
            "control_settings": "{}"}  # fmt: skip
    return pd.concat([frame.assign(**none), pair_of(frame, rng)], ignore_index=True)


def pair_of(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Cells of canny and depth at once, each read by the metric that stands for it."""
    parts = []
    for own, other in (("canny", "depth"), ("depth", "canny")):
        metrics = (METRICS[own][0], "clip_used")
        rows = frame[(frame["control"] == own) & frame["metric"].isin(metrics)]
        for partner_scale in (0.0, 0.8, 1.6):
            moved = rows["adherence"] + rng.normal(0, 0.03) * partner_scale
            moved += rng.normal(0, 0.05, len(rows))
            parts.append(
                rows.assign(adherence=moved, partner=other, partner_settings="{}",
                            partner_scale=partner_scale, control_settings="{}")
            )  # fmt: skip
    return pd.concat(parts)


@pytest.mark.slow
def test_every_kind_of_finding_agrees_with_its_printed_figures(simulate: Simulate) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for seed, apart in (*((seed, None) for seed in range(6)), (6, 0.3)):
        frame = drawn(simulate, seed, apart)
        for finding in findings(frame):
            agrees(finding)
            seen[finding.kind, finding.direction] += 1
    kinds = {"control", "prompt", "tags", "length", "interaction", "closeness", "diversity",
             "sweet spot", "ranking", "pair", "effects", "bases"}  # fmt: skip
    assert {kind for kind, _ in seen} == kinds
    for kind in kinds - {"effects", "ranking", "sweet spot"}:
        assert seen[kind, UNCLEAR] and seen[kind, "rises"] + seen[kind, "falls"], (kind, seen)
    assert seen["ranking", UNCLEAR] and seen["ranking", BY_SOME] and seen["ranking", FIRST], seen


def test_the_verdicts_of_the_first_table_agree_with_its_intervals(simulate: Simulate) -> None:
    for seed in range(3):
        frame = drawn(simulate, seed)
        frame = frame[frame["partner"] == ""]
        for row in glance_table(frame, {}, "clip_used").rows:
            change, verdict = row[5], row[7]
            found = re.search(rf"\[{NUMBER}, {NUMBER}\]", change)
            if verdict in ("rises", "falls"):
                assert found and not holds_zero((value(found[1]), value(found[2]))), row
                assert (value(found[1]) > 0) == (verdict == "rises")
            elif verdict == UNCLEAR:
                assert found and holds_zero((value(found[1]), value(found[2]))), row


NEAR = st.one_of(
    st.floats(1e-9, 3),
    st.floats(-3, -1e-9),
    st.builds(lambda sign, power: sign * 10.0**power, st.sampled_from([-1, 1]), st.floats(-9, 0)),
)


@settings(max_examples=150, deadline=None)
@given(NEAR, st.floats(1e-6, 3), NEAR, st.floats(1e-6, 2))
def test_a_trend_whose_interval_ends_next_to_0_prints_on_its_side(
    edge: float, width: float, rho_edge: float, rho_width: float
) -> None:
    """Two sources, mean ± half their distance: made so that the interval ends at the edge."""
    limit = float(stats.t.ppf(0.975, 2 / 3))  # of two sources, see `student`
    middle = edge + math.copysign(width, edge)
    rho = rho_edge + math.copysign(rho_width, rho_edge)
    away, rho_away = width / limit, rho_width / limit
    per_source = pd.DataFrame({
        "control": "canny", "source": ["a", "b"], "slope": 0.0, "first": 0.0, "spread": 0.0,
        "rho": [rho - rho_away, rho + rho_away], "change": [middle - away, middle + away],
        "last": [middle - away, middle + away],
    })  # fmt: skip
    found = describe(per_source, ["control"])
    assert found["change_low" if middle > edge else "change_high"].iloc[0] == pytest.approx(
        edge, abs=1e-9
    )
    table = found.assign(points=3, x_first=0.0, x_last=1.0, note="")
    table["direction"], table["why"] = _verdict(table)
    finding = trend_finding("control", "canny", "canny_f1", "it", "scale", dict(table.iloc[0]))
    agrees(finding)


@settings(max_examples=50, deadline=None)
@given(
    st.builds(lambda sign, power: sign * 10.0**power, st.sampled_from([-1, 1]), st.floats(-7, -1)),
    st.integers(0, 10_000),
    st.integers(2, 7),
)
def test_a_ranking_whose_interval_ends_next_to_0_prints_on_its_side(
    edge: float, seed: int, sources: int
) -> None:
    rng = np.random.default_rng(seed)
    away = rng.normal(0, 0.05, sources)
    freedom = sources * (sources - 1) / (2 * sources - 1)
    half = stats.t.ppf(0.975, freedom) * stats.sem(away)
    away += half - away.mean() + edge  # the interval begins at the edge
    level = rng.uniform(0.2, 0.6, sources)
    means = {"depth": level + away, "canny": level}
    if seed % 2:
        means["hed"] = level - rng.normal(0, 0.02, sources)
    frame = pd.DataFrame(
        [(f"s{i}", 1, name, "b", "length", 1.0, METRICS[name][0], mean)
         for name, values in means.items() for i, mean in enumerate(values)],
        columns=["source", "seed", "control", "base", "setting", "scale", "metric", "adherence"],
    )  # fmt: skip
    (finding,) = ranking_findings(frame, None)
    agrees(finding)


@given(st.floats(-10, 10), st.floats(0, 10), st.integers(0, 3))
def test_printed_ends_lie_on_the_side_of_0_on_which_the_interval_does(
    low: float, width: float, digits: int
) -> None:
    high = low + width
    for write in (signed, lambda v: fixed(v, digits)):
        start, end = (value(text) for text in ends(low, high, write))
        if abs(low) > 1e-12 and abs(high) > 1e-12:
            assert holds_zero((start, end)) == holds_zero((low, high))
        assert start <= end


@given(st.floats(0, 1))
def test_a_printed_p_lies_on_the_side_of_5_in_100_on_which_it_does(p: float) -> None:
    if abs(p - 0.05) > 1e-8:
        assert (float(p_digits(p)) <= 0.05) == (p <= 0.05)


def test_ends_and_p_values_are_no_longer_than_they_must() -> None:
    assert ends(0.00034, 0.2) == ("+0.0003", "+0.20")
    assert ends(-0.2, -0.00006) == ("−0.20", "−0.00006")
    assert ends(-0.2, 0.00034) == ("−0.20", "+0.000")
    assert interval_text(0.16, 0.0031, 0.31) == "0.16 [0.003, 0.31]"
    assert (p_value(0.0503), p_value(0.0496), p_value(0.1)) == (
        "p = 0.0503",
        "p = 0.050",
        "p = 0.100",
    )


def test_the_reader_here_finds_a_word_that_its_figures_contradict() -> None:
    """What this file protects from, as it was once printed."""
    text = "Canny: no clear effect of the scale on it (95 % interval −0.30 to −0.023)."
    with pytest.raises(AssertionError):
        agrees(Finding("control", text, "canny", "canny_f1", UNCLEAR, -0.16, -0.3, -0.023, 4))
