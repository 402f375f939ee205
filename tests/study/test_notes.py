"""Protects: what a plan does that its author may not expect is said before any work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from workbench.study import Study, cut_note, make_plan, plan_notes


def study(folder: Path, **changes: object) -> Study:
    values = {
        "name": "notes",
        "sources": ["paperdoll:900001", "wide.png", "high.png"],
        "controls": ["canny"],
        "prompt": "a girl, snow",
        "steps": 5,
    }
    return Study.from_dict(values | changes, folder=folder)


def test_a_window_without_steps_and_cut_sources_are_said(tmp_path: Path) -> None:
    noise = np.random.default_rng(1)
    for name, shape in (("wide", (40, 80, 3)), ("high", (80, 60, 3))):
        Image.fromarray(noise.integers(0, 256, shape, np.uint8)).save(tmp_path / f"{name}.png")
    window = study(tmp_path, control_start=0.3, control_end=0.35)
    plan = make_plan(window, resolution=64)
    assert all(trial.control is None for trial in plan.trials), "every picture is of its text alone"
    no_step, cut = plan_notes(window, plan)
    assert "none of the 5 steps lies whole within control_start 0.3 and control_end 0.35" in no_step
    assert "2 of 3 sources are not square" in cut and "up to 50% of a picture" in cut
    assert "(wide.png)" in cut
    wider = study(tmp_path, control_start=0.2, control_end=0.4, sources=["paperdoll:900001"])
    assert plan_notes(wider, make_plan(wider, resolution=64)) == ()


def test_one_source_is_not_counted() -> None:
    assert cut_note({"a.png": 0.25}).startswith("The source is not square, and is cut")
    assert cut_note({}) == ""
