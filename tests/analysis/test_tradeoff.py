"""Protects the trade-off points, the Pareto front and the sweet spot."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.analysis import findings, sweet_spot, tradeoff
from workbench.analysis.tradeoff import best_scale, front, harmonic_mean

Simulate = Callable[..., pd.DataFrame]
numbers = st.one_of(
    st.floats(-1, 2).map(lambda x: round(x, 6)), st.sampled_from([0.0, 0.5, 1.0, math.nan])
)


@settings(deadline=None)  # the first call imports scipy
@given(st.lists(st.tuples(numbers, numbers), max_size=12))
def test_the_front_of_one_source_is_that_of_its_clipped_values(
    points: list[tuple[float, float]],
) -> None:
    def beaten(p: tuple[float, float], q: tuple[float, float]) -> bool:
        return q[0] >= p[0] and q[1] >= p[1] and q != p

    kept = [(min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)) for x, y in points]
    known = [not math.isnan(x + y) for x, y in points]
    whole = [p for p, there in zip(kept, known, strict=True) if there]
    expected = [
        there and not any(beaten(p, q) for q in whole) for p, there in zip(kept, known, strict=True)
    ]
    pairs = np.array(points).reshape(-1, 2).T
    pairs[:, ~np.array(known, dtype=bool)] = math.nan
    assert list(front(pairs[:1], pairs[1:])) == expected


def test_a_point_leaves_the_front_only_where_another_clearly_beats_it() -> None:
    base, own = np.array([0.3, 0.4, 0.5, 0.6]), 0.1 * np.array([1, -1, 1, -1])
    a = np.stack([base, base + 0.2, base + 0.2 + own], 1)
    b = np.stack([base, base + 0.2, base + own], 1)
    assert front(a, b).tolist() == [False, True, True]  # paired: sources differ more than points
    b[:, 1] = base + 0.02 + own  # better in prompt too, but not clearly
    assert front(a, b)[0]


def test_the_front_is_the_same_however_many_pairs_are_held_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    a, b = (rng.normal(0.5, 0.3, (4, 1)) + rng.normal(0.0, 0.2, (1, 30)) for _ in range(2))
    a[0, :4] = math.nan
    whole = front(a, b)
    assert 0 < whole.sum() < len(whole)
    monkeypatch.setattr(sys.modules["workbench.analysis.tradeoff"], "PAIRED_AT_ONCE", 4 * 30 * 7)
    assert front(a, b).tolist() == whole.tolist()


def test_points_above_the_ceiling_are_alike() -> None:
    control = np.array([[0.2, 0.5], [0.3, 0.62], [0.25, 0.55], [0.22, 0.5]])
    above = np.array([[1.4, 1.1], [1.5, 1.15], [1.3, 1.1], [1.4, 1.12]])
    assert front(control, above).tolist() == [False, True]
    assert front(control, above - 0.4).tolist() == [True, True]


def test_equal_points_leave_the_front_at_most_rarely() -> None:
    rng, lost = np.random.default_rng(0), 0
    for _ in range(400):
        level = rng.normal(0.5, 0.1, (2, 5, 1))
        a, b = level + rng.normal(0, 0.05, (2, 5, 2))
        lost += int((~front(a, b)).any())
    assert lost / 400 < 0.06


@pytest.mark.parametrize(
    ("a", "b", "mean"),
    [(0.5, 0.5, 0.5), (1, 0.5, 2 / 3), (-0.2, 0.9, 0), (1.7, 0.5, 2 / 3), (0, 0, 0)],
)
def test_harmonic_mean(a: float, b: float, mean: float) -> None:
    assert harmonic_mean(np.array([a]), np.array([b]))[0] == pytest.approx(mean)


def test_harmonic_mean_of_the_unknown_is_unknown() -> None:
    assert math.isnan(harmonic_mean(np.array([math.nan]), np.array([1.0]))[0])


def test_points_hold_the_means_and_leave_the_empty_prompt_open(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.5 * s, lambda s, n: 1 - 0.4 * s, noise=0, source_sd=0)
    points = tradeoff(frame)
    assert list(points.columns[:3]) == ["control", "length", "scale"]
    assert len(points) == 3 * 5
    row = points[(points["length"] == 3) & (points["scale"] == 0.8)].iloc[0]
    assert row["control_adherence"] == pytest.approx(0.4)
    assert row["prompt_adherence"] == pytest.approx(0.68)
    assert row["n_sources"] == 4
    empty = points[points["length"] == 0]
    assert empty["prompt_adherence"].isna().all()
    assert not empty["pareto"].any()
    assert points[points["length"] == 7]["pareto"].all()


def test_the_metric_can_be_chosen(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.5, lambda s, n: 0.5, primary="canny_f1_strict")
    assert tradeoff(frame)["control_adherence"].isna().all()
    found = tradeoff(frame, control_metrics={"canny": "canny_f1_strict"})
    assert found["control_adherence"].notna().all()


def test_the_sweet_spot_is_where_it_was_put(simulate: Simulate) -> None:
    """Control 0.5 s and prompt 1 - 0.5 s balance at 1, where both are 0.5."""
    scales = (0.0, 0.5, 1.0, 1.5, 2.0)
    frame = simulate(
        lambda s, n: 0.5 * s,
        lambda s, n: 1 - 0.5 * s,
        scales=scales,
        sources=8,
        noise=0.01,
        source_sd=0.02,
    )
    found = sweet_spot(frame)
    assert list(found["length"]) == [3, 7]  # length 0 has no prompt adherence
    assert (found["scale"] == 1.0).all()
    assert ((found["scale_low"] <= 1.0) & (found["scale_high"] >= 1.0)).all()
    assert found["harmonic"].to_numpy() == pytest.approx([0.5, 0.5], abs=0.05)
    assert (found["at_edge"] == "").all()
    assert (found["note"] == "").all()
    pd.testing.assert_frame_equal(found, sweet_spot(frame))


def test_sources_that_disagree_widen_the_interval(simulate: Simulate) -> None:
    truth = (lambda s, n: 0.5 * s, lambda s, n: 1 - 0.5 * s)
    wide = sweet_spot(simulate(*truth, sources=6, source_sd=0.4, rng_seed=2))
    assert (wide["scale_high"] - wide["scale_low"]).max() > 0


def test_an_optimum_at_the_edge_is_said(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.3 * s, lambda s, n: 0.8)
    found = sweet_spot(frame)
    assert (found["scale"] == 1.6).all()
    assert (found["at_edge"] == "high").all()
    texts = [f.text for f in findings(frame) if f.kind == "sweet spot"]
    assert len(texts) == 2 and all("the optimum may lie beyond it" in text for text in texts)


def test_an_edge_that_the_ceiling_of_the_prompt_makes_is_said_as_that(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.3 * s, lambda s, n: 1.2, noise=0.01)
    assert (sweet_spot(frame)["prompt"] > 1).all()
    texts = [f.text for f in findings(frame) if f.kind == "sweet spot"]
    assert len(texts) == 2
    for text in texts:
        assert "the prompt is at its ceiling there (1." in text and "may lie beyond" not in text


def test_one_source_has_a_sweet_spot_without_interval(simulate: Simulate) -> None:
    found = sweet_spot(simulate(lambda s, n: 0.5 * s, lambda s, n: 1 - 0.4 * s, sources=1))
    assert found["scale"].notna().all()
    assert found["scale_low"].isna().all()
    assert found["note"].str.contains("one source").all()


@pytest.mark.parametrize("sources", [3, 5, 8])
def test_the_intervals_of_a_sweet_spot_hold_the_truth(sources: int) -> None:
    """Control 0.5 s and prompt 1 - 0.4 s: the best of five scales is 1.2, by a small margin."""
    scales = np.array([0.0, 0.4, 0.8, 1.2, 1.6])
    truth = 0.5 * scales, 1 - 0.4 * scales
    best = harmonic_mean(*truth)
    rng, runs, scale_held, mean_held = np.random.default_rng(sources), 400, 0, 0
    widths = []
    for _ in range(runs):
        own = rng.normal(0, 0.1, (2, 2, sources, 1))
        a, b = (
            t + own[i, 0] + own[i, 1] * (scales - 0.8) + rng.normal(0, 0.03, (sources, 5))
            for i, t in enumerate(truth)
        )
        found = best_scale(a, b, scales)
        assert found is not None
        scale_held += found["scale_low"] <= 1.2 <= found["scale_high"]
        chosen = best[scales == found["scale"]][0]
        assert 0 <= found["harmonic_low"] <= found["harmonic"] <= found["harmonic_high"] <= 1
        mean_held += found["harmonic_low"] <= chosen <= found["harmonic_high"]
        widths.append(found["harmonic_high"] - found["harmonic_low"])
    assert scale_held / runs >= 0.93
    assert mean_held / runs >= 0.95
    assert np.median(widths) < {3: 0.9, 5: 0.4, 8: 0.25}[sources]


@pytest.mark.parametrize("sources", [3, 5, 8])
def test_its_interval_holds_the_better_of_two_nearly_equal_scales(sources: int) -> None:
    scales = np.array([0.0, 0.4, 0.8, 1.2, 1.6])
    truth = np.array([0.05, 0.4, 0.62, 0.72, 0.8]), np.array([1, 0.9, 0.81, 0.685, 0.5])
    centre = harmonic_mean(*truth)
    best = scales[centre.argmax()]
    assert np.diff(np.sort(centre)[-2:]) < 0.001
    rng, runs, held = np.random.default_rng(sources), 1000, 0
    for _ in range(runs):
        a, b = (
            mean + rng.normal(0, 0.08, (sources, 1)) + rng.normal(0, 0.08, (sources, 5))
            for mean in truth
        )
        found = best_scale(a, b, scales)
        assert found is not None
        held += found["scale_low"] <= best <= found["scale_high"]
    assert held / runs >= 0.93
