"""Protects what the embedded judge's soft edges are good for: true outlines, and fair scores."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.segmentation import find_boundaries

from workbench.controls import get_control
from workbench.controls.base import Networks
from workbench.families.judge import load_judge
from workbench.metrics.edges import default_tolerance, edge_scores
from workbench.metrics.thinning import thin
from workbench.paperdoll import SIDE, Rendering, render, sample_scene
from workbench.paths import data_dir

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def networks() -> Networks:
    return load_judge(data_dir() / "models" / "paperdoll" / "judge").networks()


@pytest.fixture(scope="module")
def scenes() -> list[Rendering]:
    return [render(sample_scene(seed)) for seed in range(950_100, 950_106)]


@pytest.mark.parametrize(("name", "fraction"), [("hed", 0.0075), ("scribble", 0.02)])
def test_outlines_are_found(
    name: str, fraction: float, networks: Networks, scenes: list[Rendering]
) -> None:
    control = get_control(name)
    maps = control.extract([scene.rgb for scene in scenes], control.settings(), networks)
    found = np.stack([thin(m.data > 0.5) for m in maps])
    borders = np.stack([thin(find_boundaries(scene.segmentation)) for scene in scenes])
    scores = edge_scores(found, borders, default_tolerance(SIDE, SIDE, fraction))
    assert scores.recall > 0.85
    assert scores.precision > 0.8


@pytest.mark.parametrize("name", ["hed", "lineart", "scribble"])
def test_unrelated_scenes_score_far_below_a_blurred_one(
    name: str, networks: Networks, scenes: list[Rendering]
) -> None:
    control = get_control(name)
    settings = control.settings()
    pictures = [scene.rgb for scene in scenes]
    blurred = [np.asarray(cv2.GaussianBlur(p, (0, 0), 0.8), np.uint8) for p in pictures]
    wanted, same = (control.extract(some, settings, networks) for some in (pictures, blurred))
    score = {
        shift: [
            control.compare(g, w, settings)[control.primary].value
            for w, g in zip(wanted, same[shift:] + same[:shift], strict=True)
        ]
        for shift in (0, 1, 2)
    }
    unrelated = score[1] + score[2]
    assert np.mean(score[0]) > np.mean(unrelated) + 0.25
    assert min(score[0]) > max(unrelated)
    assert abs(np.mean(score[1]) - np.mean(score[2])) < 0.1, "chance hardly depends on the pair"
