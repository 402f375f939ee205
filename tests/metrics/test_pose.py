"""Protects OKS, PCK and the share of joints: equal to plain loops, matched one to one, and sane."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.metrics.pose import (
    SIGMAS,
    PoseFound,
    PoseOKS,
    PosePCK,
    PoseScores,
    oks_matrix,
    pose_found,
    pose_oks,
    pose_pck,
    pose_scores,
)
from workbench.paperdoll import JOINTS, sample_scene

COCO = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072,
    "wrist": 0.062, "hip": 0.107, "knee": 0.087, "ankle": 0.089,
}  # fmt: skip
"""kpt_oks_sigmas of pycocotools."""


def figure(seed: int, missing: float = 0.0) -> np.ndarray:
    """A figure of the embedded world at 128 pixels, 18×3; some joints may be missing."""
    rng = np.random.default_rng(seed)
    person = np.concatenate([sample_scene(seed).pose.joints() * 128, np.ones((18, 1))], axis=1)
    person[rng.random(18) < missing] = 0
    return person


def people(*seeds: int, missing: float = 0.0) -> np.ndarray:
    return np.array([figure(seed, missing) for seed in seeds]).reshape(-1, 18, 3)


def sigma(joint: int) -> float:
    name = JOINTS[joint].split("_")[-1]
    return COCO["shoulder" if name == "neck" else name]


def loop_oks(wanted: np.ndarray, got: np.ndarray) -> float:
    """OKS of one person, written out from COCO's definition."""
    seen = [j for j in range(18) if wanted[j, 2] > 0]
    xs, ys = [wanted[j, 0] for j in seen], [wanted[j, 1] for j in seen]
    w, h = max(xs) - min(xs), max(ys) - min(ys)
    area = max(max(w, h) * max(min(w, h), max(w, h) / 4), 1)
    total = 0.0
    for j in seen:
        if got[j, 2] > 0:
            d2 = (wanted[j, 0] - got[j, 0]) ** 2 + (wanted[j, 1] - got[j, 1]) ** 2
            total += math.exp(-d2 / (2 * area * (2 * sigma(j)) ** 2))
    return total / len(seen)


def loop_scores(got: np.ndarray, wanted: np.ndarray) -> PoseScores:
    """Every way of matching, the best one, and the joints counted one by one."""
    wanted = np.array([w for w in wanted if (w[:, 2] > 0).any()]).reshape(-1, 18, 3)
    size = max(len(got), len(wanted))
    best: tuple[float, list[tuple[int, int]]] = (-1.0, [])
    for order in itertools.permutations(range(size), len(wanted)):
        pairs = [(i, k) for i, k in enumerate(order) if k < len(got)]
        best = max(best, (sum(loop_oks(wanted[i], got[k]) for i, k in pairs), pairs))
    right = found = joints = 0
    for i, k in best[1]:
        w, g = wanted[i], got[k]
        hips = [w[j, :2] for j in (8, 11) if w[j, 2] > 0]
        if w[1, 2] > 0 and hips:
            reach = 0.2 * math.dist(w[1, :2], sum(hips) / len(hips))
        else:
            seen = w[w[:, 2] > 0, :2]
            reach = 0.2 * max(seen.max(axis=0) - seen.min(axis=0))
        for j in range(18):
            if w[j, 2] > 0 and g[j, 2] > 0:
                found += 1
                right += math.dist(w[j, :2], g[j, :2]) <= reach
    joints = int((wanted[:, :, 2] > 0).sum())
    return PoseScores(best[0] / len(wanted), right / joints, found / joints)


def test_sigmas_are_those_of_coco() -> None:
    assert [sigma(j) for j in range(18)] == list(SIGMAS)


@pytest.mark.parametrize("seed", range(25))
def test_equals_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wanted = people(*rng.integers(0, 99, rng.integers(1, 4)), missing=0.3)
    got = people(*rng.integers(0, 99, rng.integers(0, 4)), missing=0.2) if seed else wanted[:0]
    if seed % 2:
        got = np.concatenate([got, wanted[::-1] + rng.normal(0, 3, wanted.shape) * [1, 1, 0]])
    expected, found = loop_scores(got, wanted), pose_scores(got, wanted)
    assert found.oks == pytest.approx(expected.oks, abs=1e-12)
    assert found.pck == pytest.approx(expected.pck, abs=1e-12)
    assert found.found == pytest.approx(expected.found, abs=1e-12)


def test_the_same_people_in_any_order_score_one() -> None:
    crowd = people(1, 2, 3, missing=0.2)
    assert pose_scores(crowd[[2, 0, 1]], crowd) == PoseScores(1, 1, 1)


def test_nobody_to_compare_is_nan_and_nobody_found_is_zero() -> None:
    nobody = np.zeros((0, 18, 3))
    for target in (nobody, np.zeros((2, 18, 3))):
        scores = pose_scores(people(1), target)
        assert all(math.isnan(v) for v in (scores.oks, scores.pck, scores.found))
    assert pose_scores(nobody, people(1)) == PoseScores(0, 0, 0)
    assert pose_scores(np.zeros((1, 18, 3)), people(1)) == PoseScores(0, 0, 0)


def test_one_predicted_person_serves_only_one_wanted() -> None:
    twins = people(4, 4)
    assert pose_scores(twins[:1], twins) == PoseScores(0.5, 0.5, 0.5)


def test_joints_counted_by_hand() -> None:
    wanted = people(5)
    torso = math.dist(wanted[0, 1, :2], (wanted[0, 8, :2] + wanted[0, 11, :2]) / 2)
    got = wanted.copy()
    got[0, 3, 0] += 0.19 * torso
    got[0, 4, 1] -= 0.21 * torso
    got[0, 16] = 0
    scores = pose_scores(got, wanted)
    assert (scores.pck, scores.found) == (pytest.approx(16 / 18), pytest.approx(17 / 18))


def test_people_only_in_the_prediction_cost_nothing() -> None:
    assert pose_scores(people(6, 7, 8), people(7)) == PoseScores(1, 1, 1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 500), st.floats(0, 2 * math.pi))
def test_growing_shift_never_helps(seed: int, angle: float) -> None:
    wanted = people(seed)
    step = np.array([math.cos(angle), math.sin(angle), 0])
    scores = [pose_scores(wanted + far * step, wanted) for far in (0, 1, 2, 4, 8, 16, 40)]
    assert all(a.oks >= b.oks and a.pck >= b.pck for a, b in itertools.pairwise(scores))
    assert scores[0].oks == 1
    assert scores[-1].oks < 0.3
    assert scores[-1].pck == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.5, 20))
def test_size_does_not_matter(seed: int, other: int, scale: float) -> None:
    a, b = people(seed), people(other)
    small, large = pose_scores(a, b), pose_scores(a * [scale, scale, 1], b * [scale, scale, 1])
    assert large.oks == pytest.approx(small.oks, abs=1e-9)
    assert large.pck == pytest.approx(small.pck, abs=0.06)


def test_unrelated_figures_lie_far_below_one() -> None:
    values = [pose_scores(people(s), people(s + 1)) for s in range(60)]
    assert np.mean([v.oks for v in values]) < 0.5
    assert np.mean([v.pck for v in values]) < 0.3


def test_a_thin_person_and_a_single_joint_still_count() -> None:
    line = people(3)
    line[..., 0] = 50
    assert 0.2 < pose_scores(line + [2, 0, 0], line).oks < 1
    single = np.zeros((1, 18, 3))
    single[0, 4] = [10, 10, 1]
    assert pose_scores(single, single) == PoseScores(1, 1, 1)
    assert pose_scores(single + [1, 0, 0], single).oks < 0.01


def test_the_matrix_has_a_row_for_every_wanted_person() -> None:
    got, wanted = people(1, 2), people(2, 3, 4)
    expected = [[loop_oks(w, g) for g in got] for w in wanted]
    assert np.allclose(oks_matrix(got, wanted), expected)


@pytest.mark.parametrize(
    ("kind", "name"), [(PoseOKS, "oks"), (PosePCK, "pck"), (PoseFound, "found")]
)
def test_metrics_pool_people_and_joints(kind: type[PoseOKS], name: str) -> None:
    metric = kind(reduction="pooled")
    metric.update(people(1), people())
    assert math.isnan(float(metric.compute()))
    got, wanted = people(1, 2, missing=0.2), people(2, 3, missing=0.3)
    metric.update(got, wanted)
    assert float(metric.compute()) == pytest.approx(getattr(pose_scores(got, wanted), name))
    metric.update(torch.from_numpy(people(9)), torch.from_numpy(people(9)))
    one, two = pose_scores(got, wanted), PoseScores(1, 1, 1)
    first = 2 if name == "oks" else int((wanted[..., 2] > 0).sum())
    second = 1 if name == "oks" else 18
    mean = (getattr(one, name) * first + getattr(two, name) * second) / (first + second)
    assert float(metric.compute()) == pytest.approx(mean)
    assert metric.higher_is_better is True


@pytest.mark.parametrize(
    ("kind", "function"), [(PoseOKS, pose_oks), (PosePCK, pose_pck), (PoseFound, pose_found)]
)
def test_metrics_average_pictures(kind: type[PoseOKS], function) -> None:  # type: ignore[no-untyped-def]
    metric = kind()
    pairs = [(people(1, 2), people(2, 3, 4)), (people(5), people(6, missing=0.3))]
    for got, wanted in [*pairs, (people(1), people())]:
        metric.update(got, wanted)
    assert float(metric.compute()) == pytest.approx(np.mean([function(*pair) for pair in pairs]))


@pytest.mark.parametrize("shape", [(18, 3), (1, 17, 3), (1, 18, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="P×18×3"):
        pose_scores(np.zeros(shape), people(1))
    with pytest.raises(ValueError, match="not finite"):
        pose_scores(people(1), np.full((1, 18, 3), np.nan))
