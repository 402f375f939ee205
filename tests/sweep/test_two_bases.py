"""Protects: a study of two base models runs and is reported base by base, never as one mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_run import TinyManager, make_study

import workbench.study.plan
from workbench.controls import get_control
from workbench.report import render_report
from workbench.study import Choices, FamilyChoice, make_plan
from workbench.sweep import dry_run, run_study

BASES = ["render", "ink"]


@pytest.fixture(autouse=True)
def both_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The family's second base is known, whatever the catalogue lists."""
    known = Choices(
        {"paperdoll": FamilyChoice(tuple(BASES), ("depth", "canny"))},
        lambda name: get_control(name).settings_type,
    )
    monkeypatch.setattr(workbench.study.plan, "installed_choices", lambda: known)


def test_a_study_of_two_bases_runs_to_its_report(manager: TinyManager, tmp_path: Path) -> None:
    study = make_study(base=BASES)
    assert dry_run(study, tmp_path / "run", manager=manager, calibrate=False).trials_after == 24
    run = run_study(study, tmp_path / "run", manager=manager)
    frame = run.measurements()
    columns = ["source", "prompt", "scale", "seed", "metric"]
    sides = [frame[frame["base"] == base].set_index(columns).sort_index() for base in BASES]
    assert len(sides[0]) == len(sides[1]) == len(frame) / 2
    # Other pictures, measured against the same chance and ceiling.
    assert not np.array_equal(sides[0]["value"], sides[1]["value"], equal_nan=True)
    for column in ("chance", "ceiling"):
        pd.testing.assert_series_equal(sides[0][column], sides[1][column])
    across = frame[frame["metric"] == "bases_structure"].set_index(columns[:-1])
    pairs = [across[across["base"] == base]["value"].sort_index() for base in BASES]
    # Both bases of a picture say the same, for here are two of them.
    pd.testing.assert_series_equal(pairs[0], pairs[1])
    assert (pairs[0] > 0).any()
    manifest = run.read_json("manifest.json")
    assert {"tiny/base/unet", "tiny/ink/unet"} <= {
        name.rpartition("/")[0] for name in manifest["weight_hashes"]
    }
    assert manifest["models"]["base/ink"] == "tiny/ink"

    text = render_report(run)
    for base in BASES:
        assert f'alt="Trade-off plot for Canny edges (base {base})' in text
        assert f'alt="Contact sheet for Canny edges (base {base}), seed 1' in text
        assert f"<h3>Canny edges (base {base})</h3>" in text
    assert "<dt>base models</dt><dd>ink, render</dd>" in text


def test_each_base_gets_the_pictures_it_gets_alone(manager: TinyManager, tmp_path: Path) -> None:
    both = run_study(make_study(base=BASES), tmp_path / "both", manager=manager)
    for base in BASES:
        plan = make_plan(make_study(base=[base]), resolution=64)
        run = run_study(make_study(base=[base]), tmp_path / base, manager=manager)
        assert set(run.trial_ids()) < set(both.trial_ids())
        for trial in plan.trials:
            apart = run.read_sample(trial.id).astype(int) - both.read_sample(trial.id)
            assert np.abs(apart).max() <= 2


def test_a_study_narrowed_to_one_base_loses_what_was_read_between_two(
    manager: TinyManager, tmp_path: Path
) -> None:
    small = {"sources": ["paperdoll:900001"], "lengths": [2], "scales": [1]}
    both = run_study(make_study(base=BASES, **small), tmp_path / "run", manager=manager)
    assert (both.measurements()["metric"] == "bases_structure").any()
    run = run_study(make_study(base=BASES[:1], **small), tmp_path / "run", manager=manager)
    assert not run.measurements()["metric"].str.startswith("bases").any()
    columns = ["cell", "metric", "value"]
    alone = run_study(make_study(base=BASES[:1], **small), tmp_path / "alone", manager=manager)
    pd.testing.assert_frame_equal(run.measurements()[columns], alone.measurements()[columns])
    again = run_study(make_study(base=BASES, **small), tmp_path / "run", manager=manager)
    assert (again.measurements()["metric"] == "bases_structure").any()
