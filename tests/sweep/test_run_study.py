"""Protects the promise of a run: everything once, nothing twice, nothing lost."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_folders import begin_run
from tiny_run import TinyManager, make_study

import workbench.sweep.steps as steps
from workbench.generation import CancelToken, SampleResult
from workbench.measuring import Measurer
from workbench.measuring.references import NO_TEXT_ONLY
from workbench.store import RunFolder, StoreError
from workbench.study import StudyError, make_plan
from workbench.sweep import Progress, dry_run, run_study, run_trials


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


def numbers(run: RunFolder) -> pd.DataFrame:
    """The table without what the clock decides."""
    return run.measurements().set_index(["cell", "metric"]).sort_index()


def test_a_run_fills_the_grid(manager: TinyManager, tmp_path: Path, made: list[str]) -> None:
    reports: list[Progress] = []
    run = run_study(make_study(), tmp_path / "run", manager=manager, progress=reports.append)
    plan = make_plan(make_study(), resolution=64)
    assert sorted(made) == sorted(trial.id for trial in plan.trials)

    frame = run.measurements()
    measurer = Measurer(plan, manager)
    for cell in plan.cells:
        have = set(frame[frame["cell"] == cell.id]["metric"])
        assert have == {*measurer.expected(cell), "diversity_looks", "diversity_structure"}
    unknown = frame["value"].isna() | frame["adherence"].isna()
    assert (frame[unknown]["reason"] != "").all()
    assert (frame[~unknown]["reason"] == "").all()
    assert frame["tokens"].gt(0).all()

    assert reports[0].phase == "loading"
    assert reports[-1].phase == "done"
    assert reports[-1].seconds_left == 0
    done = [report.done for report in reports]
    assert done == sorted(done)
    assert done[-1] == reports[-1].total == len(plan.trials)
    assert reports[-1].last_image is not None
    assert (run.path / "references.json").is_file()
    manifest = run.read_json("manifest.json")
    assert any("controlnet/canny" in name for name in manifest["weight_hashes"])


def test_a_second_start_makes_and_writes_nothing(
    manager: TinyManager, tmp_path: Path, made: list[str]
) -> None:
    run = run_study(make_study(), tmp_path / "run", manager=manager)
    before = {path: path.stat().st_mtime_ns for path in (run.path / "trials").rglob("*.*")}
    first = numbers(run)
    made.clear()
    again = run_study(make_study(), tmp_path / "run", manager=manager)
    assert made == []
    assert {p: p.stat().st_mtime_ns for p in (run.path / "trials").rglob("*.*")} == before
    pd.testing.assert_frame_equal(first, numbers(again))


def opened(folder: Path) -> Counter[str]:
    """How often each file of a run is opened from now on, whoever opens it."""
    seen: Counter[str] = Counter()
    here = str(folder.resolve())

    def hook(event: str, arguments: Any) -> None:
        if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(here):
            seen[arguments[0].removeprefix(f"{here}/")] += 1

    sys.addaudithook(hook)  # it stays, but hears of nothing once the folder is gone
    return seen


def test_a_second_start_opens_each_record_once_and_no_picture(
    manager: TinyManager, tmp_path: Path
) -> None:
    folder = (tmp_path / "run").resolve()
    run = run_study(make_study(), folder, manager=manager)
    seen = opened(folder)
    run_study(make_study(), folder, manager=manager)
    records = {name: count for name, count in seen.items() if name.endswith("record.json")}
    assert records == {f"trials/{trial}/record.json": 1 for trial in run.trial_ids()}
    assert not [name for name in seen if name.endswith("sample.png")]

    os.utime(run.sample_path(run.trial_ids()[0]))  # newer than its record: it has to be looked at
    seen.clear()
    run_study(make_study(), folder, manager=manager)
    pictures = {name: count for name, count in seen.items() if name.endswith("sample.png")}
    assert pictures == {f"trials/{run.trial_ids()[0]}/sample.png": 1}

    seen.clear()
    dry_run(make_study(), folder, manager=manager, calibrate=False)
    records = {name: count for name, count in seen.items() if name.endswith("record.json")}
    assert set(records.values()) == {1} and len(records) == 12


def test_a_new_scale_computes_the_new_cells_alone(
    manager: TinyManager, tmp_path: Path, made: list[str]
) -> None:
    run_study(make_study(), tmp_path / "run", manager=manager)
    old = set(made)
    made.clear()
    wider = make_study(scales=[0, 0.5, 1])
    run = run_study(wider, tmp_path / "run", manager=manager)
    plan = make_plan(wider, resolution=64)
    assert set(made) == {t.id for t in plan.trials} - old
    assert set(run.measurements()["scale"]) == {0, 0.5, 1}


def test_a_smaller_study_shows_its_own_cells_alone(manager: TinyManager, tmp_path: Path) -> None:
    run_study(make_study(), tmp_path / "run", manager=manager)
    run = run_study(make_study(scales=[1]), tmp_path / "run", manager=manager)
    assert set(run.measurements()["scale"]) == {1}


def test_a_new_control_reuses_the_text_only_pictures(
    manager: TinyManager, tmp_path: Path, made: list[str]
) -> None:
    run_study(make_study(scales=[0]), tmp_path / "run", manager=manager)
    made.clear()
    both = make_study(scales=[0], controls=["canny", "depth"])
    run = run_study(both, tmp_path / "run", manager=manager)
    assert made == []
    frame = run.measurements()
    assert set(frame[frame["control"] == "depth"]["metric"]) >= {"depth_pearson", "clip_used"}
    fresh = run_study(both, tmp_path / "fresh", manager=manager)
    columns = ["value", "chance", "ceiling", "adherence"]
    pd.testing.assert_frame_equal(numbers(run)[columns], numbers(fresh)[columns], atol=1e-5)


def test_a_new_seed_renews_the_diversity_of_old_cells(manager: TinyManager, tmp_path: Path) -> None:
    run_study(make_study(seeds=[1]), tmp_path / "run", manager=manager)
    frame = RunFolder.open(tmp_path / "run").measurements()
    alone = frame[frame["metric"] == "diversity_looks"]
    assert alone["value"].isna().all()
    assert alone["reason"].str.contains("one seed").all()
    run_study(make_study(seeds=[1, 2]), tmp_path / "run", manager=manager)
    frame = RunFolder.open(tmp_path / "run").measurements()
    assert frame[frame["metric"] == "diversity_looks"]["value"].notna().all()
    assert frame[frame["metric"] == "diversity_structure"]["value"].notna().all()


def test_distances_of_lines_from_before_they_were_paired_are_read_anew(
    manager: TinyManager, tmp_path: Path, made: list[str]
) -> None:
    run = run_study(make_study(), tmp_path / "run", manager=manager)
    first = numbers(run)
    for record in run.records():
        old = [
            {**{k: v for k, v in row.items() if k != "asked"}, "value": 0.125}
            for row in record.rows
            if row["metric"] == "diversity_structure"
        ]
        run.add_rows(record.trial.id, old)
    made.clear()
    run = run_study(make_study(), tmp_path / "run", manager=manager)
    assert made == []
    pd.testing.assert_frame_equal(first, numbers(run), atol=1e-5)
    rows = [row for record in run.records() for row in record.rows]
    asked = {row.get("asked") for row in rows if row["metric"] == "diversity_structure"}
    assert asked == {"one to one"}


def test_readings_lost_from_a_record_are_taken_from_the_picture(
    manager: TinyManager, tmp_path: Path, made: list[str]
) -> None:
    run = run_study(make_study(), tmp_path / "run", manager=manager)
    first = numbers(run)
    plan = make_plan(make_study(), resolution=64)
    trial = plan.trials[0]
    cell = plan.cells_by_trial[trial.id][0]
    kept = [r for r in run.read_record(trial.id).rows if r["metric"] == "clip_used"]
    run.add_rows(trial.id, [r for r in kept if r["cell"] == cell.id], cells=[cell])
    made.clear()
    run = run_study(make_study(), tmp_path / "run", manager=manager)
    assert made == []
    pd.testing.assert_frame_equal(first, numbers(run), atol=1e-5)


def test_without_a_world_ceilings_come_from_the_text_only_pictures(
    worldless: TinyManager, tmp_path: Path
) -> None:
    frame = run_study(make_study(), tmp_path / "run", manager=worldless).measurements()
    used = frame[frame["metric"] == "clip_used"]
    assert used["ceiling"].notna().all()
    for _, rows in used.groupby("prompt"):
        text_only = rows[rows["scale"] == 0].drop_duplicates("trial")
        assert len(text_only) == 2
        # Stored embeddings are float16.
        assert rows["ceiling"].to_numpy() == pytest.approx(text_only["value"].mean(), abs=0.05)

    frame = run_study(make_study(scales=[1]), tmp_path / "other", manager=worldless).measurements()
    used = frame[frame["metric"] == "clip_used"]
    assert used["adherence"].isna().all()
    assert (used["reason"] == NO_TEXT_ONLY).all()


def test_a_new_source_moves_chance_but_no_value(
    worldless: TinyManager, tmp_path: Path, made: list[str]
) -> None:
    three = [f"paperdoll:90000{i}" for i in (1, 2, 3)]
    old = numbers(run_study(make_study(), tmp_path / "run", manager=worldless))
    made.clear()
    run = run_study(make_study(sources=three), tmp_path / "run", manager=worldless)
    new = numbers(run).loc[old.index]
    np.testing.assert_array_equal(new["value"], old["value"])
    assert not np.array_equal(new["chance"], old["chance"], equal_nan=True)
    fresh = numbers(run_study(make_study(sources=three), tmp_path / "fresh", manager=worldless))
    np.testing.assert_allclose(numbers(run)["chance"], fresh["chance"], rtol=1e-5)


def test_a_broken_sample_is_a_failed_trial(
    manager: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = steps.generate

    def breaking(trials: Any, *args: Any, **keywords: Any) -> Iterator[list[SampleResult]]:
        for batch in real(trials, *args, **keywords):
            yield [
                SampleResult(result.trial, None, "the picture is black", result.made_by)
                if result.trial.id == trials[0].id
                else result
                for result in batch
            ]

    monkeypatch.setattr(steps, "generate", breaking)
    run = run_study(make_study(), tmp_path / "run", manager=manager)
    trial = make_plan(make_study(), resolution=64).trials[0]
    assert run.read_record(trial.id).failed == "the picture is black"
    rows = run.measurements().query("trial == @trial.id")
    assert rows["value"].isna().all()
    assert rows["reason"].str.contains("failed").all()
    others = run.measurements().query("trial != @trial.id and metric == 'clip_full'")
    assert others["value"].notna().all()
    calls: list[int] = []
    monkeypatch.setattr(steps, "generate", lambda trials, *a, **k: calls.append(len(trials)) or [])
    run_study(make_study(), tmp_path / "run", manager=manager)
    assert calls == [0]


def test_a_cancel_keeps_what_is_done_and_the_next_start_goes_on(
    manager: TinyManager, tmp_path: Path, made: list[str]
) -> None:
    cancel = CancelToken()

    def stop(progress: Progress) -> None:
        if progress.phase == "generating" and progress.done >= 4:
            cancel.cancel()

    run = run_study(make_study(), tmp_path / "run", manager=manager, progress=stop, cancel=cancel)
    done = set(run.trial_ids())
    total = len(make_plan(make_study(), resolution=64).trials)
    assert 4 <= len(done) < total
    assert set(run.measurements()["trial"]) == done
    made.clear()
    run = run_study(make_study(), tmp_path / "run", manager=manager)
    assert len(made) == total - len(done)
    whole = run_study(make_study(), tmp_path / "whole", manager=manager)
    pd.testing.assert_frame_equal(numbers(run), numbers(whole), atol=1e-5)


def test_a_killed_run_ends_with_the_measurements_of_an_unbroken_one(
    models: Path, manager: TinyManager, tmp_path: Path
) -> None:
    helpers = Path(__file__).parent.parent / "helpers"
    here = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join([str(helpers), str(here)])
    script = [sys.executable, str(helpers / "tiny_run.py"), str(models)]
    killed = subprocess.run(
        [*script, str(tmp_path / "killed"), "1"],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "killed" / "measurements.parquet").exists()
    plan = make_plan(make_study(), resolution=64)
    stored = set(RunFolder.open(tmp_path / "killed").trial_ids())
    assert 0 < len(stored) < len(plan.trials)

    resumed = run_study(make_study(), tmp_path / "killed", manager=manager)
    unbroken = run_study(make_study(), tmp_path / "unbroken", manager=manager)
    pd.testing.assert_frame_equal(numbers(resumed), numbers(unbroken), atol=0.05, rtol=1e-3)


def test_two_coordinators_do_not_share_a_folder(manager: TinyManager, tmp_path: Path) -> None:
    run = begin_run(tmp_path / "run", make_study())
    with run.claim(), pytest.raises(StoreError, match="another process"):
        run_study(make_study(), tmp_path / "run", manager=manager)


def test_a_dry_run_counts_estimates_and_writes_nothing(
    manager: TinyManager, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    plan = make_plan(make_study(), resolution=64)
    fresh = dry_run(make_study(), folder, manager=manager)
    assert (fresh.cells, fresh.trials_before) == (len(plan.cells), len(plan.cells))
    assert fresh.trials_after == len(plan.trials) < fresh.trials_before
    assert fresh.cached == 0
    assert fresh.speed_from == "calibration"
    assert fresh.seconds_estimate is not None
    assert 0 < fresh.seconds_estimate < 60
    assert not folder.exists()
    assert dry_run(make_study(), folder, manager=manager, calibrate=False).seconds_estimate is None

    run_study(make_study(), folder, manager=manager)
    full = dry_run(make_study(), folder, manager=manager, calibrate=False)
    assert full.cached == full.trials_after
    assert full.seconds_estimate == 0
    more = dry_run(make_study(scales=[0, 0.5, 1]), folder, manager=manager)
    assert more.to_generate == 8
    assert more.speed_from == "stored"
    assert more.seconds_estimate is not None
    assert not math.isnan(more.seconds_estimate)


def test_diversity_of_whole_batches_spares_a_second_writing(
    manager: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeds made in one batch get their diversity at once; it equals that of scattered seeds."""
    writes: list[str] = []
    real = RunFolder.add_rows

    def counting(run: RunFolder, trial_id: str, *args: Any, **keywords: Any) -> Any:
        writes.append(trial_id)
        return real(run, trial_id, *args, **keywords)

    monkeypatch.setattr(RunFolder, "add_rows", counting)
    whole = run_study(make_study(), tmp_path / "whole", manager=manager, batch_size=4)
    assert writes == []
    scattered = run_study(make_study(), tmp_path / "scattered", manager=manager, batch_size=1)
    assert writes
    pd.testing.assert_frame_equal(numbers(whole), numbers(scattered), atol=0.05, rtol=0.02)


def test_some_pictures_now_and_the_rest_later_are_the_whole_run(
    manager: TinyManager, tmp_path: Path, made: list[str]
) -> None:
    study = make_study(batch_size=1)  # another size may round otherwise
    ids = [trial.id for trial in make_plan(study, resolution=manager.family.resolution).trials]
    reports: list[Progress] = []
    some = run_trials(study, tmp_path / "run", ids[2:5], manager=manager, progress=reports.append)
    assert sorted(made) == sorted(ids[2:5]) == sorted(some.scan().records)
    assert (reports[-1].done, reports[-1].total) == (3, 3)
    assert f"3 of {len(ids)} pictures are there" in some.status().sentence
    assert set(some.measurements()["trial"]) == set(ids[2:5])
    run_trials(study, tmp_path / "run", ids[4:6], manager=manager)
    assert len(made) == 4, "nothing is made twice"
    last = run_trials(study, tmp_path / "run", ids, manager=manager)
    assert last.status().sentence == "" and len(made) == len(ids)
    whole = run_study(study, tmp_path / "whole", manager=manager)
    columns = ["value", "chance", "ceiling", "adherence", "reason"]
    pd.testing.assert_frame_equal(numbers(last)[columns], numbers(whole)[columns])
    with pytest.raises(StudyError, match="no trial 0123"):
        run_trials(study, tmp_path / "other", ["0123"], manager=manager)
    assert not (tmp_path / "other").exists()
