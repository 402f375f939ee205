"""Protects the lines control: the detectors, joining, the drawing, and reading it back."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from workbench.controls import ControlError, ControlMap, network_needs
from workbench.controls import _segments as seg
from workbench.controls.lines import CONTROL
from workbench.metrics.edges import EdgeF1, edge_scores
from workbench.metrics.segments import SegmentF1, segment_scores
from workbench.metrics.structure import ssim
from workbench.paperdoll import render, sample_scene

SETTINGS = CONTROL.settings()
METHODS = ("lsd", "hough")


def box(side: int = 128, grey: int = 40) -> np.ndarray:
    """A dark rectangle on light grey; its sides are known."""
    picture = np.full((side, side, 3), 220, np.uint8)
    picture[side // 4 : side // 2, side // 8 : side * 3 // 4] = grey
    return picture


def sides(side: int = 128) -> np.ndarray:
    left, right, top, bottom = side / 8, side * 3 / 4, side / 4, side / 2
    return np.array(
        [
            [left, top, right, top],
            [left, bottom, right, bottom],
            [left, top, left, bottom],
            [right, top, right, bottom],
        ]
    )


def extract(picture: np.ndarray, **settings: object) -> ControlMap:
    (found,) = CONTROL.extract([picture], CONTROL.settings(settings), {})
    return found


def pixels(found: ControlMap) -> np.ndarray:
    height, width = found.picture.shape[:2]
    return found.data.astype(float) * [width, height, width, height]


def drawn(segments: np.ndarray, height: int = 128, width: int = 128) -> ControlMap:
    """A map of these segments, in pixels."""
    grey = seg.draw(segments, height, width)
    shares = (segments / [width, height, width, height]).astype(np.float32)
    return ControlMap(np.repeat(grey[:, :, None], 3, axis=2), shares)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", [128, 256, 512])
def test_the_sides_of_a_box_are_found(method: str, side: int) -> None:
    found = pixels(extract(box(side), method=method))
    assert segment_scores(found, sides(side), 0.02 * math.hypot(side, side)).f1 == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_plain_picture_has_no_lines(method: str) -> None:
    found = extract(np.full((50, 60, 3), 99, np.uint8), method=method)
    assert found.data.shape == (0, 4)
    assert found.data.dtype == np.float32
    assert not found.picture.any()


@pytest.mark.parametrize("method", METHODS)
def test_short_segments_are_left_out(method: str) -> None:
    picture = box()
    picture[90:96, 20:26] = 0
    diagonal = math.hypot(128, 128)
    for share in (0.04, 0.2):
        found = pixels(extract(picture, method=method, min_length=share))
        assert len(found)
        assert seg.lengths(found).min() >= share * diagonal - 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_the_same_picture_gives_the_same_lines_whatever_came_before(method: str) -> None:
    picture = render(sample_scene(900_003)).rgb
    first = extract(picture, method=method)
    for seed in (1, 2, 3):
        cv2.setRNGSeed(seed)
        cv2.randu(np.zeros((5, 5), np.uint8), 0, 255)
        again = extract(picture, method=method)
        assert np.array_equal(again.data, first.data)
        assert np.array_equal(again.picture, first.picture)


def test_methods_and_their_thresholds_change_the_map() -> None:
    picture = render(sample_scene(900_002)).rgb
    lsd, hough = extract(picture), extract(picture, method="hough")
    assert not np.array_equal(lsd.picture, hough.picture)
    fewer = extract(picture, method="hough", low=200, high=400)
    assert 0 < len(fewer.data) < len(hough.data)
    assert len(extract(picture, method="hough", votes=0.2).data) < len(hough.data)
    assert np.array_equal(extract(picture, low=200, high=400).data, lsd.data)


def test_pieces_of_one_line_are_joined_and_others_are_not() -> None:
    pieces = np.array(
        [
            [10.0, 50, 40, 50],
            [43.0, 50.5, 60, 50.5],  # goes on after 3 px
            [30.0, 51, 20, 51],  # beside it, the other way round
            [70.0, 50, 90, 50],  # too far along
            [10.0, 56, 40, 56],  # too far aside
            [10.0, 50, 34, 60],  # another direction
        ]
    )
    joined = seg.merge(pieces, degrees=5, apart=1.5, gap=4)
    assert len(joined) == 4
    longest = joined[seg.lengths(joined).argmax()]
    assert sorted(longest[[0, 2]]) == pytest.approx([10, 60], abs=0.2)
    assert longest[[1, 3]] == pytest.approx([50.4, 50.4], abs=0.4)
    assert segment_scores(joined, pieces[3:], 1e-6).recall == 1


@pytest.mark.parametrize("angle", range(0, 180, 15))
def test_joining_works_in_every_direction(angle: int) -> None:
    way = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
    ends = [(0, 20), (19, 45), (70, 46), (69, 90)]
    pieces = np.array([np.concatenate([50 + a * way, 50 + b * way]) for a, b in ends])
    whole = np.concatenate([50 + 0 * way, 50 + 90 * way])[None]
    assert segment_scores(seg.merge(pieces, 3, 1, 1.5), whole, 1e-6).f1 == 1


def test_joining_keeps_the_empty_and_the_single() -> None:
    assert seg.merge(np.zeros((0, 4)), 5, 1, 1).shape == (0, 4)
    one = np.array([[1.0, 2, 30, 4]])
    assert np.array_equal(seg.merge(one, 5, 1, 1), one)


def test_the_drawing_is_white_on_black_and_one_pixel_wide() -> None:
    line = np.array([[10.5, 20.5, 110.5, 20.5]])
    small = seg.draw(line, 128, 128)
    assert small[20, 15:105].min() > 200
    assert not small[[18, 22]].any()
    large = seg.draw(line * 4, 512, 512)
    assert set(np.unique(large)) == {0, 255}
    assert (large > 0).any(axis=1).sum() == 1
    assert (seg.draw(line * 16, 2048, 2048) > 0).any(axis=1).sum() in (4, 5)


def test_data_are_shares_of_the_picture() -> None:
    tall = np.vstack([box(), np.full((128, 128, 3), 220, np.uint8)])
    found = extract(tall)
    assert segment_scores(found.data * [128, 256, 128, 256], sides(), 3).f1 == 1
    assert found.data.min() >= 0 and found.data.max() <= 1


@pytest.mark.parametrize("size", [(96, 160), (128, 128), (256, 256), (512, 512), (512, 768)])
def test_a_drawn_map_is_read_back(size: tuple[int, int]) -> None:
    height, width = size
    shorter = min(size)
    for seed in range(900_000, 900_006):
        segments = pixels(extract(render(sample_scene(seed)).rgb)) * (shorter / 128)
        wanted = drawn(segments, height, width)
        back = CONTROL.from_picture(wanted.picture)
        assert np.array_equal(back.picture, wanted.picture)
        readings = CONTROL.compare(back, wanted, SETTINGS)
        assert readings["lines_f1"].value > 0.97
        assert readings["lines_segment_f1"].value > 0.9


def crossing(kind: str, side: int) -> np.ndarray:
    """Two lines, a grid of six by six, or a star of five, in a square picture."""
    if kind == "two":
        return np.array([[0.1, 0.1, 0.9, 0.85], [0.1, 0.9, 0.95, 0.12]]) * side
    if kind == "grid":
        rungs = np.linspace(0.15, 0.85, 6)
        across = [[0.05, y, 0.95, y] for y in rungs]
        return np.array([*across, *([y, x, y, z] for x, y, z, _ in across)]) * side
    angles = np.arange(5) * math.pi / 5 + 0.1
    arms = 0.45 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return (np.concatenate([-arms, arms], axis=1) + 0.5) * side


@pytest.mark.parametrize("kind", ["two", "grid", "star"])
@pytest.mark.parametrize("side", [128, 256, 512, 768])
@pytest.mark.parametrize("smooth", [True, None])
def test_lines_that_cross_are_read_back_whole(kind: str, side: int, smooth: bool | None) -> None:
    lines = crossing(kind, side)
    grey = seg.draw(lines, side, side, smooth=smooth)
    back = CONTROL.from_picture(np.repeat(grey[:, :, None], 3, axis=2))
    readings = CONTROL.compare(back, drawn(lines, side, side), SETTINGS)
    assert readings["lines_f1"].value > 0.99
    assert readings["lines_segment_f1"].value == 1


def test_lines_are_not_joined_across_a_gap_without_ink() -> None:
    dashes = np.array([[10.0, 64.5, 40, 64.5], [50, 64.5, 80, 64.5], [90, 64.5, 120, 64.5]])
    bar = np.array([[64.5, 10.0, 64.5, 120]])
    lines = np.concatenate([dashes, bar])
    assert segment_scores(pixels(CONTROL.from_picture(drawn(lines).picture)), lines, 3).f1 == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([128, 200, 512]))
def test_random_lines_agree_with_themselves(seed: int, count: int, side: int) -> None:
    draws = np.random.default_rng(seed)
    middles = draws.uniform(0.3, 0.7, (count, 2))
    angles = draws.uniform(0, math.pi, (count, 1))
    arms = np.concatenate([np.cos(angles), np.sin(angles)], 1) * draws.uniform(
        0.1, 0.28, (count, 1)
    )
    wanted = drawn(np.concatenate([middles - arms, middles + arms], axis=1) * side, side, side)
    back, again = (CONTROL.from_picture(wanted.picture) for _ in range(2))
    itself = CONTROL.compare(back, again, SETTINGS)
    assert {name: reading.value for name, reading in itself.items()} == pytest.approx(
        dict.fromkeys(itself, 1.0)
    )
    assert CONTROL.agreement(back, wanted, SETTINGS).value > 0.95


def test_parallel_lines_which_nearly_touch_are_read_apart() -> None:
    lines = np.array([[20.0, y + 0.5, 90, y + 0.5] for y in (40, 43, 46)])
    back = CONTROL.from_picture(drawn(lines).picture)
    assert segment_scores(pixels(back), lines, 2).f1 == 1


def test_lines_drawn_by_hand_are_read_dark_on_light_too() -> None:
    canvas = np.full((256, 256, 3), 255, np.uint8)
    lines = np.array([[20, 30, 200, 60], [40, 220, 220, 120]])
    for x1, y1, x2, y2 in lines.tolist():
        cv2.line(canvas, (x1, y1), (x2, y2), (0, 0, 0), 1, cv2.LINE_AA)
    for picture in (canvas, 255 - canvas):
        found = CONTROL.from_picture(picture)
        assert segment_scores(pixels(found), lines + 0.5, 2).f1 == 1


def test_an_empty_drawing_has_no_lines() -> None:
    assert CONTROL.from_picture(np.zeros((64, 64, 3), np.uint8)).data.shape == (0, 4)


def test_readings_are_those_of_the_metrics_at_the_size_of_the_wanted_map() -> None:
    a, b = (extract(render(sample_scene(s)).rgb) for s in (900_001, 900_002))
    large = drawn(pixels(b) * 4, 512, 512)
    settings = CONTROL.settings({"tolerance": 0.02, "end_tolerance": 0.05})
    readings = CONTROL.compare(large, a, settings)
    diagonal = math.hypot(128, 128)
    segments = segment_scores(pixels(b), pixels(a), 0.05 * diagonal)
    pens = [seg.draw(pixels(m), 128, 128, smooth=False) > 0 for m in (b, a)]
    values = [reading.value for reading in readings.values()]
    assert values[0] == edge_scores(pens[0], pens[1], 0.02 * diagonal).f1
    assert values[1:4] == [segments.f1, segments.precision, segments.recall]
    assert values[4] == pytest.approx(ssim(b.picture[..., 0] / 255, a.picture[..., 0] / 255))
    assert CONTROL.metric("lines_f1").higher_is_better is EdgeF1.higher_is_better
    assert CONTROL.metric("lines_segment_f1").higher_is_better is SegmentF1.higher_is_better


def test_growing_shift_never_helps_and_strangers_score_low() -> None:
    scenes = [extract(render(sample_scene(s)).rgb) for s in range(900_000, 900_008)]
    wanted = scenes[0]
    inner = pixels(wanted)
    for name in ("lines_f1", "lines_segment_f1"):
        shifted = [
            CONTROL.compare(drawn(inner + [0, far] * 2), wanted, SETTINGS)[name].value
            for far in (0, 2, 5, 12)
        ]
        assert shifted[0] == pytest.approx(1)
        assert shifted[1] >= shifted[2] - 0.05 >= shifted[3] - 0.1
        assert shifted[3] < 0.5
    strangers = [CONTROL.compare(other, wanted, SETTINGS) for other in scenes[1:]]
    assert np.mean([r["lines_f1"].value for r in strangers]) < 0.4
    assert np.mean([r["lines_segment_f1"].value for r in strangers]) < 0.2


def test_no_lines_wanted_is_nan_and_none_found_is_zero() -> None:
    none, some = drawn(np.zeros((0, 4))), drawn(sides())
    readings = CONTROL.compare(some, none, SETTINGS)
    assert all(r.is_nan and "no straight lines" in r.reason for r in readings.values())
    readings = CONTROL.compare(none, some, SETTINGS)
    assert (readings["lines_f1"].value, readings["lines_segment_recall"].value) == (0, 0)
    assert readings["lines_segment_precision"].is_nan
    assert "compared map" in readings["lines_segment_precision"].reason


def test_maps_too_small_for_ssim_say_so() -> None:
    small = drawn(np.array([[1.0, 1, 8, 8]]), 9, 9)
    readings = CONTROL.compare(small, small, SETTINGS)
    assert readings["lines_f1"].value == 1
    assert readings["lines_ssim"].is_nan and "11 pixels" in readings["lines_ssim"].reason


def test_mlsd_asks_the_network_and_takes_its_segments_as_they_are() -> None:
    calls: list[tuple[int, ...]] = []

    def network(batch: np.ndarray) -> list[np.ndarray]:
        calls.append(batch.shape)
        return [
            np.zeros((0, 4), np.float32) if image.max() == 0 else np.float32([[1, 2, 4, 2]])
            for image in batch
        ]

    settings = CONTROL.settings({"method": "mlsd"})
    black, white = np.zeros((20, 40, 3), np.uint8), np.full((20, 40, 3), 255, np.uint8)
    square = np.full((30, 30, 3), 255, np.uint8)
    maps = CONTROL.extract([black, square, white], settings, {"lines": network})
    assert [len(m.data) for m in maps] == [0, 1, 1]
    assert np.allclose(maps[2].data, [[1 / 40, 2 / 20, 4 / 40, 2 / 20]])
    assert sorted(calls) == [(1, 30, 30, 3), (2, 20, 40, 3)]
    assert network_needs([("lines", settings.canonical()), ("lines", "")]) == ["lines"]
    assert network_needs([("lines", ""), ("lines", '{"method": "hough"}')]) == []


def test_broken_networks_are_told() -> None:
    settings, picture = CONTROL.settings({"method": "mlsd"}), [np.zeros((9, 9, 3), np.uint8)]
    with pytest.raises(ControlError, match=r"lends none; the methods lsd and hough"):
        CONTROL.extract(picture, settings, {})
    for answer in ([], [np.zeros((2, 5))], [np.full((1, 4), np.nan)]):
        with pytest.raises(ControlError, match="returned"):
            CONTROL.extract(picture, settings, {"lines": lambda b, a=answer: a})


def test_only_what_changes_the_map_is_in_its_identity() -> None:
    names = set(json.loads(SETTINGS.map_canonical()))
    assert {"method", "min_length", "votes"} <= names
    assert not {"tolerance", "end_tolerance"} & names


@pytest.mark.parametrize(
    "wrong",
    [{"method": "canny"}, {"min_length": -1}, {"votes": 0}, {"low": 300, "high": 200}],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CONTROL.settings(wrong)


@pytest.mark.parametrize("method", METHODS)
def test_the_least_length_is_asked_of_joined_lines(method: str) -> None:
    """Two edges of a bar in pieces, each too short, which the joining makes long enough."""
    picture = np.zeros((256, 256, 3), np.uint8)
    for left in range(20, 220, 50):
        picture[120:140, left : left + 42] = 255
    found = extract(picture, method=method, min_length=0.2, merge_gap=0.03)
    assert len(found.data) == 2
    assert len(extract(picture, method=method, min_length=0.2, merge_gap=0.0).data) == 0
