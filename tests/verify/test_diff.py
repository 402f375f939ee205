"""Protects the comparison of two runs: what differs is named with its figures, and nothing else is.

Runs of unlike studies are matched by what their cells are, as their ids differ.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import run_command
from tiny_run import TinyManager, make_study

from workbench.store import Record, RunFolder
from workbench.study import make_plan
from workbench.sweep import run_study
from workbench.verify import diff_runs
from workbench.verify.diff import (
    RunView,
    compare,
    compare_pixels,
    compare_tables,
    diff_text,
    stored_view,
)
from workbench.verify.remake import planned_view


@pytest.fixture(scope="module")
def euler(manager: TinyManager, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The original's study with another scheduler, a source less and a seed more."""
    folder = tmp_path_factory.mktemp("euler") / "run"
    study = make_study(scheduler="euler", sources=["paperdoll:900001"], seeds=[1, 2, 3])
    run_study(study, folder, manager=manager)
    return folder


def edit(run: RunFolder, name: str, change: Callable[[Any], None]) -> None:
    path = run.trial_folder(name) / "record.json"
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), "utf-8")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_and_its_copy_are_the_same_and_left_alone(run: RunFolder, original: Path) -> None:
    before = files(run.path)
    found = diff_runs(original, run.path)
    assert (found.outcome, found.exit_code) == ("identical", 0)
    assert len(found.pairs) == 12 and len(found.cells) == 16 and len(found.maps) == 2
    assert not (found.settings or found.conditions or found.sources or found.pictures)
    assert len(found.readings) == 256 and not found.readings["share"].any()
    assert files(run.path) == before


def test_a_reading_that_differs_is_counted_by_its_metric(run: RunFolder, original: Path) -> None:
    name = run.trial_ids()[0]

    def change(values: Any) -> None:
        row = next(row for row in values["rows"] if row["metric"] == "clip_used")
        row["value"] += 5.0

    edit(run, name, change)
    found = diff_runs(original, run.path)
    assert found.exit_code == 1
    metrics = found.metrics().set_index("metric")
    assert metrics["differ"].sum() == metrics.loc["clip_used", "differ"] == 1
    assert metrics.loc["clip_used", "largest"] == pytest.approx(0.05)
    assert metrics.loc["clip_used", "value"] == pytest.approx(5.0 / 16)
    assert "clip_used" in diff_text(found) and "canny_f1" not in diff_text(found).split("Mean")[0]


def test_a_reading_within_tolerance_makes_no_difference(run: RunFolder, original: Path) -> None:
    def change(values: Any) -> None:
        next(r for r in values["rows"] if r["metric"] == "clip_used")["value"] += 0.01

    edit(run, run.trial_ids()[0], change)
    found = diff_runs(original, run.path)
    assert (found.outcome, found.exit_code) == ("within tolerance", 0)


def test_a_picture_that_differs_has_its_figures(run: RunFolder, original: Path) -> None:
    name = run.trial_ids()[0]
    record, image = run.read_record(name), run.read_sample(name).copy()
    image[:8] ^= 64
    run.write_trial(record.trial, image, record.made_by, record.rows, extra=record.extra)
    edit(run, name, lambda values: values.update(cells=dict(record.cells)))
    found = diff_runs(original, run.path)
    ((pair, pixels),) = found.pictures.items()
    assert pair == (name, name) and found.exit_code == 1
    assert pixels.worst == 64 and pixels.share == pytest.approx(8 / len(image))
    assert "1 of 12 differ; largest difference 64/255" in diff_text(found)


def test_a_control_map_that_differs_is_found(run: RunFolder, original: Path) -> None:
    first, second = sorted((run.path / "maps").glob("*.png"))
    first.write_bytes(second.read_bytes())
    found = diff_runs(original, run.path)
    assert [pixels.outcome for pixels in found.maps.values()].count("different") == 1
    assert found.exit_code == 1


def test_trials_only_in_one_are_named(run: RunFolder, original: Path) -> None:
    name = run.trial_ids()[0]
    shutil.rmtree(run.trial_folder(name))
    found = diff_runs(original, run.path)
    assert (found.only_a, found.only_b, found.exit_code) == ((name,), (), 1)
    assert diff_runs(run.path, original).only_b == (name,)


def test_a_damaged_trial_cannot_be_compared(run: RunFolder, original: Path) -> None:
    name = run.trial_ids()[0]
    (run.trial_folder(name) / "record.json").write_text("{")
    assert set(diff_runs(original, run.path).unreadable) == {name}


def test_a_trial_that_failed_in_one_run_alone_is_said(run: RunFolder, original: Path) -> None:
    name = run.trial_ids()[0]
    run.sample_path(name).unlink()
    edit(run, name, lambda v: v.update(failed="it is black", sample_sha256="", file_sha256=""))
    found = diff_runs(original, run.path)
    assert found.pictures[name, name].problem == "it failed in B alone: it is black"


def test_runs_of_unlike_studies_are_matched_by_what_their_cells_are(
    original: Path, euler: Path
) -> None:
    found = diff_runs(original, euler)
    assert found.exit_code == 1
    assert found.settings["scheduler"] == ("unipc", "euler")
    assert set(found.settings) == {"scheduler", "sources", "seeds"}
    one, other = RunFolder.open(original), RunFolder.open(euler)
    assert not set(one.trial_ids()) & set(other.trial_ids())
    assert len(found.cells) == 8
    cells = [
        {cell: facts for record in run.records() for cell, facts in record.cells.items()}
        for run in (one, other)
    ]
    for (_, old), (_, new) in found.cells.items():
        assert cells[0][old] == cells[1][new]
    assert len(found.only_a) == 4 and len(found.only_b) == 4
    assert len(found.pictures) == len(found.pairs) == 8


def with_adherence(run: Path, shift: float) -> RunView:
    """The run with an adherence of 0.1 a tag, and so much more."""
    view = stored_view(RunFolder.open(run))

    def moved(record: Record) -> Record:
        lengths = {cell: facts["length"] for cell, facts in record.cells.items()}
        rows = [{**r, "adherence": lengths[r["cell"]] / 10 + shift} for r in record.rows]
        return record.model_copy(update={"rows": tuple(rows)})

    return replace(view, records={name: moved(one) for name, one in view.records.items()})


def test_mean_adherence_is_that_of_the_cells_of_both_runs(original: Path, euler: Path) -> None:
    found = compare(with_adherence(original, 0.0), with_adherence(euler, 0.25))
    means = found.adherence().set_index(["control", "to", "length", "scale"])
    assert len(means) == 8 and set(means["cells"]) == {2}
    for (_, to, length, _), row in means.iterrows():
        assert to in ("control", "prompt")
        assert (row["a"], row["b"]) == pytest.approx((length / 10, length / 10 + 0.25))
    shifts = found.metrics().set_index("metric")["adherence"]
    assert shifts["canny_f1"] == pytest.approx(0.25)
    assert "+0.25" in diff_text(found)


def test_cells_of_an_earlier_form_of_the_study_are_left_out(
    original: Path, manager: TinyManager, tmp_path: Path
) -> None:
    shutil.copytree(original, tmp_path / "run")
    run_study(make_study(seeds=[1]), tmp_path / "run", manager=manager)
    found = diff_runs(original, tmp_path / "run")
    assert len(found.pairs) == 6 and len(found.only_a) == 6 and not found.only_b
    assert set(found.settings) == {"seeds"} and not found.pictures


def view(**changes: Any) -> RunView:
    return planned_view(make_plan(make_study(**changes), resolution=64))


def test_cells_under_other_settings_or_on_another_base_are_matched_too() -> None:
    plain = view()
    strict = view(controls=[{"type": "canny", "settings": {"low": 50}}])
    found = compare(plain, strict)
    assert len(found.cells) == 16 and not found.only_a and not found.only_b
    assert all(set(facts) == {"control_settings"} for facts in found.facts.values())
    other = compare(plain, view(base=["ink"]))
    assert len(other.cells) == 16
    assert all(facts == {"base": ("render", "ink")} for facts in other.facts.values())


def test_what_is_not_unique_is_not_guessed() -> None:
    two = view(base=["render", "ink"])
    found = compare(two, view(base=["ink"], scheduler="euler"))
    assert {two.cells[place]["base"] for place in found.cells} == {"ink"}
    assert len(found.cells) == 16 and len(found.only_a) == 12
    neither = compare(two, view(base=["render", "ink"], seeds=[7, 8]))
    assert not neither.cells


def test_without_alike_only_equal_ids_are_held_against_each_other() -> None:
    found = compare(view(), view(scheduler="euler"), alike=False)
    assert not found.cells and found.outcome == "not checked" and found.exit_code == 2


def table(**figures: float) -> pd.DataFrame:
    row = {"cell": "c", "metric": "clip_used", "value": 50.0, "chance": 10.0, "ceiling": 90.0}
    return pd.DataFrame([{**row, **figures}])


@pytest.mark.parametrize(
    ("changed", "share", "figure"),
    [
        ({}, 0.0, "value"),
        ({"value": 60.0}, 0.1, "value"),
        ({"value": 51.0, "ceiling": 40.0}, 0.5, "ceiling"),
        ({"chance": math.nan}, math.inf, "chance"),
    ],
)
def test_a_difference_is_a_share_of_the_range(
    changed: dict[str, float], share: float, figure: str
) -> None:
    (row,) = compare_tables(table(), table(**changed), ["cell", "metric"]).itertuples()
    assert (row.share, row.figure, row.side) == (pytest.approx(share), figure, "both")
    one_sided = compare_tables(table(), table().iloc[:0], ["cell", "metric"])
    assert list(one_sided["side"]) == ["left_only"]


def test_an_unbounded_metric_is_measured_by_its_largest_figure() -> None:
    a, b = (table(value=v).assign(metric="no such metric") for v in (100.0, 75.0))
    assert compare_tables(a, b, ["cell", "metric"])["share"][0] == pytest.approx(0.25)


def test_pictures_are_compared_by_pixels() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    dot = black.copy()
    dot[0, 0, 1] = 2
    found = compare_pixels(black, dot)
    assert (found.worst, found.share, found.outcome) == (2, 1 / 16, "within tolerance")
    assert compare_pixels(black, dot * 2).outcome == "different"
    assert compare_pixels(black, black[:2]).problem == "it has another size"
    assert replace(found, worst=0).outcome == "identical"


def test_the_command_prints_figures_and_its_status_tells(original: Path, euler: Path) -> None:
    same = run_command("diff", original, original)
    assert same.code == 0 and "Result: identical" in same.out
    other = run_command("diff", original, euler)
    assert other.code == 1 and "scheduler: unipc -> euler" in other.out
    assert "8 in both, 4 only in A, 4 only in B" in other.out
    values = json.loads(run_command("diff", original, euler, "--json").out)
    assert values["exit_code"] == 1 and values["settings"]["scheduler"] == ["unipc", "euler"]
    assert {row["metric"] for row in values["readings"]} >= {"canny_f1", "clip_used"}
    assert len(values["pictures"]) == 8


def test_what_cannot_be_compared_ends_with_2(
    original: Path, manager: TinyManager, tmp_path: Path
) -> None:
    done = run_command("diff", original, tmp_path)
    assert done.code == 2 and "is not a run folder" in done.err
    run_study(make_study(seeds=[9], scales=[0]), tmp_path / "other", manager=manager)
    done = run_command("diff", original, tmp_path / "other")
    assert done.code == 2 and "there is nothing to compare" in done.out
