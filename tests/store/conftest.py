"""A tiny planned study and a run folder for it; the pictures are noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from run_folders import begin_run

from workbench.controls import ControlSettings
from workbench.store import RunFolder
from workbench.study import Cell, Choices, FamilyChoice, Plan, Study, Trial, make_plan

CHOICES = Choices(
    families={"paperdoll": FamilyChoice(("render",), ("depth", "canny"))},
    settings_type=lambda control: ControlSettings,
)


@pytest.fixture(autouse=True)
def _noise_for_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store does not care what a source shows: noise instead of a rendered scene."""

    def render(scene: SimpleNamespace) -> SimpleNamespace:
        noise = np.random.default_rng(scene.seed).integers(0, 256, (16, 16, 3), np.uint8)
        return SimpleNamespace(rgb=noise)

    monkeypatch.setattr(
        "workbench.paperdoll.sample_scene",
        lambda seed: SimpleNamespace(seed=seed, tags=("a girl", f"tag {seed}")),
    )
    monkeypatch.setattr("workbench.paperdoll.render", render)


@pytest.fixture
def choices() -> Choices:
    return CHOICES


@pytest.fixture
def study() -> Callable[..., Study]:
    def make(**changes: Any) -> Study:
        fields: dict[str, Any] = {
            "name": "tiny",
            "sources": ["paperdoll:1"],
            "controls": ["depth", "canny"],
            "prompt": "a girl, snow",
            "lengths": [1, 2],
            "scales": [0, 1],
            "seeds": [1],
        }
        return Study(**(fields | changes))

    return make


@pytest.fixture
def plan(study: Callable[..., Study]) -> Plan:
    return make_plan(study(), resolution=16, choices=CHOICES)


@pytest.fixture
def run(tmp_path: Path, study: Callable[..., Study]) -> RunFolder:
    return begin_run(tmp_path / "run", study())


@pytest.fixture
def image() -> Callable[[Trial], np.ndarray]:
    """A picture that depends on the trial alone."""

    def make(trial: Trial) -> np.ndarray:
        return np.random.default_rng(int(trial.id, 16)).integers(0, 256, (16, 16, 3), np.uint8)

    return make


@pytest.fixture
def readings() -> Callable[[Cell], list[dict[str, Any]]]:
    """Two readings of a cell; the second has nothing to compare."""

    def make(cell: Cell) -> list[dict[str, Any]]:
        shared = {"cell": cell.id, "trial": cell.trial_id}
        value = int(cell.id, 16) / 2**64
        return [
            {**shared, "metric": "canny_f1", "value": np.float32(value), "chance": 0.1,
             "ceiling": 0.9, "adherence": (value - 0.1) / 0.8, "reason": ""},
            {**shared, "metric": "clip_used", "value": float("nan"), "chance": float("nan"),
             "ceiling": float("nan"), "adherence": float("nan"), "reason": "the prompt is empty"},
        ]  # fmt: skip

    return make


@pytest.fixture
def fill(
    plan: Plan,
    image: Callable[[Trial], np.ndarray],
    readings: Callable[[Cell], list[dict[str, Any]]],
) -> Callable[..., None]:
    """Writes all trials of the plan (or those given) into a run folder."""

    def write(run: RunFolder, trials: tuple[Trial, ...] = plan.trials) -> None:
        for trial in trials:
            cells = plan.cells_by_trial[trial.id]
            rows = [row for cell in cells for row in readings(cell)]
            made_by = {"batch_size": 4, "device": "cpu", "tokens": 5, "truncated": False}
            run.write_trial(trial, image(trial), made_by, rows, cells=cells)

    return write
