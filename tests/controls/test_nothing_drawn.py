"""Protects the meaning of adherence: a picture that shows nothing follows the control no better
than an unrelated picture does."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.controls import CONTROL_NAMES, get_control
from workbench.controls.base import Networks
from workbench.families.judge import load_judge
from workbench.paperdoll import render, sample_scene
from workbench.paths import data_dir

SCENES = [render(sample_scene(seed)).rgb for seed in range(940_000, 940_006)]
NOTHING = np.full_like(SCENES[0], 128)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return load_judge(data_dir() / "models" / "paperdoll" / "judge").networks()


@pytest.mark.parametrize("name", CONTROL_NAMES)
def test_a_picture_of_nothing_is_no_better_than_an_unrelated_one(
    name: str, networks: Networks
) -> None:
    control = get_control(name)
    settings = control.settings()
    *maps, nothing = control.extract([*SCENES, NOTHING], settings, networks)
    spec = control.metric(control.primary)

    def value(wanted: int, got: object) -> float:
        reading = control.compare(got, maps[wanted], settings)[control.primary]  # type: ignore[arg-type]
        return reading.value

    chance = np.nanmean([value(i, maps[i - 1]) for i in range(len(maps))])
    blank = np.nanmean([value(i, nothing) for i in range(len(maps))])
    share = (blank - chance) / (spec.best - chance)  # 1 is the best that there is
    assert share < 0.05
