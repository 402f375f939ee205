"""Protects a study of two controls at once, from its grid to its report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_run import TinyManager, make_study

import workbench.sweep.steps as steps
from workbench.controls import get_control
from workbench.generation import SampleResult
from workbench.measuring import Measurer
from workbench.report import render_report
from workbench.study import make_plan
from workbench.sweep import dry_run, run_study

PAIR = {"pair": ["depth", "canny"], "scales": {"depth": [0, 0.5, 1], "canny": [0, 0.7]}}
CONTROLS = ["canny", PAIR]
DEPTH = get_control("depth").label


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the trials that are really generated."""
    ids: list[str] = []
    real = steps.generate

    def counting(trials: Any, *args: Any, **keywords: Any) -> Iterator[list[SampleResult]]:
        ids.extend(trial.id for trial in trials)
        return real(trials, *args, **keywords)

    monkeypatch.setattr(steps, "generate", counting)
    return ids


def test_a_pair_runs_to_its_report(manager: TinyManager, tmp_path: Path, made: list[str]) -> None:
    study = make_study(controls=CONTROLS, scales=[0, 0.7], lengths=[2], seeds=[1, 2])
    plan = make_plan(study, resolution=64)
    planned = dry_run(study, tmp_path / "run", manager=manager, calibrate=False)
    # Two sources, two seeds; text only, canny alone, depth alone twice, both twice.
    assert planned.trials_after == len(plan.trials) == 2 + 4 * (1 + 2 + 2)
    assert planned.trials_before == 4 * (2 + 6)
    assert planned.cells == 4 * (2 + 2 * 6) == study.cell_count

    run = run_study(study, tmp_path / "run", manager=manager, batch_size=3)
    assert sorted(made) == sorted(plan.trials_by_id)
    frame = run.measurements()
    measurer = Measurer(plan, manager)
    for cell in plan.cells:
        have = set(frame[frame["cell"] == cell.id]["metric"])
        assert have == {*measurer.expected(cell), "diversity_looks", "diversity_structure"}
    paired = frame[frame["partner"] != ""]
    points = paired[["control", "scale", "partner", "partner_scale"]].drop_duplicates()
    assert len(points) == 2 * 6

    # Each control is measured on its own: by its own metrics, against its own map and references.
    primary = {"canny": "canny_f1_matched", "depth": "depth_pearson"}
    both = paired[(paired["scale"] > 0) & (paired["partner_scale"] > 0)]
    for name, metric in primary.items():
        rows = both[(both["control"] == name) & (both["metric"] == metric)]
        assert len(rows) == 2 * 2 * 2
        assert rows["value"].notna().all()
        assert set(rows["chance"]) == set(
            paired[(paired["control"] == name) & (paired["metric"] == metric)]["chance"]
        )
        other = next(m for n, m in primary.items() if n != name)
        assert paired[(paired["control"] == name) & (paired["metric"] == other)].empty
    assert run.read_json("manifest.json")["models"].keys() >= {
        "controlnet/canny",
        "controlnet/depth",
    }

    # Where depth has scale 0 the pair's canny cells read what canny reads alone.
    columns = ["source", "prompt", "scale", "seed", "metric"]
    alone = frame[frame["partner"] == ""].set_index(columns).sort_index()
    same = paired[(paired["control"] == "canny") & (paired["partner_scale"] == 0)]
    same = same.set_index(columns).sort_index()
    for column in ("trial", "value", "chance", "ceiling", "adherence"):
        pd.testing.assert_series_equal(same[column], alone[column])

    text = render_report(run)
    assert f"<h3>Canny edges + {DEPTH}</h3>" in text
    assert f'alt="Heat maps for Canny edges + {DEPTH}, 2 tags' in text
    assert f'alt="Contact sheet for Canny edges + {DEPTH}' in text
    assert text.count('alt="Trade-off plot') == 1

    made.clear()
    run_study(study, tmp_path / "run", manager=manager)
    assert made == []


def test_a_run_of_single_controls_grows_by_the_pictures_of_both(
    manager: TinyManager, tmp_path: Path, made: list[str]
) -> None:
    fields: dict[str, Any] = {"lengths": [2], "seeds": [1], "scales": [0, 0.5, 0.7, 1]}
    run_study(make_study(controls=["canny", "depth"], **fields), tmp_path / "run", manager=manager)
    made.clear()
    run = run_study(
        make_study(controls=["canny", PAIR], **fields), tmp_path / "run", manager=manager
    )
    assert len(made) == 2 * 2
    assert all(len(run.read_record(trial).trial.controls) == 2 for trial in made)


def test_a_pair_in_batches_is_the_pair_one_at_a_time(manager: TinyManager, tmp_path: Path) -> None:
    study = make_study(controls=[PAIR], lengths=[2], seeds=[1])
    whole = run_study(study, tmp_path / "whole", manager=manager, batch_size=16)
    single = run_study(study, tmp_path / "single", manager=manager, batch_size=1)
    assert whole.trial_ids() == single.trial_ids()
    for trial in whole.trial_ids():
        apart = whole.read_sample(trial).astype(int) - single.read_sample(trial)
        assert np.abs(apart).max() <= 2
