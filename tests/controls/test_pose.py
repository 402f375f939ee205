"""Protects the pose control: who counts as a person, the drawing, and reading it back."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from workbench.controls import ControlError, ControlMap
from workbench.controls import _skeleton as skeleton
from workbench.controls.base import Networks
from workbench.controls.pose import CONTROL
from workbench.metrics.pose import PoseFound, PoseOKS, PosePCK, pose_scores
from workbench.paperdoll import sample_scene

SETTINGS = CONTROL.settings()


def joints(*seeds: int) -> np.ndarray:
    """Figures of the embedded world as shares of the picture, P×18×3."""
    return np.stack([np.c_[sample_scene(s).pose.joints(), np.ones(18)] for s in seeds]).astype(
        np.float32
    )


def lends(people: np.ndarray) -> Networks:
    """A network which sees the same people (shares) in every picture."""

    def network(batch: np.ndarray) -> np.ndarray:
        size = np.array([batch.shape[2], batch.shape[1], 1], np.float32)
        return np.broadcast_to(people * size, (len(batch), *people.shape)).astype(np.float32)

    return {"pose": network}


def extract(people: np.ndarray, height: int = 128, width: int = 128) -> ControlMap:
    (found,) = CONTROL.extract([np.zeros((height, width, 3), np.uint8)], SETTINGS, lends(people))
    return found


def drawn(people: np.ndarray, height: int = 128, width: int = 128) -> ControlMap:
    return ControlMap(skeleton.draw(people, height, width), people)


def controlnet_aux(people: np.ndarray, height: int, width: int) -> np.ndarray:
    """The loop of controlnet-aux's draw_bodypose, joints named from 1 as there."""
    sequence = [
        [2, 3], [2, 6], [3, 4], [4, 5], [6, 7], [7, 8], [2, 9], [9, 10], [10, 11],
        [2, 12], [12, 13], [13, 14], [2, 1], [1, 15], [15, 17], [1, 16], [16, 18],
    ]  # fmt: skip
    hues = [np.clip([abs(h - 3) - 1, 2 - abs(h - 2), 2 - abs(h - 4)], 0, 1) for h in
            np.arange(18) / 3]  # fmt: skip
    colours = [tuple(int(255 * v + 1e-6) for v in hue) for hue in hues]
    canvas = np.zeros((height, width, 3), np.uint8)
    for i, pair in enumerate(sequence):
        for person in people:
            ends = person[np.array(pair) - 1].astype(float)
            if (ends[:, 2] == 0).any():
                continue
            across, down = ends[:, 0] * width, ends[:, 1] * height
            length = math.hypot(down[0] - down[1], across[0] - across[1])
            angle = math.degrees(math.atan2(down[0] - down[1], across[0] - across[1]))
            middle = (int(across.mean()), int(down.mean()))
            polygon = cv2.ellipse2Poly(middle, (int(length / 2), 4), int(angle), 0, 360, 1)
            cv2.fillConvexPoly(canvas, polygon, colours[i])
    canvas = (canvas * 0.6).astype(np.uint8)
    for i in range(18):
        for person in people:
            if person[i, 2] > 0:
                centre = (int(float(person[i, 0]) * width), int(float(person[i, 1]) * height))
                cv2.circle(canvas, centre, 4, colours[i], thickness=-1)
    return canvas


def test_at_512_the_drawing_is_that_of_controlnet_aux() -> None:
    people = joints(3, 4)
    people[0, 4] = 0
    for height, width in ((512, 512), (512, 700)):
        ours, theirs = skeleton.draw(people, height, width), controlnet_aux(people, height, width)
        assert theirs.any()
        assert np.array_equal(ours, theirs)


def test_smaller_drawings_are_smooth_copies_of_the_large_one() -> None:
    people = joints(5)
    large = skeleton.draw(people, 512, 512)
    small = cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.array_equal(skeleton.draw(people, 128, 128), small)
    wide = skeleton.draw(people, 1024, 1024)
    thick = (wide.max(axis=2) > 0).mean() / (large.max(axis=2) > 0).mean()
    assert thick == pytest.approx(1, abs=0.15), "lines keep their share of the picture"


def test_joints_are_shares_of_the_picture_and_unsure_ones_are_left_out() -> None:
    people = joints(6)
    people[0, 4, 2] = 0.29
    people[0, 7, :2] = [1.02, 0.5]
    found = extract(people, 64, 96)
    assert found.data.dtype == np.float32
    assert found.data.shape == (1, 18, 3)
    expected = people.copy()
    expected[0, [4, 7]] = 0
    assert np.allclose(found.data, expected, atol=1e-6)
    assert np.array_equal(found.picture, skeleton.draw(found.data, 64, 96))


def test_a_person_needs_four_sure_joints() -> None:
    people = np.concatenate([joints(1), joints(2), np.zeros((1, 18, 3), np.float32)])
    people[0, 3:, 2] = 0.1
    people[1, 4:, 2] = 0.1
    assert np.array_equal(extract(people).data[:, :4], people[1:2, :4])
    assert extract(people).data.shape == (1, 18, 3)


def test_an_empty_picture_gives_a_black_map() -> None:
    found = extract(np.zeros((1, 18, 3), np.float32))
    assert found.data.shape == (0, 18, 3)
    assert not found.picture.any()
    assert CONTROL.from_picture(found.picture).data.shape == (0, 18, 3)


def test_a_network_may_see_nobody() -> None:
    (found,) = CONTROL.extract(
        [np.zeros((9, 9, 3), np.uint8)], SETTINGS, {"pose": lambda b: np.zeros((1, 0, 18, 3))}
    )
    assert found.data.shape == (0, 18, 3)


def test_the_threshold_changes_the_map() -> None:
    people = joints(7)
    people[0, 4, 2] = 0.5
    networks, picture = lends(people), [np.zeros((64, 64, 3), np.uint8)]
    (strict,) = CONTROL.extract(picture, CONTROL.settings({"confidence": 0.6}), networks)
    assert strict.data[0, 4].tolist() == [0, 0, 0]
    assert extract(people).data[0, 4, 2] == 0.5
    assert set(json.loads(SETTINGS.map_canonical())) == {"confidence"}
    for wrong in (0, -1, 1.1):
        with pytest.raises(ValidationError):
            CONTROL.settings({"confidence": wrong})


def test_broken_networks_are_told() -> None:
    picture = [np.zeros((8, 8, 3), np.uint8)]
    with pytest.raises(ControlError, match="lends none"):
        CONTROL.extract(picture, SETTINGS, {})
    for shape in ((1, 18, 3), (1, 1, 17, 3), (2, 1, 18, 3)):
        with pytest.raises(ControlError, match="returned"):
            CONTROL.extract(picture, SETTINGS, {"pose": lambda b, s=shape: np.zeros(s)})
    with pytest.raises(ControlError, match="not finite"):
        CONTROL.extract(picture, SETTINGS, {"pose": lambda b: np.full((1, 1, 18, 3), np.nan)})


@pytest.mark.parametrize("side", [96, 128, 256, 512])
def test_a_drawn_person_is_read_back(side: int) -> None:
    for seed in range(800_000, 800_030):
        people = joints(seed)
        back = CONTROL.from_picture(skeleton.draw(people, side, side)).data
        assert len(back) == 1
        assert (back[0, :, 2] == 1).all()
        assert np.abs(back[..., :2] - people[..., :2]).max() * side < 0.75, "pixels"


def test_missing_joints_stay_missing() -> None:
    people = joints(9)
    people[0, [0, 3, 4, 10]] = 0
    back = CONTROL.from_picture(skeleton.draw(people, 128, 128)).data
    assert ((back[0, :, 2] > 0) == (people[0, :, 2] > 0)).all()


def test_two_people_are_told_apart_by_their_limbs() -> None:
    for seed in range(20):
        people = joints(seed, seed + 50)
        people[..., 0] = people[..., 0] / 2 + np.array([[0.0], [0.5]])
        back = CONTROL.from_picture(skeleton.draw(people, 128, 256)).data
        assert len(back) == 2
        to_pixels = [256, 128, 1]
        assert pose_scores(back * to_pixels, people * to_pixels).oks > 0.9


def test_a_drawing_of_another_tool_is_read() -> None:
    people = joints(12)
    back = CONTROL.from_picture(controlnet_aux(people, 512, 512)).data
    assert np.abs(back - people)[..., :2].max() * 512 < 1


@pytest.mark.parametrize("kind", ["photo", "edges", "white"])
def test_what_is_no_skeleton_is_refused_with_the_way_out(kind: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    if kind == "white":
        picture[:] = 255
    if kind == "edges":
        picture[:] = 0
        picture[::8] = 255
    with pytest.raises(ControlError, match="extract the pose from the photo"):
        CONTROL.from_picture(picture)


def test_readings_are_those_of_the_metrics_in_pixels_of_the_wanted_map() -> None:
    wanted, got = drawn(joints(1), 96, 200), drawn(joints(2), 512, 512)
    readings = CONTROL.compare(got, wanted, SETTINGS)
    scores = pose_scores(joints(2) * [200, 96, 1], joints(1) * [200, 96, 1])
    values = {name: reading.value for name, reading in readings.items()}
    assert values == {
        "pose_oks": scores.oks, "pose_pck": scores.pck, "pose_found": scores.found,
    }  # fmt: skip
    assert [spec.higher_is_better for spec in CONTROL.metrics] == [
        kind.higher_is_better for kind in (PoseOKS, PosePCK, PoseFound)
    ]


def test_nobody_wanted_is_nan_and_nobody_found_is_zero() -> None:
    nobody, somebody = drawn(np.zeros((0, 18, 3), np.float32)), drawn(joints(1))
    readings = CONTROL.compare(somebody, nobody, SETTINGS)
    assert all(reading.is_nan and "no person" in reading.reason for reading in readings.values())
    readings = CONTROL.compare(nobody, somebody, SETTINGS)
    assert [reading.value for reading in readings.values()] == [0, 0, 0]
