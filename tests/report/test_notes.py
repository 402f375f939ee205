"""Protects: a report says what its study does that a reader may not expect, and what helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from run_folders import begin_run

from workbench.report.content import _notes
from workbench.study import Study, make_plan


def test_a_window_without_steps_cut_sources_and_advice_are_in_the_report(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (40, 80, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "wide.png")
    values = {
        "name": "notes",
        "sources": ["wide.png"],
        "controls": ["canny"],
        "prompt": "a girl",
        "steps": 5,
        "control_start": 0.3,
        "control_end": 0.35,
    }
    study = Study.from_dict(values, folder=tmp_path)
    plan = make_plan(study, resolution=64)
    run = begin_run(tmp_path / "run", study)
    run.write_sources(plan.sources)
    black = "the picture is one solid colour (RGB 0, 0, 0)"
    run.write_trial(plan.trials[0], None, {"dtype": "float16"}, [], failed=black)
    assert run.read_sources()["wide.png"].cut == 0.5
    advice, window, cut = _notes(run, study.model_dump(mode="json"), run.scan())
    assert black in advice and "bfloat16" in advice
    assert "none of the 5 steps" in window and "50%" in cut
    # From the run's own copy, which is square, nothing is cut again; what is known is kept.
    kept = dict(run.read_sources().items())
    run.write_sources(kept)
    assert run.read_sources()["wide.png"].cut == 0.5
