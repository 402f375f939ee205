"""Protects the segmentation control: the field's palette, nearest colours, unbroken labels."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.spatial import cKDTree

from workbench.controls import _classes, get_control
from workbench.controls._classes import ade20k, paperdoll
from workbench.controls.base import ControlError, ControlMap
from workbench.controls.segmentation import CONTROL, SegmentationSettings
from workbench.metrics.segmentation import MeanIoU, PixelAccuracy, mean_iou, pixel_accuracy
from workbench.paperdoll import PALETTE, Label, render, sample_scene

SETTINGS = SegmentationSettings()
ADE = SegmentationSettings(classes="ade20k")
PICTURE = np.zeros((40, 60, 3), np.uint8)


def blobs(seed: int, classes: int = 16, height: int = 40, width: int = 60) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, classes, (height // 5, width // 5))
    return np.kron(coarse, np.ones((5, 5), int)).astype(np.uint8)


def extract(labels: np.ndarray, settings: SegmentationSettings = SETTINGS) -> ControlMap:
    return CONTROL.extract([PICTURE], settings, {"segmentation": lambda b: labels[None]})[0]


def test_the_ade20k_table_is_whole() -> None:
    classes = ade20k()
    assert len(classes.names) == len(set(classes.names)) == len(classes.palette) == 150
    # As published: road and skyscraper are painted alike, nothing else is.
    assert len(np.unique(classes.palette, axis=0)) == 149
    same = np.flatnonzero((classes.palette == (140, 140, 140)).all(axis=1))
    assert [classes.names[number] for number in same] == ["road", "skyscraper"]
    by_name = dict(zip(classes.names, classes.palette.tolist(), strict=True))
    assert by_name["wall"] == [120, 120, 120]
    assert by_name["sky"] == [6, 230, 230]
    assert by_name["person"] == [150, 5, 61]
    assert by_name["flag"] == [92, 0, 255]
    # The digest was taken of the annotators' own table (controlnet_aux 0.0.10, ade_palette).
    digest = hashlib.sha256(classes.palette.tobytes()).hexdigest()
    assert digest == "ce475c9151035eff51f4cf27fd7d906959b1480f6d15b9423ae2417c1b23a0ed"


def test_every_class_of_the_embedded_world_has_its_own_colour() -> None:
    classes = paperdoll()
    assert np.array_equal(classes.palette, PALETTE)
    assert len(np.unique(classes.palette, axis=0)) == len(Label)
    assert classes.names[Label.SKY] == "sky"
    gaps = np.linalg.norm(classes.palette[:, None].astype(float) - classes.palette[None], axis=2)
    assert gaps[~np.eye(len(Label), dtype=bool)].min() > 40


@pytest.mark.parametrize("settings", [SETTINGS, ADE])
def test_the_picture_paints_the_classes_and_is_read_back(settings: SegmentationSettings) -> None:
    labels = blobs(1, 16)
    found = extract(labels, settings)
    assert found.data.dtype == np.uint8
    assert np.array_equal(found.data, labels)
    palette = PALETTE if settings is SETTINGS else ade20k().palette
    for row, column in ((0, 0), (17, 33), (39, 59)):
        assert found.picture[row, column].tolist() == palette[labels[row, column]].tolist()
    again = CONTROL.from_picture_for(found.picture, settings)
    assert np.array_equal(again.data, labels)
    assert np.array_equal(again.picture, found.picture)
    if settings is SETTINGS:
        assert np.array_equal(CONTROL.from_picture(found.picture).data, labels)


@pytest.mark.parametrize("settings", [SETTINGS, ADE])
def test_the_nearest_colour_is_that_of_a_search_tree(settings: SegmentationSettings) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    palette = PALETTE if settings is SETTINGS else ade20k().palette
    best, _ = cKDTree(palette.astype(float)).query(noise.reshape(-1, 3).astype(float))
    found = CONTROL.from_picture_for(noise, settings)
    reached = np.linalg.norm(noise.astype(float) - found.picture, axis=2).ravel()
    assert np.allclose(reached, best)


def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (30, 31, 3), dtype=np.uint8)
    whole = CONTROL.from_picture(noise).data
    monkeypatch.setattr(_classes, "_BAND", 7)
    assert np.array_equal(CONTROL.from_picture(noise).data, whole)


def test_a_dirty_painting_is_still_read() -> None:
    labels = render(sample_scene(800_001)).segmentation
    dirty = PALETTE[labels] + np.random.default_rng(0).normal(0, 6, (128, 128, 3))
    found = CONTROL.from_picture(dirty.clip(0, 255).astype(np.uint8))
    assert (found.data == labels).mean() > 0.999


def test_labels_are_never_mixed() -> None:
    labels = np.where(np.indices((40, 60)).sum(0) % 2, 15, 0).astype(np.uint8)
    for shape in ((13, 17), (90, 70)):
        picture = np.zeros((*shape, 3), np.uint8)
        found = CONTROL.extract([picture], SETTINGS, {"segmentation": lambda b: labels[None]})[0]
        assert found.data.shape == shape
        assert set(np.unique(found.data)) == {0, 15}
    double = ControlMap(
        np.zeros((80, 120, 3), np.uint8), np.kron(labels, np.ones((2, 2), np.uint8))
    )
    for wanted, got in ((extract(labels), double), (double, extract(labels))):
        assert CONTROL.compare(got, wanted, SETTINGS)["segmentation_miou"].value == 1


def test_readings_are_those_of_the_metrics() -> None:
    wanted, got = extract(blobs(1)), extract(np.where(blobs(3) < 8, blobs(1), blobs(2)))
    readings = CONTROL.compare(got, wanted, SETTINGS)
    assert list(readings) == [spec.name for spec in CONTROL.metrics]
    assert readings["segmentation_miou"].value == mean_iou(got.data, wanted.data, 16)
    assert readings["segmentation_accuracy"].value == pixel_accuracy(got.data, wanted.data, 16)
    assert readings["segmentation_miou"].value < 1


def test_classes_painted_alike_count_as_one() -> None:
    road, skyscraper = (ade20k().names.index(name) for name in ("road", "skyscraper"))
    labels = blobs(1, 5)
    labels[:10], labels[10:20] = road, skyscraper
    found = extract(labels, ADE)
    assert set(np.unique(found.data)) >= {road, skyscraper}
    painted = CONTROL.from_picture_for(found.picture, ADE)
    assert skyscraper not in painted.data
    assert CONTROL.compare(painted, found, ADE)["segmentation_miou"].value == 1
    assert CONTROL.compare(found, painted, ADE)["segmentation_accuracy"].value == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros((1, 40, 60), np.float32), "float32, not class numbers"),
        (np.full((1, 40, 60), 16), "found class 16, but paperdoll has classes 0 to 15"),
        (np.full((1, 40, 60), -1), "found class -1"),
        (np.zeros((1, 40, 60, 16), np.uint8), "returned"),
    ],
)
def test_broken_networks_are_told(answer: np.ndarray, message: str) -> None:
    with pytest.raises(ControlError, match=message):
        CONTROL.extract([PICTURE], SETTINGS, {"segmentation": lambda b: answer})


def test_without_a_network_it_says_so() -> None:
    with pytest.raises(ControlError, match="lends none"):
        CONTROL.extract([PICTURE], SETTINGS, {})
    assert CONTROL.needs_for(ADE) == ("segmentation",)
    with pytest.raises(ValidationError):
        SegmentationSettings.model_validate({"classes": "coco"})


def test_the_legend_lists_what_is_there() -> None:
    labels = np.zeros((40, 60), np.uint8)
    labels[:, :6], labels[:10, 6:12] = Label.HAIR, Label.SKIN
    entries = CONTROL.legend(extract(labels), SETTINGS)
    assert [entry[0] for entry in entries] == ["sky", "hair", "skin"]
    assert [entry[2] for entry in entries] == pytest.approx([0.875, 0.1, 0.025])
    assert entries[1][1] == tuple(PALETTE[Label.HAIR].tolist())
    names = [ade20k().names[number] for number in (Label.SKY, Label.HAIR, Label.SKIN)]
    assert [entry[0] for entry in CONTROL.legend(extract(labels, ADE), ADE)] == names


def test_directions_are_those_of_the_metrics() -> None:
    kinds = {"segmentation_miou": MeanIoU, "segmentation_accuracy": PixelAccuracy}
    for spec in get_control("segmentation").metrics:
        assert spec.higher_is_better is kinds[spec.name].higher_is_better
