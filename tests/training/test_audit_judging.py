"""Protects the judge's audit: truth gets full marks, and each head's error moves its own figure."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from workbench.families.judge import load_judge
from workbench.paths import data_dir
from workbench.training.audit.judging import EDGE_THRESHOLDS, _ods, judge_figures
from workbench.training.data import AUDIT_SEEDS, WorldData, render_arrays
from workbench.training.judge import soft_edges

SCENES = 6
HEADS = ("depth", "normals", "segmentation", "edges", "joints")


@pytest.fixture(scope="module", name="held")
def _held() -> dict[str, np.ndarray]:
    return render_arrays(AUDIT_SEEDS[:SCENES])


def truth(held: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a judge without error reads."""
    data = WorldData(**held)
    return {
        "depth": held["depth"].astype(np.float32),
        "normal": held["normal"].astype(np.float32),
        "segmentation": held["segmentation"],
        "edges": np.stack([soft_edges(data, row) for row in range(len(data))]),
        "pose": held["skeleton"][:, None],
    }


def figures(held: dict[str, np.ndarray], **answers: np.ndarray) -> dict[str, float]:
    """The five values of a judge which gives the truth, but for `answers`."""
    known = truth(held) | answers
    networks = {name: lambda rgb, value=value: value for name, value in known.items()}
    found = judge_figures(networks, held)
    return dict(zip(HEADS, (figure.value for figure in found), strict=True))


def test_the_truth_gets_full_marks(held: dict[str, np.ndarray]) -> None:
    found = figures(held)
    assert found["depth"] == pytest.approx(0, abs=1e-5)
    assert found["normals"] == pytest.approx(0, abs=1e-3)
    assert (found["segmentation"], found["edges"], found["joints"]) == (1, 1, 1)


def test_an_error_of_a_head_moves_its_figure_only(held: dict[str, np.ndarray]) -> None:
    good, known = figures(held), truth(held)
    mirrored = {
        "depth": {"depth": known["depth"][:, :, ::-1].copy()},
        "normals": {"normal": -known["normal"]},
        "segmentation": {"segmentation": (known["segmentation"] + 1) % 16},
        "edges": {"edges": known["edges"][:, ::-1].copy()},
        "joints": {"pose": known["pose"] + np.float32([200, 0, 0])},
    }
    for head, answers in mirrored.items():
        bad = figures(held, **answers)
        assert [name for name in HEADS if bad[name] != good[name]] == [head]
    assert figures(held, **mirrored["normals"])["normals"] == pytest.approx(180, abs=1e-3)
    assert figures(held, **mirrored["segmentation"])["segmentation"] < 0.05
    assert figures(held, **mirrored["joints"])["joints"] == 0
    assert figures(held, **mirrored["edges"])["edges"] < 0.7


def test_depth_is_known_up_to_scale_and_shift(held: dict[str, np.ndarray]) -> None:
    assert figures(held, depth=truth(held)["depth"] * 0.3 + 5)["depth"] < 1e-4


def test_the_best_threshold_is_found() -> None:
    line = np.zeros((1, 64, 64), np.float32)
    line[0, 20, 5:60] = 1
    clutter = 0.42 * (np.random.default_rng(0).random((1, 64, 64)) < 0.2)
    threshold, f1 = _ods(np.maximum(0.6 * line, clutter).astype(np.float32), line)
    assert 0.42 < threshold <= 0.6
    assert f1 == 1
    assert len(EDGE_THRESHOLDS) == 19
    # Thick strokes are thinned before they are matched.
    thick = np.asarray(cv2.dilate(line[0], np.ones((9, 3))))[None]
    assert _ods(thick, line)[1] > 0.9
    assert math.isnan(_ods(np.zeros_like(line), np.zeros_like(line))[1])


def test_pck_is_a_plain_loop(held: dict[str, np.ndarray]) -> None:
    skeleton = held["skeleton"].copy()
    skeleton[0, 4, 2] = skeleton[2, 9, 2] = 0
    found = skeleton.copy()
    found[..., :2] += np.random.default_rng(1).normal(0, 4, (SCENES, 18, 2))
    found[..., 2] = 0.1  # however unsure
    right = total = 0
    for person, true in zip(found, skeleton, strict=True):
        middle = (true[8, :2] + true[11, :2]) / 2
        torso = math.dist(true[1, :2], middle)
        for joint, (x, y, there) in zip(person, true, strict=True):
            if there:
                total += 1
                right += math.dist(joint[:2], (x, y)) <= 0.2 * torso
    assert 0 < right < total < SCENES * 18
    found_by_figure = figures(held | {"skeleton": skeleton}, pose=found[:, None])["joints"]
    assert found_by_figure == pytest.approx(right / total)


@pytest.mark.models
@pytest.mark.parametrize("style", ["render", "ink"])
def test_the_shipped_judge_reads_the_world(held: dict[str, np.ndarray], style: str) -> None:
    judge = load_judge(data_dir() / "models/paperdoll/judge")
    found = judge_figures(judge.networks(), held, style)
    assert all(f"{SCENES} {style} scenes" in figure.name for figure in found)
    values = dict(zip(HEADS, (figure.value for figure in found), strict=True))
    assert all(passed(values).values()), values


def passed(values: dict[str, float]) -> dict[str, bool]:
    """Whether each head reads the scene that it is shown; the exact figures stand in the audit."""
    return {
        "depth": values["depth"] < 0.1,
        "normals": values["normals"] < 8,
        "segmentation": values["segmentation"] > 0.8,
        "edges": values["edges"] > 0.85,
        "joints": values["joints"] > 0.9,
    }


def test_a_judge_that_reads_another_scene_passes_in_no_head(held: dict[str, np.ndarray]) -> None:
    """Scenes are much alike: the truth of another one is the chance that a bound must exclude."""
    shifted = {name: np.roll(value, 1, axis=0) for name, value in truth(held).items()}
    values = figures(held, **shifted)
    assert not any(passed(values).values()), values
