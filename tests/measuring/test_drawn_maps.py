"""Protects the figures of sources that are drawn maps: nothing is read from the drawing as if it
were a picture, and what has no meaning for it is NaN with the reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench.controls import resolve
from workbench.images import encode_png
from workbench.measuring import Measurer
from workbench.measuring.across import LOOKS, STRUCTURE
from workbench.measuring.bases import BASES_POSE
from workbench.measuring.pictures import POOL_SEEDS
from workbench.measuring.references import NO_PICTURE, NO_POOL
from workbench.paperdoll import render, sample_scene
from workbench.study import Plan, Study, make_plan

Judges = Any
Noise = Callable[[int], np.ndarray]


@pytest.fixture
def drawn(make_study: Callable[..., Study], tmp_path: Path) -> Plan:
    """Two depth maps that were painted, and no picture behind them."""
    for number, name in enumerate(("one", "two"), start=1):
        ramp = np.linspace(0, 255, 200)[None] ** (1 / number) * 255 ** (1 - 1 / number)
        grey = np.repeat(ramp[..., None], 3, axis=2).round().astype(np.uint8)
        (tmp_path / f"{name}.png").write_bytes(encode_png(np.repeat(grey, 200, axis=0)))
    study = make_study(sources=["map:one.png", "map:two.png"], controls=["depth"])
    return make_plan(study, resolution=128, folder=tmp_path)


def test_the_map_is_what_was_drawn_and_no_network_reads_it(drawn: Plan, world: Judges) -> None:
    measurer = Measurer(drawn, world)
    for cell in drawn.cells:
        found = measurer.source_maps[cell.map_key]
        np.testing.assert_array_equal(found.picture, drawn.sources[cell.source].image)
        np.testing.assert_allclose(found.data, found.picture.mean(axis=2) / 255, atol=1e-6)
    assert world.calls == []


def test_chance_is_that_of_unrelated_pictures_and_ceiling_the_map_itself(
    drawn: Plan, world: Judges
) -> None:
    measurer = Measurer(drawn, world)
    cell = drawn.cells[-1]
    found = measurer.references.control(cell.map_key)
    control, settings = resolve(cell.control, cell.control_settings)
    wanted = measurer.source_maps[cell.map_key]
    pool = [render(sample_scene(seed)).rgb // 16 * 16 for seed in POOL_SEEDS]
    maps = control.extract(pool, settings, world.networks())
    itself = control.compare(wanted, wanted, settings)
    for name, reference in found.items():
        chance = [control.compare(got, wanted, settings)[name].value for got in maps]
        assert reference.ceiling == pytest.approx(itself[name].value)
        assert reference.chance == pytest.approx(np.mean(chance))
    apart = measurer.references.pairwise(cell, STRUCTURE)
    assert apart.ceiling == 0 < apart.chance


def test_likeness_to_a_picture_that_does_not_exist_is_not_measured(
    drawn: Plan, world: Judges, noise: Noise
) -> None:
    measurer = Measurer(drawn, world)
    cell = drawn.cells[-1]
    (measured,) = measurer.measure([(cell.trial_id, noise(1))])
    rows = {row["metric"]: row for row in measured.rows if row["cell"] == cell.id}
    assert math.isnan(rows["clip_source"]["value"])
    assert rows["clip_source"]["reason"] == NO_PICTURE
    assert math.isfinite(rows["depth_rmse"]["adherence"])
    assert math.isfinite(rows["clip_used"]["value"])
    for metric in (LOOKS, BASES_POSE):
        assert measurer.references.pairwise(cell, metric).reason == NO_PICTURE


def test_without_a_world_other_drawings_are_chance_for_maps_but_not_for_texts(
    drawn: Plan, no_world: Judges
) -> None:
    references = Measurer(drawn, no_world).references
    cell = drawn.cells[-1]
    control = references.control(cell.map_key)["depth_rmse"]
    assert control.ceiling == 0 < control.chance
    assert references.clip("a girl", cell.source_sha256).reason == NO_POOL
    assert no_world.calls == []
