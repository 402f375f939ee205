"""Protects what normals and segmentation of real pictures are worth: truth, fairness, any form."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from workbench.controls import ControlMap, Networks, compare, get_control
from workbench.families.judge import load_judge
from workbench.metrics.normals import mean_angle
from workbench.metrics.segmentation import pixel_accuracy
from workbench.paperdoll import Rendering, render, sample_scene
from workbench.paths import data_dir

pytestmark = pytest.mark.models

SETTINGS = [
    ("normal", {}),
    ("normal", {"method": "from_depth"}),
    ("segmentation", {}),
]
IDS = ["estimated", "from_depth", "segmentation"]


@pytest.fixture(scope="module")
def networks() -> Networks:
    return load_judge(data_dir() / "models" / "paperdoll" / "judge").networks()


@pytest.fixture(scope="module")
def scenes() -> list[Rendering]:
    return [render(sample_scene(seed)) for seed in range(950_200, 950_204)]


def maps(
    name: str, values: dict[str, str], pictures: list[np.ndarray], networks: Networks
) -> list[ControlMap]:
    control = get_control(name)
    return control.extract(pictures, control.settings(values), networks)


@pytest.mark.parametrize(("method", "most"), [("estimated", 12), ("from_depth", 20)])
def test_normals_are_the_renderers(
    method: str, most: float, networks: Networks, scenes: list[Rendering]
) -> None:
    found = maps("normal", {"method": method}, [scene.rgb for scene in scenes], networks)
    for scene, one in zip(scenes, found, strict=True):
        right = mean_angle(one.data, scene.normal)
        assert right < most
        for flipped in ([-1, 1, 1], [1, -1, 1]):
            assert mean_angle(one.data * np.float32(flipped), scene.normal) > right + 1


def test_classes_are_the_renderers(networks: Networks, scenes: list[Rendering]) -> None:
    found = maps("segmentation", {}, [scene.rgb for scene in scenes], networks)
    for scene, one in zip(scenes, found, strict=True):
        assert pixel_accuracy(one.data, scene.segmentation, 16) > 0.95


@pytest.mark.parametrize(("name", "values"), SETTINGS, ids=IDS)
def test_a_picture_agrees_with_itself_in_every_form_and_size(
    name: str, values: dict[str, str], networks: Networks, scenes: list[Rendering]
) -> None:
    control = get_control(name)
    best = control.metric(control.primary).best
    rgb = scenes[0].rgb
    solid = np.full((128, 128, 1), 255, np.uint8)
    grey = rgb[:, :, 1]
    for a, b in (
        (rgb, np.concatenate([rgb, solid], axis=2)),
        (rgb, (rgb / 255).astype(np.float32)),
        (grey, np.repeat(grey[:, :, None], 3, axis=2)),
    ):
        reading = compare(b, a, name, networks=networks, **values)[control.primary]
        assert reading.value == pytest.approx(best, abs=1e-4)
    large = cv2.resize(rgb, (512, 512), interpolation=cv2.INTER_LANCZOS4)
    strange = compare(scenes[1].rgb, rgb, name, networks=networks, **values)[control.primary].value
    for a, b in ((rgb, large), (large, rgb)):
        value = compare(b, a, name, networks=networks, **values)[control.primary].value
        assert abs(value - best) < 0.5 * abs(strange - best)


@pytest.mark.parametrize(("name", "values"), SETTINGS, ids=IDS)
def test_a_growing_shift_never_helps(
    name: str, values: dict[str, str], networks: Networks, scenes: list[Rendering]
) -> None:
    control = get_control(name)
    shifts = (0, 2, 5, 12)
    pictures = [np.roll(scenes[2].rgb, shift, axis=1) for shift in shifts]
    found = maps(name, values, pictures, networks)
    settings = control.settings(values)
    readings = [control.compare(one, found[0], settings)[control.primary].value for one in found]
    better = control.metric(control.primary).higher_is_better
    assert readings == sorted(readings, reverse=better)


@pytest.mark.parametrize(("name", "values"), SETTINGS, ids=IDS)
def test_stored_maps_say_what_the_maps_say(
    name: str, values: dict[str, str], networks: Networks, scenes: list[Rendering]
) -> None:
    control, settings = get_control(name), get_control(name).settings(values)
    a, b = maps(name, values, [scenes[0].rgb, scenes[1].rgb], networks)
    direct = control.compare(b, a, settings)
    stored = [control.from_picture_for(one.picture, settings) for one in (a, b)]
    read = control.compare(*stored[::-1], settings)
    for metric in direct:
        assert read[metric].value == pytest.approx(direct[metric].value, abs=0.5, rel=0.02)
