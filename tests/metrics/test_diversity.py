"""Protects diversity: the mean over pairs by brute force, none among equals, more when spread."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.metrics.diversity import (
    EmbeddingDiversity,
    MapDiversity,
    embedding_diversity,
    map_distance,
    map_diversity,
)
from workbench.metrics.edges import default_tolerance, edge_f1

RNG = np.random.default_rng(2)


@settings(deadline=None)
@given(st.integers(2, 12), st.integers(1, 9), st.integers(0, 99))
def test_embeddings_against_all_pairs(count: int, size: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((count, size))
    pairs = [
        1 - float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))
        for a, b in combinations(vectors, 2)
    ]
    assert embedding_diversity(vectors) == pytest.approx(np.mean(pairs), abs=1e-9)


def test_known_embeddings() -> None:
    assert embedding_diversity(np.eye(4)) == pytest.approx(1)
    assert embedding_diversity(np.array([[1.0, 0], [-3.0, 0]])) == pytest.approx(2)
    alike = np.tile(RNG.standard_normal(512), (8, 1))
    assert 0 <= embedding_diversity(alike) < 1e-9
    assert embedding_diversity(alike.astype(np.float16)) < 1e-9


def test_order_and_length_do_not_matter_and_spreading_adds() -> None:
    vectors = RNG.standard_normal((6, 8))
    mixed = vectors[RNG.permutation(6)] * RNG.uniform(0.1, 9, (6, 1))
    assert embedding_diversity(mixed) == pytest.approx(embedding_diversity(vectors))
    centre = np.ones(8) * 3
    spread = [embedding_diversity(centre + s * vectors) for s in (0, 0.5, 1, 2, 5)]
    assert spread == sorted(spread)


def test_fewer_than_two_have_no_diversity() -> None:
    assert math.isnan(embedding_diversity(np.ones((1, 3))))
    assert math.isnan(embedding_diversity(np.ones((0, 3))))
    assert math.isnan(map_diversity([]))
    assert math.isnan(map_diversity([np.ones((3, 3))]))


@pytest.mark.parametrize("bad", [np.zeros((2, 3)), np.full((2, 3), np.inf), np.ones(3)])
def test_impossible_embeddings_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"zero or not finite|N×D"):
        embedding_diversity(bad)


def test_distance_of_float_maps_is_a_plain_rms() -> None:
    a, b = RNG.random((5, 7)), RNG.random((5, 7))
    total = sum((x - y) ** 2 for x, y in zip(a.ravel(), b.ravel(), strict=True))
    assert map_distance(a, b) == pytest.approx(math.sqrt(total / 35))
    assert map_distance(a, b) == map_distance(b, a)
    assert map_distance(a, a) == 0
    assert map_distance(np.zeros((2, 2)), np.ones((2, 2))) == 1


def test_distance_of_edge_maps() -> None:
    a, b = RNG.random((2, 200, 200)) > 0.97
    assert map_distance(a, b) == pytest.approx(1 - edge_f1(a, b, default_tolerance(200, 200)).f1)
    assert map_distance(a, a) == 0
    assert map_distance(a, np.roll(a, 1, axis=0)) < 0.1
    assert map_distance(a, np.zeros_like(a)) == 1
    assert math.isnan(map_distance(np.zeros_like(a), np.zeros_like(a)))


@pytest.mark.parametrize(
    "other", [np.ones((3, 4)), np.ones((3, 3), bool), np.ones((3, 3), np.int64)]
)
def test_maps_of_different_kinds_are_refused(other: np.ndarray) -> None:
    with pytest.raises(ValueError, match="one shape and kind"):
        map_distance(np.ones((3, 3)), other)


def test_labels_have_no_distance_of_their_own() -> None:
    labels = np.ones((3, 3), np.int64)
    with pytest.raises(ValueError, match="no distance"):
        map_distance(labels, labels)
    assert map_diversity([labels, labels * 2], lambda a, b: float((a != b).mean())) == 1


def test_map_diversity_is_the_mean_over_the_pairs_that_have_a_distance() -> None:
    maps = list(RNG.random((4, 6, 6)))
    pairs = [map_distance(a, b) for a, b in combinations(maps, 2)]
    assert map_diversity(maps) == pytest.approx(np.mean(pairs))
    none, some = np.zeros((9, 9), bool), np.eye(9, dtype=bool)
    assert map_diversity([none, none, some]) == 1
    assert math.isnan(map_diversity([none, none]))


def test_metrics_agree_with_their_twins() -> None:
    vectors = RNG.standard_normal((7, 5))
    looks = EmbeddingDiversity()
    looks.update(vectors[:3])
    looks.update(torch.from_numpy(vectors[3:]))
    assert float(looks.compute()) == pytest.approx(embedding_diversity(vectors), rel=1e-5)
    for maps in (RNG.random((5, 6, 6)), RNG.random((5, 30, 30)) > 0.9):
        structure = MapDiversity()
        structure.update(maps[:2])
        structure.update(torch.from_numpy(maps[2:]))
        assert float(structure.compute()) == pytest.approx(map_diversity(list(maps)), rel=1e-6)
    with pytest.raises(ValueError, match="N×H×W"):
        MapDiversity().update(np.ones((3, 3)))


def test_metrics_add_up_over_processes() -> None:
    """After gathering, a state is one tensor instead of a list."""
    vectors = torch.from_numpy(RNG.standard_normal((4, 5)))
    looks = EmbeddingDiversity()
    looks.update(vectors)
    wanted = float(looks.compute())
    looks._computed = None
    looks.embeddings = torch.cat(looks.embeddings)  # type: ignore[assignment]
    assert float(looks.compute()) == pytest.approx(wanted)
