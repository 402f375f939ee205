"""Protects the table of measurements: it holds what the records hold, and can be rebuilt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_folders import keep_table

from workbench.store import COLUMNS, RunFolder, StoreError
from workbench.store.table import build_table
from workbench.study import Choices, Plan, Study, Trial, make_plan

Fill = Callable[..., None]


def test_rebuilt_and_written_are_equal(run: RunFolder, fill: Fill) -> None:
    fill(run)
    built = keep_table(run)
    pd.testing.assert_frame_equal(run.measurements(), built)
    (run.path / "measurements.parquet").unlink()
    pd.testing.assert_frame_equal(run.measurements(), built)
    assert not (run.path / "measurements.parquet").exists()  # who reads does not write


def test_the_order_of_writing_does_not_matter(
    run: RunFolder, plan: Plan, fill: Fill, tmp_path: Path
) -> None:
    fill(run)
    other = RunFolder(tmp_path / "other")
    fill(other, plan.trials[::-1])
    pd.testing.assert_frame_equal(keep_table(run), keep_table(other))


def test_rows_stand_in_the_order_of_the_study(run: RunFolder, plan: Plan, fill: Fill) -> None:
    fill(run)
    frame = keep_table(run)
    keys = ["control", "source", "length", "scale", "seed", "metric"]
    in_order = frame.sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(frame, in_order)
    for trial in plan.trials:
        record = run.read_record(trial.id)
        run.add_rows(trial.id, record.rows[::-1])
    pd.testing.assert_frame_equal(keep_table(run), frame)


def test_every_cell_has_its_facts_and_readings(run: RunFolder, plan: Plan, fill: Fill) -> None:
    fill(run)
    frame = keep_table(run)
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == 2 * len(plan.cells)
    cells = {cell.id: cell for cell in plan.cells}
    for row in frame.to_dict("records"):
        cell = cells[row["cell"]]
        assert row["trial"] == cell.trial_id
        assert (row["source"], row["control"], row["base"]) == (
            cell.source,
            cell.control,
            cell.base,
        )
        assert (row["scale"], row["seed"]) == (cell.scale, cell.seed)
        assert (row["setting"], row["length"], row["prompt"], row["full_prompt"]) == (
            "length",
            cell.variant.length,
            cell.variant.text,
            "a girl, snow",
        )
        assert (row["tokens"], row["truncated"]) == (5, False)
        if row["metric"] == "canny_f1":
            assert row["value"] == pytest.approx(int(cell.id, 16) / 2**64, abs=1e-6)
            assert row["reason"] == ""
        else:
            assert np.isnan(row["value"]) and row["reason"] == "the prompt is empty"
    # A scale of 0 is one picture, yet a cell of each control.
    assert set(frame[frame["scale"] == 0]["control"]) == {"depth", "canny"}


def test_cells_of_an_earlier_study_can_be_left_out(run: RunFolder, plan: Plan, fill: Fill) -> None:
    fill(run)
    wanted = {cell.id for cell in plan.cells if cell.control == "depth"}
    assert set(keep_table(run, wanted)["cell"]) == wanted


def test_a_table_that_is_missing_comes_back_with_the_cells_of_the_last_start(
    run: RunFolder, plan: Plan, fill: Fill
) -> None:
    fill(run)
    keep_table(run)
    cells = [cell for cell in plan.cells if cell.control == "depth"]
    wanted = {cell.id for cell in cells}
    run.write_cells(cells)
    assert not run.table_path.exists()  # it was a table of other cells
    assert set(run.measurements()["cell"]) == wanted
    keep_table(run, wanted)
    run.write_cells(cells)
    assert run.table_path.exists()
    (run.path / "cells.json").write_text("{}")
    run.remove_table()
    with pytest.raises(StoreError, match=r"cells\.json is damaged"):
        run.measurements()
    run.write_cells(cells)
    assert set(run.measurements()["cell"]) == wanted


def test_cells_of_the_older_form_are_known_without_their_trials(
    run: RunFolder, plan: Plan, fill: Fill
) -> None:
    fill(run)
    wanted = sorted(cell.id for cell in plan.cells if cell.control == "depth")
    run.write_json("cells.json", wanted)
    table = keep_table(run, wanted)
    assert set(run.build_table()["cell"]) == set(wanted)
    assert run.status().planned is None and run.status().sentence == ""
    run.write_cells([cell for cell in plan.cells if cell.id in wanted])
    pd.testing.assert_frame_equal(run.measurements(), table)  # of the same cells, so it is kept
    assert run.table_path.exists() and run.status().planned == 4


def test_who_reads_a_run_changes_no_byte_of_it(run: RunFolder, plan: Plan, fill: Fill) -> None:
    """A table that is missing, damaged or of another study's cells is left as it is."""
    run.write_cells(plan.cells)
    fill(run)

    def files() -> dict[str, tuple[bytes, int]]:
        found = (path for path in run.path.rglob("*") if path.is_file())
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}

    for table in (None, b"PAR1 nonsense PAR1", "a table of other cells"):
        if table == "a table of other cells":
            keep_table(run, [plan.cells[0].id])
        elif table is not None:
            run.table_path.write_bytes(table)
        before = files()
        reader = RunFolder.open(run.path)
        reader.measurements(), reader.build_table(), reader.status(), reader.study()
        reader.scan(hashes=True), list(reader.records()), reader.read_sources()
        reader.read_sample(plan.trials[0].id), reader.read_manifest()
        assert files() == before


def test_only_who_holds_the_run_writes_its_table(run: RunFolder, fill: Fill) -> None:
    fill(run)
    frame = run.build_table()
    with pytest.raises(StoreError, match="only written by the process"):
        run.write_table(frame)
    other = RunFolder.open(run.path)
    with run.claim():
        with pytest.raises(StoreError, match="only written by the process"):
            other.write_table(frame)
        run.write_table(frame)
    with pytest.raises(StoreError, match="only written by the process"):
        run.write_table(frame)
    pd.testing.assert_frame_equal(other.measurements(), frame)


def test_an_empty_run_has_an_empty_table_with_types(run: RunFolder) -> None:
    frame = run.measurements()
    assert len(frame) == 0 and list(frame.columns) == list(COLUMNS)
    assert frame["value"].dtype == np.float64 and frame["length"].dtype == np.int64


@pytest.mark.parametrize("damage", [b"", b"PAR1 nonsense PAR1"])
def test_a_damaged_table_is_built_anew(run: RunFolder, fill: Fill, damage: bytes) -> None:
    fill(run)
    built = keep_table(run)
    (run.path / "measurements.parquet").write_bytes(damage)
    pd.testing.assert_frame_equal(run.measurements(), built)


def test_a_table_with_other_columns_is_built_anew(run: RunFolder, fill: Fill) -> None:
    fill(run)
    built = keep_table(run)
    built.drop(columns="reason").to_parquet(run.path / "measurements.parquet")
    pd.testing.assert_frame_equal(run.measurements(), built)


def test_a_table_from_before_there_were_pairs_is_read(
    run: RunFolder, plan: Plan, fill: Fill
) -> None:
    """It is not built anew: that would bring back cells which the study no longer has."""
    fill(run)
    built = keep_table(run, [plan.cells[0].id])
    columns = ["partner", "partner_settings", "partner_scale"]
    assert len(built) and (built["partner"] == "").all() and built["partner_scale"].isna().all()
    built.drop(columns=columns).to_parquet(run.path / "measurements.parquet")
    pd.testing.assert_frame_equal(run.measurements(), built)


def test_the_cells_of_a_pair_name_each_other(
    run: RunFolder, study: Callable[..., Study], choices: Choices
) -> None:
    both = study(controls=["depth", {"pair": ["depth", "canny"]}], lengths=[2], scales=[0, 0.5])
    plan = make_plan(both, resolution=16, choices=choices)
    for trial in plan.trials:
        cells = plan.cells_by_trial[trial.id]
        rows = [{"cell": cell.id, "metric": "canny_f1", "value": 0.5} for cell in cells]
        made_by = {"tokens": 5, "truncated": False}
        run.write_trial(trial, np.zeros((16, 16, 3), np.uint8), made_by, rows, cells=cells)
    frame = keep_table(run)
    pd.testing.assert_frame_equal(run.measurements(), frame)
    alone = frame[frame["partner"] == ""]
    assert alone["partner_scale"].isna().all() and (alone["partner_settings"] == "").all()
    paired = frame[frame["partner"] != ""]
    columns = ["control", "scale", "partner", "partner_scale"]
    found = {tuple(row) for row in paired[columns].itertuples(index=False)}
    scales = [(a, b) for a in (0, 0.5) for b in (0, 0.5)]
    assert found == {
        point for a, b in scales for point in (("depth", a, "canny", b), ("canny", b, "depth", a))
    }
    # Both cells of a pair hang on one picture.
    assert (paired.groupby("trial")["control"].nunique() == 2).all()


def test_a_reading_of_the_wrong_type_is_named(
    run: RunFolder, plan: Plan, image: Callable[[Trial], np.ndarray]
) -> None:
    trial = plan.trials[0]
    row: dict[str, Any] = {"cell": "c", "metric": "m", "value": "high"}
    with pytest.raises(StoreError, match=rf"trial {trial.id}: value .* wrong type"):
        run.write_trial(trial, image(trial), {}, [row])


def test_unknown_tokens_survive(
    run: RunFolder, plan: Plan, image: Callable[[Trial], np.ndarray]
) -> None:
    trial = plan.trials[0]
    row: dict[str, Any] = {"cell": "c", "metric": "m", "value": 1.0}
    run.write_trial(trial, image(trial), {}, [row])
    built = keep_table(run)
    assert built["tokens"].isna().all()
    pd.testing.assert_frame_equal(run.measurements(), built)


def test_readings_that_say_more_than_most_are_joined_as_one_by_one(
    run: RunFolder, plan: Plan, fill: Fill
) -> None:
    """Held against the plain way: a dictionary for each reading, then one sort of the whole."""
    fill(run)
    records = list(run.scan().records.values())
    odd = records[0]
    rows = [dict(row) for row in odd.rows]
    rows[0] |= {"scale": 0.3, "tokens": 77, "partner": "hed", "partner_scale": 0.5}
    rows[1].pop("reason")
    cells = {cell: {**facts, "reason": "by the cell"} for cell, facts in odd.cells.items()}
    records[0] = odd.model_copy(update={"rows": tuple(rows), "cells": cells, "made_by": {}})
    records.append(records[1])  # the same cells once more

    told = [
        {"reason": "", "partner": "", "partner_settings": "", "partner_scale": np.nan}
        | {name: record.made_by.get(name) for name in ("tokens", "truncated")}
        | dict(record.cells[row["cell"]])
        | dict(row)
        | {"trial": record.trial.id}
        for record in records
        for row in record.rows
    ]
    keys = [
        *("partner", "partner_settings", "base", "control", "control_settings", "source"),
        *("setting", "length", "label", "scale", "partner_scale", "seed", "cell", "metric"),
    ]
    wanted = pd.DataFrame(told, columns=list(COLUMNS)).sort_values(keys, ignore_index=True)
    found = build_table(records)
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)
    kept = set(found["cell"][:5])
    part = wanted[wanted["cell"].isin(kept)].reset_index(drop=True)
    pd.testing.assert_frame_equal(build_table(records, kept), part, check_dtype=False)
