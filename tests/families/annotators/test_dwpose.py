"""Protects: DWPose's two networks are fed as they were trained, and their answers become people.

The ONNX files are tiny, with the published files' names and shapes; see `onnx_files`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotator_files import FOLDER, annotator
from numpy.typing import NDArray
from onnx_files import (
    COARSE,
    detector_rows,
    peaked,
    write_detector,
    write_detector_of_light,
    write_pose,
    write_pose_of_light,
)

from workbench.families.annotators.dwpose import boxes, letterboxed, openpose_joints, peaks

BLACK = np.zeros((1, 200, 320, 3), np.uint8)
DARK = 150.0
CELL_5_4 = COARSE + 4 * 20 + 5
COCO = (
    *("nose", "left eye", "right eye", "left ear", "right ear", "left shoulder"),
    *("right shoulder", "left elbow", "right elbow", "left wrist", "right wrist", "left hip"),
    *("right hip", "left knee", "right knee", "left ankle", "right ankle"),
)
OPENPOSE = (
    *("nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder"),
    *("left elbow", "left wrist", "right hip", "right knee", "right ankle", "left hip"),
    *("left knee", "left ankle", "right eye", "left eye", "right ear", "left ear"),
)
# In the 640×400 pixels that a picture of 320×200 becomes: middle (176, 144), 64 wide, 128 high.
STANDING = (0.5, 0.5, math.log(2), math.log(4), 0.9, 0.9)


def network(folder: Path) -> Callable[[Any], Any]:
    return annotator("dwpose", folder)


def lit(*spots: tuple[int, int, tuple[int, int, int]], side: int = 5) -> NDArray[np.uint8]:
    """A black picture 320×240 with squares around the pixels x, y in colours."""
    picture = np.zeros((240, 320, 3), np.uint8)
    reach = side // 2
    for x, y, colour in spots:
        picture[y - reach : y + reach + 1, x - reach : x + reach + 1] = colour
    return picture


def spot(x: int, y: int, level: int = 255) -> NDArray[np.uint8]:
    """A black picture 320×240 with light in red and blue that is brightest at one pixel."""
    picture = lit((x, y, (level - 20, 0, level - 20)), side=3)
    picture[y, x] = level, 0, level
    return picture


@pytest.fixture
def light(tmp_path: Path) -> Callable[[Any], Any]:
    """Networks that look for light in the first channel that each of them gets."""
    write_detector_of_light(tmp_path / FOLDER, 0, dark=DARK, wide=96)
    write_pose_of_light(tmp_path / FOLDER, 0)
    return network(tmp_path)


def test_two_people_are_found_where_they_are(light: Callable[[Any], Any]) -> None:
    left, right = (58, 101), (250, 133)
    picture = np.maximum(spot(*left, 240), spot(*right))
    found = light(picture[None])
    assert found.shape == (1, 2, 18, 3)
    assert found.dtype == np.float32
    # The surer one comes first; a crop's pixel is 0.31 of the picture's.
    for person, (x, y) in zip(found[0], (right, left), strict=True):
        assert np.abs(person[:, :2] - [x + 0.5, y + 0.5]).max() < 0.2
        assert (person[:, 2] == 1).all()  # 2.2 spreads above the mean, and no more than certain


def test_a_tall_picture_is_read_in_its_own_pixels(light: Callable[[Any], Any]) -> None:
    picture = np.ascontiguousarray(spot(58, 101).transpose(1, 0, 2))
    (person,) = light(picture[None])[0]
    assert np.abs(person[:, :2] - [101.5, 58.5]).max() < 0.2


@pytest.mark.parametrize(
    ("colour", "detector", "joints", "count"),
    [
        ((255, 0, 255), 0, 0, 1),
        ((255, 0, 0), 0, 0, 0),  # the detector's first channel is blue
        ((0, 0, 255), 0, 0, 0),  # the first channel of the network for the joints is red
        ((0, 0, 255), 0, 2, 1),
        ((255, 0, 0), 2, 0, 1),
        ((0, 255, 0), 1, 1, 1),
    ],
)
def test_the_detector_reads_bgr_and_the_joints_are_read_in_rgb(
    colour: tuple[int, int, int], detector: int, joints: int, count: int, tmp_path: Path
) -> None:
    write_detector_of_light(tmp_path / FOLDER, detector, dark=DARK, wide=96)
    write_pose_of_light(tmp_path / FOLDER, joints)
    assert network(tmp_path)(lit((58, 101, colour))[None]).shape[1] == count


@pytest.mark.parametrize(
    ("channel", "wanted"),
    [
        (0, (160 / 255 - 0.485) / 0.229),
        (1, (140 / 255 - 0.456) / 0.224),
        (2, (130 / 255 - 0.406) / 0.225),
    ],
)
def test_the_joints_are_read_in_spreads_from_imagenets_mean(
    channel: int, wanted: float, tmp_path: Path
) -> None:
    write_detector_of_light(tmp_path / FOLDER, 2, dark=114, wide=96)
    write_pose_of_light(tmp_path / FOLDER, channel)
    (person,) = network(tmp_path)(lit((58, 101, (160, 140, 130)))[None])[0]
    assert person[:, 2] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(("level", "count"), [(182, 1), (181, 0)])
def test_somebody_counts_who_is_surer_than_three_tenths(
    level: int, count: int, light: Callable[[Any], Any]
) -> None:
    picture = lit((58, 101, (255, 0, level)))  # (181.5 - 150) / (255 - 150) is 0.3
    assert light(picture[None]).shape[1] == count


def test_what_a_picture_leaves_of_the_square_is_grey() -> None:
    picture = np.full((100, 400, 3), (10, 20, 30), np.uint8)
    fed, ratio = letterboxed(picture)
    assert ratio == 1.6
    assert fed.shape == (1, 3, 640, 640)
    assert (fed[0, :, :160] == np.array([30, 20, 10])[:, None, None]).all()
    assert (fed[0, :, 160:] == 114).all()
    for thin in (np.zeros((2000, 1, 3), np.uint8), np.zeros((1, 2000, 3), np.uint8)):
        fed, _ = letterboxed(thin)
        assert (fed == 0).sum() == 3 * 640


def test_a_standing_person_by_hand(tmp_path: Path) -> None:
    # In the picture the box goes from (72, 40) to (104, 104), with its quarter 40×80; 60×80 has
    # the proportions of 288×384. The crop begins at (58, 32), one of its pixels is 80 / 384.
    write_detector(tmp_path / FOLDER, {CELL_5_4: STANDING})
    bins = {joint: (336 + joint, 384 - joint) for joint in range(17)}
    write_pose(tmp_path / FOLDER, *peaked(bins, dict.fromkeys(bins, (0.8, 0.7))))
    (person,) = network(tmp_path)(BLACK)[0]
    order = [0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
    for joint, (x, y, sure) in enumerate(person):
        coco = order[joint]
        number = 5.5 if coco is None else coco  # the neck lies between the shoulders 5 and 6
        assert x == pytest.approx(93.5 + number * 80 / 768, abs=1e-4)
        assert y == pytest.approx(72.5 - number * 80 / 768, abs=1e-4)
        assert sure == pytest.approx(0.7)


def test_a_lying_person_by_hand(tmp_path: Path) -> None:
    # 128×32 of the detector's pixels are 64×16 of ours, with their quarter 80 wide: the crop is
    # 80×106.67, and reaches above and below the picture.
    rows = {CELL_5_4: (0.5, 0.5, math.log(4), 0.0, 0.9, 0.9)}
    write_detector(tmp_path / FOLDER, rows)
    bins = dict.fromkeys(range(17), (0, 767))
    write_pose(tmp_path / FOLDER, *peaked(bins, dict.fromkeys(bins, (0.9, 0.9))))
    (person,) = network(tmp_path)(BLACK)[0]
    assert person[:, 0] == pytest.approx(88 - 40 + 0.5)
    assert person[:, 1] == pytest.approx(72 - 320 / 6 + 383.5 * 80 / 288 + 0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("left", "right", "neck"),
    [
        ((0.9, 0.9), (0.5, 0.8), 0.5),
        ((0.4, 0.9), (0.9, 0.9), 0.4),
        ((0.9, 0.9), (0.3, 0.9), None),
        ((0.29, 0.9), (0.9, 0.9), None),
        ((0.1, 0.1), (0.9, 0.2), None),
    ],
)
def test_there_is_a_neck_where_both_shoulders_are(
    left: tuple[float, float], right: tuple[float, float], neck: float | None
) -> None:
    bins = dict.fromkeys(range(17), (100, 200)) | {5: (140, 208), 6: (120, 200)}
    sure = dict.fromkeys(bins, (0.6, 0.6)) | {5: left, 6: right}
    across, down = peaked(bins, sure)
    found = openpose_joints(peaks(across[0], down[0]), np.array([10.0, 20.0]), 2.0)
    if neck is None:
        assert not found[1].any()
    else:
        assert found[1] == pytest.approx([10 + 130 + 0.5, 20 + 204 + 0.5, neck])
    for joint, shoulder in ((5, left), (2, right)):
        assert found[joint].any() == (min(shoulder) > 0.3)
        assert found[joint, 2] == pytest.approx(min(shoulder) if min(shoulder) > 0.3 else 0)


def test_joints_that_are_not_sure_are_zeros_and_the_rest_stays(tmp_path: Path) -> None:
    write_detector(tmp_path / FOLDER, {CELL_5_4: STANDING})
    bins = dict.fromkeys(range(17), (336, 384))
    sure = dict.fromkeys(bins, (0.8, 0.7)) | {0: (0.3, 0.9), 10: (0.9, 0.1), 13: (1.4, 1.2)}
    write_pose(tmp_path / FOLDER, *peaked(bins, sure))
    (person,) = network(tmp_path)(BLACK)[0]
    gone = [0, 4]  # the nose, and COCO's right wrist
    assert not person[gone].any()
    rest = [joint for joint in range(18) if joint not in gone]
    assert np.allclose(person[rest, :2], [93.5, 72.5], atol=1e-4)
    assert person[12, 2] == 1  # no surer than certain
    assert np.allclose(np.delete(person[rest, 2], rest.index(12)), 0.7)


def test_nobody_is_nobody_and_not_the_whole_picture(tmp_path: Path) -> None:
    bins = dict.fromkeys(range(17), (336, 384))
    write_pose(tmp_path / FOLDER, *peaked(bins, dict.fromkeys(bins, (0.9, 0.9))))
    # As good as certain of a bicycle; a person hardly, and one without a size.
    rows = {
        CELL_5_4: (0.5, 0.5, 1.0, 1.0, 0.9, 0.1, 1.0),
        7: (0.5, 0.5, -1e4, 1.0, 1.0, 1.0),
        8: (0.5, 0.5, 1e4, 1.0, 1.0, 1.0),
    }
    write_detector(tmp_path / FOLDER, rows)
    assert network(tmp_path)(np.concatenate([BLACK, BLACK])).shape == (2, 0, 18, 3)
    assert network(tmp_path)(BLACK[:0]).shape == (0, 0, 18, 3)


def test_somebody_without_any_joint_is_nobody(tmp_path: Path) -> None:
    write_detector(tmp_path / FOLDER, {CELL_5_4: STANDING})
    write_pose(tmp_path / FOLDER, *peaked({0: (5, 5)}, {0: (0.2, 0.9)}))
    assert network(tmp_path)(BLACK).shape == (1, 0, 18, 3)


def test_of_boxes_around_the_same_person_the_surest_stays() -> None:
    # 128×128 in cells beside each other: 97 of 161 columns are shared by the first two (0.60),
    # 65 of 193 by the first and the third (0.34).
    square = (0.5, 0.5, math.log(4), math.log(4))
    row = COARSE + 5 * 20
    sure = {row + 6: 0.8, row + 5: 0.9, row + 7: 0.6}
    raw = detector_rows({number: (*square, one, 1.0) for number, one in sure.items()})
    found = boxes(raw[0], 2.0)
    assert np.allclose(found, np.array([[112, 112, 240, 240], [176, 112, 304, 240]]) / 2)


def test_a_batch_says_what_its_pictures_say_alone(light: Callable[[Any], Any]) -> None:
    two = np.maximum(spot(58, 101), spot(250, 133, 240))
    pictures = np.stack([spot(90, 60), np.zeros_like(two), two])
    together = light(pictures)
    assert together.shape == (3, 2, 18, 3)
    for picture, row, count in zip(pictures, together, (1, 0, 2), strict=True):
        alone = light(picture[None])[0]
        assert len(alone) == count
        assert (alone == row[:count]).all()
        assert not row[count:].any()


@pytest.mark.parametrize("seed", range(3))
def test_boxes_are_those_of_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 1, (8400, 85)).astype(np.float32)
    raw[:, 2:4] = rng.uniform(0.5, 3.5, (8400, 2))
    raw[:, 4:6] = rng.uniform(0, 1, (8400, 2)) ** 3
    found, wanted = boxes(raw, 1.7), loop_boxes(raw.astype(float).tolist(), 1.7)
    assert len(wanted) > 20
    assert np.allclose(found, wanted, atol=1e-6)


def loop_boxes(raw: list[list[float]], ratio: float) -> list[list[float]]:
    cells = [
        (column, row, stride)
        for stride in (8, 16, 32)
        for row in range(640 // stride)
        for column in range(640 // stride)
    ]
    found = []
    for (column, row, stride), values in zip(cells, raw, strict=True):
        score = values[4] * values[5]
        if score > 0.3:
            x, y = (values[0] + column) * stride, (values[1] + row) * stride
            width, height = math.exp(values[2]) * stride, math.exp(values[3]) * stride
            sides = x - width / 2, y - height / 2, x + width / 2, y + height / 2
            found.append((score, [side / ratio for side in sides]))
    kept: list[list[float]] = []
    for _, box in sorted(found, key=lambda one: -one[0]):
        if all(overlap(box, other) <= 0.45 for other in kept):
            kept.append(box)
    return kept


def overlap(a: list[float], b: list[float]) -> float:
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    area, other = ((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
    return wide * high / (area + other - wide * high)


@pytest.mark.parametrize("seed", range(3))
def test_joints_are_those_of_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.05, 0.2, (133, 1))  # of the largest is about three times as much
    across = (rng.normal(0, 1, (133, 576)) * spread).astype(np.float32)
    down = (rng.normal(0, 1, (133, 768)) * spread).astype(np.float32)
    found = openpose_joints(peaks(across, down), np.array([-7.0, 30.0]), 0.4)
    coco = []
    for joint in range(17):
        x = max(range(576), key=across[joint].tolist().__getitem__)
        y = max(range(768), key=down[joint].tolist().__getitem__)
        sure = min(across[joint, x], down[joint, y])
        coco.append((0.4 * x / 2 - 7 + 0.5, 0.4 * y / 2 + 30 + 0.5, float(sure)))
    left, right = coco[5], coco[6]
    middle = (left[0] + right[0]) / 2, (left[1] + right[1]) / 2, min(left[2], right[2])
    wanted = dict(zip(COCO, coco, strict=True)) | {"neck": middle}
    seen = [one[2] > 0.3 for one in wanted.values()]
    assert any(seen) and not all(seen)
    for name, one in zip(OPENPOSE, found, strict=True):
        assert np.allclose(one, wanted[name] if wanted[name][2] > 0.3 else 0, atol=1e-4), name
