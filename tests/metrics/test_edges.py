"""Protects edge F1: equal to torchmetrics without tolerance, to brute force with it, and sane."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import distance_transform_edt
from torchmetrics.classification import BinaryF1Score, BinaryPrecision, BinaryRecall
from torchmetrics.utilities import dim_zero_sum

from workbench.metrics.edges import (
    EdgeF1,
    EdgePrecision,
    EdgeRecall,
    EdgeScores,
    default_tolerance,
    edge_f1,
    edge_precision,
    edge_recall,
    edge_scores,
)

RNG = np.random.default_rng(11)


def scene(seed: int, size: int = 96) -> np.ndarray:
    """A picture with a few shapes, uint8 H×W×3."""
    rng = np.random.default_rng(seed)
    picture = np.full((size, size, 3), 220, np.uint8)
    for _ in range(6):
        colour = tuple(int(v) for v in rng.integers(0, 255, 3))
        x, y = (int(v) for v in rng.integers(10, size - 10, 2))
        radius = int(rng.integers(5, size // 4))
        if rng.random() < 0.5:
            cv2.circle(picture, (x, y), radius, colour, -1)
        else:
            cv2.rectangle(picture, (x, y), (x + radius, y + 2 * radius), colour, -1)
    return picture


def canny(picture: np.ndarray) -> np.ndarray:
    return cv2.Canny(picture, 100, 200) > 0


def brute_force(pred: np.ndarray, target: np.ndarray, tolerance: float) -> EdgeScores:
    """Every pixel against every other, in exact integers."""

    def found(a: np.ndarray, b: np.ndarray) -> float:
        hits = 0
        for y, x in np.argwhere(a):
            near = [(y - v) ** 2 + (x - u) ** 2 <= tolerance**2 for v, u in np.argwhere(b)]
            hits += any(near)
        return hits / a.sum() if a.any() else math.nan

    precision, recall = found(pred, target), found(target, pred)
    if not pred.any() and not target.any():
        return EdgeScores(math.nan, precision, recall)
    if not pred.any() or not target.any() or precision + recall == 0:
        return EdgeScores(0.0, precision, recall)
    return EdgeScores(2 * precision * recall / (precision + recall), precision, recall)


def same(a: EdgeScores, b: EdgeScores) -> bool:
    return np.allclose(
        [a.f1, a.precision, a.recall], [b.f1, b.precision, b.recall], equal_nan=True, atol=1e-12
    )


@pytest.mark.parametrize("seed", range(5))
def test_without_tolerance_it_is_torchmetrics_on_opencv_maps(seed: int) -> None:
    a, b = scene(seed), np.roll(scene(seed), 1, axis=1)
    b = cv2.circle(b.copy(), (40, 40), 9, (0, 0, 255), -1)
    pred, target = torch.from_numpy(canny(b)), torch.from_numpy(canny(a))
    scores = edge_scores(pred, target)
    assert 0.05 < scores.f1 < 0.95, "the maps must be partly alike for this to mean anything"
    for ours, theirs in (
        (scores.f1, BinaryF1Score()),
        (scores.precision, BinaryPrecision()),
        (scores.recall, BinaryRecall()),
    ):
        assert ours == pytest.approx(float(theirs(pred.int(), target.int())), abs=1e-6)


def test_without_tolerance_a_batch_is_pooled_as_in_torchmetrics() -> None:
    pred, target = RNG.random((3, 20, 30)) > 0.7, RNG.random((3, 20, 30)) > 0.8
    theirs = BinaryF1Score()(torch.from_numpy(pred).int(), torch.from_numpy(target).int())
    assert edge_scores(pred, target).f1 == pytest.approx(float(theirs), abs=1e-6)


@settings(max_examples=120, deadline=None)
@given(st.data(), st.sampled_from([0, 0.5, 1, 1.4, 2**0.5, 1.5, 2, 5**0.5, 3, 5, 50]))
def test_with_tolerance_it_is_brute_force(data: st.DataObject, tolerance: float) -> None:
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
    pred, target = (data.draw(arrays(bool, shape)) for _ in range(2))
    assert same(edge_scores(pred, target, tolerance), brute_force(pred, target, tolerance))


@pytest.mark.parametrize("tolerance", [1, 1.36, 2**0.5, 3, 10])
def test_with_tolerance_it_is_scipys_distance_transform(tolerance: float) -> None:
    pred, target = canny(scene(1)), canny(scene(2))
    scores = edge_scores(pred, target, tolerance)
    precision = (distance_transform_edt(~target)[pred] <= tolerance).mean()
    recall = (distance_transform_edt(~pred)[target] <= tolerance).mean()
    assert 0 < precision < 1
    assert scores.precision == pytest.approx(precision)
    assert scores.recall == pytest.approx(recall)
    assert scores.f1 == pytest.approx(2 / (1 / precision + 1 / recall))


@settings(deadline=None)
@given(arrays(bool, (7, 7)), arrays(bool, (7, 7)), st.floats(0, 9))
def test_properties(pred: np.ndarray, target: np.ndarray, tolerance: float) -> None:
    there, back = edge_scores(pred, target, tolerance), edge_scores(target, pred, tolerance)
    assert same(there, EdgeScores(back.f1, back.recall, back.precision))
    wider = edge_scores(pred, target, tolerance + 1)
    assert math.isnan(there.f1) or wider.f1 >= there.f1 - 1e-12
    own = edge_scores(pred, pred, tolerance)
    assert own == EdgeScores(1, 1, 1) if pred.any() else math.isnan(own.f1)


@pytest.mark.parametrize("seed", range(4))
def test_a_growing_shift_never_improves(seed: int) -> None:
    # An L, because a shape with parallel or slanting lines may well match again later.
    rows, columns = (int(v) for v in np.random.default_rng(seed).integers(20, 60, 2))
    edges = np.zeros((160, 160), bool)
    edges[40 : 40 + rows, 20] = edges[40, 20 : 20 + columns] = True
    for tolerance in (0, 1.5, 4):
        f1 = [edge_scores(np.roll(edges, s, 1), edges, tolerance).f1 for s in (0, 2, 6, 12, 75)]
        assert f1[0] == 1
        assert f1[-1] == 0
        assert f1 == sorted(f1, reverse=True)


def test_growing_noise_never_improves() -> None:
    edges, noise = canny(scene(3)), RNG.random((96, 96))
    for tolerance in (0, 1.4):
        f1 = [
            edge_scores(edges ^ (noise < share), edges, tolerance).f1
            for share in (0, 0.02, 0.1, 0.4)
        ]
        assert f1[0] == 1
        assert f1 == sorted(f1, reverse=True)


def test_growing_blur_never_improves() -> None:
    picture = scene(4)
    target = canny(picture)
    f1 = [
        edge_scores(canny(cv2.GaussianBlur(picture, (0, 0), s)), target).f1 for s in (0.1, 2, 4, 8)
    ]
    assert f1[0] == pytest.approx(1)
    assert f1 == sorted(f1, reverse=True)


def test_empty_maps() -> None:
    none, some = np.zeros((5, 5), bool), np.eye(5, dtype=bool)
    assert all(math.isnan(v) for v in vars(edge_scores(none, none, 2)).values())
    for tolerance in (0, 2, 100):
        scores = edge_scores(none, some, tolerance)
        assert (scores.f1, scores.recall) == (0, 0)
        assert math.isnan(scores.precision)
        scores = edge_scores(some, none, tolerance)
        assert (scores.f1, scores.precision) == (0, 0)
        assert math.isnan(scores.recall)


def test_the_default_tolerance_is_that_of_bsds() -> None:
    assert default_tolerance(321, 481) == pytest.approx(4.337, abs=1e-3)
    assert default_tolerance(3, 4, 0.1) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("pred", "target", "tolerance", "message"),
    [
        (np.ones((3, 3), bool), np.ones((3, 4), bool), 0, "one shape"),
        (np.ones((3, 3), np.uint8), np.ones((3, 3), bool), 0, "preds must be bool"),
        (np.ones((3, 3), bool), np.ones((3, 3)), 0, "target must be bool"),
        (np.ones(3, bool), np.ones(3, bool), 0, "H×W"),
        (np.ones((3, 3), bool), np.ones((3, 3), bool), -1, "0 or more"),
        (np.ones((3, 3), bool), np.ones((3, 3), bool), math.nan, "0 or more"),
    ],
)
def test_wrong_input_is_refused(
    pred: np.ndarray, target: np.ndarray, tolerance: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        edge_scores(pred, target, tolerance)


@pytest.mark.parametrize("tolerance", [0, 1.5])
@pytest.mark.parametrize("reduction", ["mean", "pooled"])
def test_the_metric_over_its_updates_is_the_function(tolerance: float, reduction: str) -> None:
    pred, target = RNG.random((6, 16, 16)) > 0.8, RNG.random((6, 16, 16)) > 0.9
    pred[5], target[5] = False, False  # a picture without a score
    pooled = vars(edge_scores(pred, target, tolerance))
    alone = [vars(edge_scores(p, t, tolerance)) for p, t in zip(pred[:5], target[:5], strict=True)]
    for kind, function, name in (
        (EdgeF1, edge_f1, "f1"),
        (EdgePrecision, edge_precision, "precision"),
        (EdgeRecall, edge_recall, "recall"),
    ):
        value = np.mean([scores[name] for scores in alone]) if reduction == "mean" else pooled[name]
        assert function(pred, target, tolerance, reduction) == pytest.approx(value)
        metric = kind(tolerance, reduction=reduction)
        metric.update(torch.from_numpy(pred[:2]), torch.from_numpy(target[:2]))
        metric.update(pred[2], target[2])
        # What another process saw is added up, as dist_reduce_fx="sum" does it.
        other = kind(tolerance, reduction=reduction)
        other.update(pred[3:], target[3:])
        for name in metric._defaults:
            setattr(metric, name, torch.stack([getattr(metric, name), getattr(other, name)]).sum(0))
        assert float(metric.compute()) == pytest.approx(value)
        assert set(metric._reductions.values()) == {dim_zero_sum}
        metric.reset()
        metric.update(np.zeros((4, 4), bool), np.zeros((4, 4), bool))
        assert math.isnan(float(metric.compute()))
        assert metric.higher_is_better is True


def test_forward_scores_the_batch_and_keeps_the_total() -> None:
    metric = EdgeF1(reduction="pooled")
    eye = torch.eye(4, dtype=torch.bool)
    assert float(metric(eye, eye)) == 1
    assert float(metric(~eye, eye)) == 0
    assert float(metric.compute()) == pytest.approx(8 / (8 + 12 + 4))


def test_a_metric_with_an_impossible_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        EdgeF1(-1)
    with pytest.raises(ValueError, match="'mean' or 'pooled'"):
        EdgeF1(reduction="sum")
    with pytest.raises(ValueError, match="'mean' or 'pooled'"):
        edge_f1(np.ones((3, 3), bool), np.ones((3, 3), bool), reduction="sum")
