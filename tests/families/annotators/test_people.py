"""Protects: OpenPose's maps become the people they were painted from."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from workbench.families.annotators._people import LIMBS, people
from workbench.families.annotators.onemodule import aux_module
from workbench.families.annotators.openpose import together

SIZE = 256
# A person facing us, standing, as shares of a box: COCO-18 in OpenPose's order.
STANDING = np.array(
    [
        *[(0.5, 0.08), (0.5, 0.2), (0.36, 0.2), (0.3, 0.36), (0.28, 0.5), (0.64, 0.2)],
        *[(0.7, 0.36), (0.72, 0.5), (0.42, 0.5), (0.41, 0.72), (0.4, 0.94), (0.58, 0.5)],
        *[(0.59, 0.72), (0.6, 0.94), (0.47, 0.06), (0.53, 0.06), (0.43, 0.08), (0.57, 0.08)],
    ]
)


def painted(crowd: np.ndarray, missing: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Heat maps and fields of people, P×18×2 in pixels, as the network should give them."""
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    heat = np.zeros((SIZE, SIZE, 19), np.float32)
    fields = np.zeros((SIZE, SIZE, 38), np.float32)
    for person in crowd:
        for joint, (x, y) in enumerate(person):
            if joint not in missing:
                bump = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 5.0**2))
                heat[:, :, joint] = np.maximum(heat[:, :, joint], bump)
        for first, second, cx, cy in LIMBS:
            if {first, second} & set(missing):
                continue
            start, end = person[first], person[second]
            band = np.zeros((SIZE, SIZE), np.uint8)
            cv2.line(band, *(tuple(int(v) for v in p) for p in (start, end)), 1, 9)
            way = (end - start) / np.linalg.norm(end - start)
            fields[band > 0, cx], fields[band > 0, cy] = way
    return heat, fields


def crowd_of(*boxes: tuple[float, float, float]) -> np.ndarray:
    """People standing in boxes of x, y, side."""
    return np.stack([STANDING * side + [x, y] for x, y, side in boxes])


def test_one_person_comes_back() -> None:
    crowd = crowd_of((20, 10, 220))
    (found,) = people(*painted(crowd))
    assert np.abs(found[:, :2] - crowd[0]).max() < 1.0
    assert found[:, 2].min() > 0.8
    assert found[:, 2].max() <= 1
    assert found.dtype == np.float32


def test_two_people_are_told_apart() -> None:
    crowd = crowd_of((-20, 20, 180), (90, 40, 180))
    found = people(*painted(crowd))
    assert len(found) == 2
    order = np.argsort(found[:, 1, 0])
    for got, wanted in zip(found[order], crowd, strict=True):
        assert np.abs(got[:, :2] - wanted).max() < 1.5


def test_missing_joints_are_zeros_and_the_rest_stays() -> None:
    crowd = crowd_of((20, 10, 220))
    (found,) = people(*painted(crowd, missing=(4, 10)))
    assert not found[[4, 10]].any()
    rest = [joint for joint in range(18) if joint not in (4, 10)]
    assert np.abs(found[rest, :2] - crowd[0][rest]).max() < 1.0


def test_three_joints_are_nobody() -> None:
    missing = tuple(joint for joint in range(18) if joint not in (1, 2, 3))
    assert people(*painted(crowd_of((20, 10, 220)), missing)).shape == (0, 18, 3)


def test_an_empty_picture_has_nobody() -> None:
    nothing = np.zeros((64, 80, 19), np.float32), np.zeros((64, 80, 38), np.float32)
    assert people(*nothing).shape == (0, 18, 3)


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_is_grouped_as_controlnets_own_annotator_groups_it(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    boxes = [(float(x), 5.0, 150.0) for x in (-30, 45, 120)]
    crowd = crowd_of(*boxes) + rng.normal(0, 4, (3, 18, 2))
    heat, fields = painted(crowd, missing=(int(rng.integers(0, 18)),))
    heat += rng.normal(0, 0.01, heat.shape).astype(np.float32)
    aux_module("open_pose")  # body alone cannot be imported: it and util need each other
    body = aux_module("open_pose.body")
    # Their grouping is part of one long function; it is fed our maps instead of a network's.
    theirs = object.__new__(body.Body)
    theirs.model = _Fixed()
    monkeypatch.setattr(body.util, "smart_resize_k", lambda x, fx, fy: x)
    maps = iter([heat.astype(np.float64), fields.astype(np.float64)])
    monkeypatch.setattr(body.util, "smart_resize", lambda x, s: next(maps))
    candidate, subset = theirs(np.zeros((SIZE, SIZE, 3), np.uint8))
    wanted = np.zeros((len(subset), 18, 2))
    for row, person in zip(wanted, subset, strict=True):
        for joint, index in enumerate(person[:18].astype(int)):
            if index >= 0:
                row[joint] = candidate[index, :2] + 0.5
    found = people(heat, fields)
    assert len(found) == len(wanted) >= 2
    for got in found:
        assert min(np.abs(got[:, :2] - person).max() for person in wanted) < 1.01


class _Fixed:
    """Stands in for the network in their function, which only asks it for a device and a call."""

    def parameters(self) -> object:
        import torch

        return iter([torch.zeros(1)])

    def __call__(self, data: object) -> tuple[object, object]:
        import torch

        return torch.zeros(1, 38, 2, 2), torch.zeros(1, 19, 2, 2)


def test_pictures_with_unequal_crowds_stack() -> None:
    one, two = np.ones((1, 18, 3), np.float32), np.ones((2, 18, 3), np.float32)
    both = together([one, two, np.zeros((0, 18, 3), np.float32)])
    assert both.shape == (3, 2, 18, 3)
    assert both[1].all()
    assert not both[0, 1].any()
    assert not both[2].any()
