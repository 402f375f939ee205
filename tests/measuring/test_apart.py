"""Protects chance and ceiling of differences: unrelated pictures are far apart, equal ones near."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from workbench.controls import get_control
from workbench.measuring import Measurer
from workbench.measuring.across import LOOKS, STRUCTURE
from workbench.measuring.bases import BASES_STRUCTURE
from workbench.measuring.pictures import POOL_SEEDS
from workbench.measuring.references import NO_POOL
from workbench.paperdoll import render, sample_scene
from workbench.study import Plan, Study, make_plan

Judges = Any


def pool() -> list[np.ndarray]:
    return [render(sample_scene(seed)).rgb // 16 * 16 for seed in POOL_SEEDS]


@pytest.mark.parametrize("metric", [STRUCTURE, BASES_STRUCTURE])
def test_structure_is_that_of_a_plain_loop(plan: Plan, world: Judges, metric: str) -> None:
    measurer = Measurer(plan, world)
    cell = next(cell for cell in plan.cells if cell.control == "canny")
    found = measurer.references.pairwise(cell, metric)

    control = get_control("canny")
    settings = control.settings_type.model_validate_json(cell.control_settings)
    source = plan.sources[cell.source].image // 16 * 16

    def distance(image: np.ndarray) -> float:
        maps = control.extract([source, image], settings, {})
        both = [
            control.compare(b, a, settings)[control.primary].value for a, b in (maps, maps[::-1])
        ]
        return 1 - float(np.mean(both))

    assert found.chance == pytest.approx(np.mean([distance(picture) for picture in pool()]))
    assert found.ceiling == pytest.approx(0)  # this VAE changes nothing the second time
    assert found.chance > 0.05


def test_looks_are_those_of_a_plain_loop(plan: Plan, world: Judges) -> None:
    cell = plan.cells[0]
    found = Measurer(plan, world).references.pairwise(cell, LOOKS)
    embed = world.clip().embed_images
    own = embed([plan.sources[cell.source].image // 16 * 16])[0]
    assert found.chance == pytest.approx(np.mean([1 - embed([p])[0] @ own for p in pool()]))
    assert found.ceiling == pytest.approx(0)


def test_equal_pictures_are_as_far_apart_as_the_vae_moves_them(plan: Plan, world: Judges) -> None:
    """Both sides have gone through the VAE, as samples have; the second time it moves them on."""

    def darker(images: list[np.ndarray]) -> list[np.ndarray]:
        return [np.asarray(image * 0.9, np.uint8) // 8 * 8 for image in images]

    world.vae_roundtrip = darker
    cell = next(cell for cell in plan.cells if cell.control == "canny")
    found = Measurer(plan, world).references.pairwise(cell, STRUCTURE)
    control = get_control("canny")
    settings = control.settings_type.model_validate_json(cell.control_settings)
    once = darker([plan.sources[cell.source].image])
    maps = control.extract([*once, *darker(once)], settings, {})
    both = [control.compare(b, a, settings)[control.primary].value for a, b in (maps, maps[::-1])]
    assert found.ceiling == pytest.approx(1 - np.mean(both)) and found.ceiling > 0


def test_one_source_of_a_family_without_a_world_has_no_chance(
    make_study: Callable[..., Study], no_world: Judges
) -> None:
    plan = make_plan(make_study(sources=["paperdoll:900001"]), resolution=128)
    for metric in (LOOKS, STRUCTURE):
        found = Measurer(plan, no_world).references.pairwise(plan.cells[0], metric)
        assert math.isnan(found.chance) and found.reason == NO_POOL
        assert found.ceiling >= 0


def test_an_angle_is_a_distance_already(make_study: Callable[..., Study], world: Judges) -> None:
    normal = {"type": "normal", "settings": {"method": "from_depth"}}
    plan = make_plan(make_study(controls=[normal]), resolution=128)
    found = Measurer(plan, world).references.pairwise(plan.cells[0], STRUCTURE)
    assert found.ceiling == pytest.approx(0)
    assert 5 < found.chance < 180  # degrees
