"""Protects the ranking from metrics that ask a part of the question.

A metric is whole if only a map with everything wanted, in its place, reaches its best. Each that is
declared a part is satisfied here by a degenerate map, and no degenerate map satisfies a whole one.
"""

from __future__ import annotations

import numpy as np
import pytest

from workbench import metrics
from workbench.controls import CONTROL_NAMES, get_control
from workbench.metrics.spec import TRAITS

SIDE = 192
RNG = np.random.default_rng(3)
EDGES = RNG.random((SIDE, SIDE)) < 0.02
SEGMENTS = np.array([[4, 4, 40, 4], [4, 44, 40, 44], [4, 10, 4, 40], [44, 10, 44, 40]], float)
JOINTS = np.dstack([RNG.uniform(8, 40, (1, 18, 2)), np.ones((1, 18, 1))])
NORMALS = np.tile(np.array([0.0, 0.0, 1.0]), (SIDE, SIDE, 1))
CLASSES = (np.add.outer(np.arange(SIDE), np.arange(SIDE)) // 12 % 4).astype(np.uint8)
DEPTH = np.add.outer(np.linspace(0.1, 0.5, SIDE), np.linspace(0, 0.4, SIDE)).astype(np.float32)


def one_pixel(edges: np.ndarray) -> np.ndarray:
    found = np.zeros_like(edges)
    found[tuple(np.argwhere(edges)[0])] = True
    return found


def half(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Right in 60 of 100 rows, wrong below."""
    rows = np.arange(len(right)) < 0.6 * len(right)
    return np.where(rows.reshape(-1, *[1] * (right.ndim - 1)), right, wrong)


def elsewhere(joints: np.ndarray) -> np.ndarray:
    return joints + np.array([500.0, 500.0, 0.0])


TILTED = np.tile(np.array([1.0, 0.0, 0.0]), (SIDE, SIDE, 1))
DEGENERATE = {
    "Edge": [(one_pixel(EDGES), EDGES), (np.ones_like(EDGES), EDGES)],
    "Segment": [(SEGMENTS[:1], SEGMENTS),
                (np.concatenate([SEGMENTS, SEGMENTS[:, ::-1] * 0.7 + 3]), SEGMENTS)],
    "Pose": [(elsewhere(JOINTS), JOINTS)],
    "Normal": [(half(NORMALS, TILTED), NORMALS)],
    "MeanIoU": [(np.zeros_like(CLASSES), CLASSES), (half(CLASSES, CLASSES[::-1]), CLASSES)],
    "Pixel": [(np.zeros_like(CLASSES), CLASSES), (half(CLASSES, CLASSES[::-1]), CLASSES)],
    "Map": [(np.zeros_like(DEPTH), DEPTH), (half(DEPTH, 1 - DEPTH), DEPTH)],
    "Depth": [(half(DEPTH, 1 - DEPTH), DEPTH)],
}  # fmt: skip
SETTINGS = {
    "Edge": {"tolerance": 1.5},
    "Segment": {"tolerance": 3.0},
    "MeanIoU": {"classes": 4},
    "Pixel": {"classes": 4},
    "NormalWithin": {"degrees": 30.0},
}


@pytest.mark.parametrize("name", [n for n in TRAITS if not n.startswith(("Clip", "Tag"))])
def test_only_parts_are_satisfied_by_degenerate_maps(name: str) -> None:
    kind = getattr(metrics, name)
    start = next(start for start in DEGENERATE if name.startswith(start))
    traits = TRAITS[name]
    best = traits.high if traits.higher_is_better else traits.low
    reached = []
    for preds, target in DEGENERATE[start]:
        metric = kind(**SETTINGS.get(name, SETTINGS.get(start, {})))
        metric.update(preds, target)
        reached.append(float(metric.compute()) == pytest.approx(best, abs=1e-6))
    assert any(reached) != traits.whole


@pytest.mark.parametrize("name", CONTROL_NAMES)
def test_the_metric_that_stands_for_a_type_is_whole(name: str) -> None:
    control = get_control(name)
    assert control.metric(control.primary).whole
