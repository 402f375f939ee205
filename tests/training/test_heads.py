"""Stored readings of the judge stand in for the judge itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workbench import training
from workbench.families import get_family
from workbench.families.judge import HEADS, Judge
from workbench.study import Study, make_plan
from workbench.training.data import render_arrays
from workbench.training.heads import judge_heads, map_settings, stored_networks


def test_stored_readings_are_what_the_judge_reads(tmp_path: Path) -> None:
    judge = Judge((8, 8, 16, 16)).eval()
    rgb = render_arrays(range(100))["rgb"]
    stored = stored_networks(judge_heads(tmp_path, judge, rgb), 96)
    for name in HEADS:
        fresh = judge.networks()[name](rgb[96:])
        assert stored[name](rgb[96:]).shape == fresh.shape
        assert np.abs(stored[name](rgb[96:]).astype(float) - fresh.astype(float)).max() < 2e-3, name


def test_they_are_made_once_and_anew_for_another_judge(tmp_path: Path) -> None:
    rgb = render_arrays(range(2))["rgb"]
    first, second = Judge((8, 8, 16, 16)).eval(), Judge((8, 8, 16, 16)).eval()
    judge_heads(tmp_path, first, rgb)
    (folder,) = tmp_path.iterdir()
    before = (folder / "depth.npy").stat().st_mtime_ns
    judge_heads(tmp_path, first, rgb)
    assert (folder / "depth.npy").stat().st_mtime_ns == before
    judge_heads(tmp_path, second, rgb)
    assert len(list(tmp_path.iterdir())) == 2


def test_maps_to_learn_from_are_those_of_studies() -> None:
    """The shipped scribble ControlNet learnt strokes which go on where an edge grows faint."""
    assert map_settings("scribble").model_dump()["continued"] == 64
    for control in get_family("paperdoll").controls:
        study = Study.from_dict(
            {"name": "s", "sources": ["paperdoll:1"], "controls": [control], "prompt": "a girl"}
        )
        (cell,) = make_plan(study, resolution=128).cells
        assert cell.control_settings == map_settings(control).canonical()


def test_every_stage_takes_its_settings_there() -> None:
    for path in (Path(training.__file__).parent).rglob("*.py"):
        assert "settings_type()" not in path.read_text("utf-8"), path
