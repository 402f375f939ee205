"""Protects the pairing of edge pixels: a maximum matching, by other solvers, and its properties."""

from __future__ import annotations

import math

import cv2
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.optimize import linear_sum_assignment

from workbench.metrics import EdgeF1, EdgePrecision, EdgeRecall, matching
from workbench.metrics.edges import edge_f1, edge_precision, edge_recall, edge_scores
from workbench.metrics.matching import matched_pixels

TOLERANCES = [0, 0.5, 1, 1.4, 2**0.5, 2, 5**0.5, 3, 5, 60]


def near(a: np.ndarray, b: np.ndarray, tolerance: float) -> np.ndarray:
    """Which pixel of `a` is within the tolerance of which of `b`, bool, by plain arithmetic."""
    apart = np.argwhere(a)[:, None] - np.argwhere(b)[None]
    return np.asarray((apart**2).sum(-1) <= tolerance**2 + 1e-9)


def drawing(seed: int, size: int = 72) -> np.ndarray:
    """The outlines of shapes and of some grain, bool H×W."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(100, 150, (size, size), dtype=np.uint8)
    for _ in range(7):
        x, y, radius = (int(v) for v in rng.integers((0, 0, 4), (size, size, size // 4)))
        cv2.circle(picture, (x, y), radius, int(rng.integers(0, 255)), int(rng.choice([1, 2, -1])))
    return cv2.Canny(picture, 100, 200) > 0


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(TOLERANCES))
def test_it_is_scipys_best_assignment(data: st.DataObject, tolerance: float) -> None:
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
    a, b = (data.draw(arrays(bool, shape)) for _ in range(2))
    graph = near(a, b, tolerance)
    rows, columns = linear_sum_assignment(graph, maximize=True)
    assert matched_pixels(a, b, tolerance) == graph[rows, columns].sum()


@pytest.mark.parametrize("tolerance", [1, 1.42, 2.3, 4, 8])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_networkx_on_drawings_with_grain(
    seed: int, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = drawing(seed), drawing(seed + 1) | np.roll(drawing(seed), 2, 0)
    graph = nx.Graph()
    ours = [(0, i) for i in range(np.count_nonzero(a))]
    graph.add_nodes_from(ours)
    graph.add_edges_from(((0, i), (1, j)) for i, j in np.argwhere(near(a, b, tolerance)).tolist())
    known = len(nx.bipartite.hopcroft_karp_matching(graph, ours)) // 2
    assert matched_pixels(a, b, tolerance) == matched_pixels(b, a, tolerance) == known
    assert 0.3 * len(ours) < known, "the maps must be partly alike for this to mean anything"
    monkeypatch.setattr(matching, "_BLOCK", 100)  # a few pixels at a time
    assert matched_pixels(a, b, tolerance) == known
    monkeypatch.setattr(matching, "_STEPS", 1)  # a poor start, and a sample that finds little
    monkeypatch.setattr(matching, "_SAMPLE", 2)
    assert matched_pixels(a, b, tolerance) == known


def test_what_stands_in_the_way_of_the_nearest_is_turned_around() -> None:
    a, b = np.zeros((1, 9), bool), np.zeros((1, 9), bool)
    a[0, [1, 2, 3, 4]] = b[0, [2, 3, 4, 5]] = True  # equal pixels first would leave 1 and 5 alone
    assert matched_pixels(a, b, 1) == 4
    assert matched_pixels(a, b, 0) == 3


@settings(deadline=None)
@given(arrays(bool, (8, 7)), arrays(bool, (8, 7)), st.floats(0, 9))
def test_properties(pred: np.ndarray, target: np.ndarray, tolerance: float) -> None:
    there = edge_scores(pred, target, tolerance, one_to_one=True)
    back = edge_scores(target, pred, tolerance, one_to_one=True)
    free = edge_scores(pred, target, tolerance)
    wider = edge_scores(pred, target, tolerance + 1, one_to_one=True)
    np.testing.assert_equal((there.f1, there.recall), (back.f1, back.precision))
    if math.isnan(there.f1):
        assert not pred.any() and not target.any()
        return
    assert there.f1 <= free.f1 + 1e-12
    assert there.f1 <= wider.f1 + 1e-12
    least = edge_scores(pred, target)
    assert there.f1 >= least.f1 - 1e-12
    own = edge_scores(target, target, tolerance, one_to_one=True)
    assert own.f1 == (1 if target.any() else pytest.approx(math.nan, nan_ok=True))


@pytest.mark.parametrize(("shift", "tolerance"), [((0, 2), 2), ((1, 1), 1.5), ((3, 4), 5)])
def test_a_shift_within_the_tolerance_costs_nothing(
    shift: tuple[int, int], tolerance: float
) -> None:
    edges = np.pad(drawing(5), 8)
    assert edge_f1(np.roll(edges, shift, (0, 1)), edges, tolerance, one_to_one=True) == 1


def test_a_line_drawn_three_times_counts_once() -> None:
    line = np.zeros((20, 40), bool)
    line[10, 5:35] = True
    thrice = line | np.roll(line, 2, 0) | np.roll(line, -2, 0)
    assert edge_f1(thrice, line, 3) == 1
    scores = edge_scores(thrice, line, 3, one_to_one=True)
    assert (scores.precision, scores.recall, scores.f1) == pytest.approx((1 / 3, 1, 1 / 2))


def test_metrics_pair_one_to_one_too() -> None:
    rng = np.random.default_rng(3)
    pred, target = rng.random((3, 16, 16)) > 0.8, rng.random((3, 16, 16)) > 0.7
    for kind, function in (
        (EdgeF1, edge_f1),
        (EdgePrecision, edge_precision),
        (EdgeRecall, edge_recall),
    ):
        for reduction in ("mean", "pooled"):
            metric = kind(2, one_to_one=True, reduction=reduction)
            metric.update(pred, target)
            value = function(pred, target, 2, reduction, one_to_one=True)
            assert float(metric.compute()) == pytest.approx(value)
            assert value < function(pred, target, 2, reduction)


def test_empty_maps_pair_nothing() -> None:
    none, some = np.zeros((5, 6), bool), np.ones((5, 6), bool)
    assert matched_pixels(none, none, 2) == matched_pixels(none, some, 2) == 0
    assert edge_f1(none, some, 2, one_to_one=True) == 0
