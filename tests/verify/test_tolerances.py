"""Protects the bounds of `workbench verify`: they hold in every number format, and tell another
picture. `benchmarks/tolerances.py` measures the same on the embedded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import TINY_WORLD, TinyManager, make_study

from workbench.families import Runtime
from workbench.generation import generate
from workbench.measuring import Measurer
from workbench.store import Record, build_table
from workbench.study import make_plan
from workbench.sweep import run_study
from workbench.verify.diff import PixelDifference, compare_pixels, compare_tables, diff_runs
from workbench.verify.result import TOLERANCES, readings_outcome, tolerance
from workbench.verify.run import verify_run

OTHER = Runtime(attention="eager", channels_last=False)


def made(models: Path, dtype: str, runtime: Runtime) -> dict[str, tuple[np.ndarray, Any]]:
    """Trial -> its picture and the table of its readings."""
    plan = make_plan(make_study(dtype=dtype, lengths=[2], seeds=[1]), resolution=64)
    manager = TinyManager(TINY_WORLD, models_dir=models, dtype=dtype, runtime=runtime)
    measurer = Measurer(plan, manager)
    found = {}
    for results in generate(plan.trials, measurer.source_maps, manager, batch_size=2):
        pictures = {r.trial.id: np.asarray(r.image) for r in results}
        for read in measurer.measure(list(pictures.items())):
            record = Record(trial=plan.trials_by_id[read.trial_id])
            table = build_table([record.with_rows(read.rows, read.cells)])
            found[read.trial_id] = pictures[read.trial_id], table
    return found


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_another_kernel_and_memory_order_stay_within_the_bounds(models: Path, dtype: str) -> None:
    usual, other = (made(models, dtype, runtime) for runtime in (Runtime(), OTHER))
    for trial, (picture, table) in usual.items():
        found = compare_pixels(picture, other[trial][0])
        assert found.within(tolerance(dtype)) in ("identical", "within tolerance")
        shares = compare_tables(table, other[trial][1], ["cell", "metric"])["share"].tolist()
        assert readings_outcome(shares, tolerance(dtype)) in ("identical", "within tolerance")
    if dtype == "bfloat16":
        assert any((picture != other[trial][0]).any() for trial, (picture, _) in usual.items())


def half(models: Path, **choices: Any) -> TinyManager:
    return TinyManager(TINY_WORLD, models_dir=models, dtype="bfloat16", runtime=Runtime(**choices))


def test_verify_judges_half_precision_by_its_own_bounds(models: Path, tmp_path: Path) -> None:
    study = make_study(dtype="bfloat16", lengths=[2], seeds=[1])
    run = run_study(study, tmp_path / "run", manager=half(models))
    other = half(models, attention="eager", channels_last=False)
    result = verify_run(run.path, trials=4, manager=other)
    assert result is not None
    trials = result.group("trials")
    assert trials is not None and trials.outcome == "within tolerance"
    assert trials.largest is not None and trials.largest > 0
    details = [item.detail for item in trials.items if item.outcome == "within tolerance"]
    assert all("its readings move by" in text for text in details)
    assert result.to_dict()["tolerances"]["pixel"] == TOLERANCES["bfloat16"].pixel

    runtime = study.model_copy(update={"runtime": other.runtime})
    again = run_study(runtime, tmp_path / "again", manager=other)
    found = diff_runs(run.path, again.path)
    assert found.dtypes == ("bfloat16", "bfloat16")
    assert {p.within(tolerance(*found.dtypes)) for p in found.pictures.values()} == {
        "within tolerance"
    }


def test_bounds_are_those_of_the_format_and_tell_another_picture() -> None:
    assert tolerance("float32", "float16") == TOLERANCES["float16"]
    assert tolerance(None) == tolerance("int8") == TOLERANCES["float32"]
    for dtype in TOLERANCES:
        allowed = tolerance(dtype)
        assert PixelDifference(allowed.pixel, mean=allowed.mean).within(allowed) != "different"
        assert PixelDifference(allowed.pixel + 1).within(allowed) == "different"
        assert PixelDifference(1, mean=allowed.mean * 1.01).within(allowed) == "different"
        assert PixelDifference().within(allowed) == "identical"
        assert readings_outcome([0.0, 0.0], allowed) == "identical"
        assert readings_outcome([0.0, allowed.reading * 2], allowed) == "within tolerance"
        assert readings_outcome([allowed.reading * 1.01] * 3, allowed) == "different"
        assert readings_outcome([float("inf"), 0.0], allowed) == "different"
    rng = np.random.default_rng(1)
    one, two = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
    assert compare_pixels(one, two).within(tolerance("bfloat16")) == "different"
