"""Protects the one look at a run: what it opens, what it takes on trust, and what it says of it."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from run_folders import keep_table

from workbench.images import encode_png
from workbench.store import RunFolder
from workbench.study import Choices, Plan, Study, make_plan
from workbench.verify.stored import run_digest

Fill = Callable[..., None]
OPENED: list[str] = []
WATCHED: list[Path] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and WATCHED and isinstance(arguments[0], str | os.PathLike):
        path = Path(arguments[0])
        if path.is_relative_to(WATCHED[0]):
            OPENED.append(path.name)


@pytest.fixture(scope="module", autouse=True)
def _watch_opens() -> None:
    sys.addaudithook(_hook)  # it cannot be taken away again; without WATCHED it does nothing


def opened(run: RunFolder, read: Callable[[], object]) -> Counter[str]:
    """How often files of each name in the run were opened while it was read."""
    OPENED.clear()
    WATCHED.append(run.path)
    try:
        read()
    finally:
        WATCHED.clear()
    return Counter(OPENED)


@pytest.fixture
def plan(study: Callable[..., Study], choices: Choices) -> Plan:
    """Of 22 pictures."""
    many = study(scales=[0, 0.25, 0.5, 0.75, 1, 1.25], lengths=[1, 2])
    plan = make_plan(many, resolution=16, choices=choices)
    assert len(plan.trials) == 22
    return plan


def _older_pictures(run: RunFolder) -> None:
    """As after a start, where each picture is on the disk before its record is begun."""
    for trial_id in run.trial_ids():
        os.utime(run.sample_path(trial_id), (1e9, 1e9))


def test_a_scan_opens_each_record_once_and_no_picture_that_is_as_it_was(
    run: RunFolder, plan: Plan, fill: Fill
) -> None:
    run.write_cells(plan.cells)
    fill(run, plan.trials)
    _older_pictures(run)
    assert opened(run, run.scan) == {"record.json": 22}
    assert opened(run, lambda: run.scan(hashes=True)) == {"record.json": 22, "sample.png": 22}
    assert opened(run, lambda: run.has(plan.trials[0].id)) == {"record.json": 1}
    read = opened(run, lambda: run.read_sample(plan.trials[0].id))
    assert read == {"record.json": 1, "sample.png": 1}
    keep_table(run)
    scan = run.scan()

    def look() -> None:
        run.measurements(scan)
        assert run.status(scan).sentence == ""

    assert not {"record.json", "sample.png"} & opened(run, look).keys()
    assert opened(run, run.measurements) == {"measurements.parquet": 1}


def test_pictures_of_another_time_or_of_older_records_are_read_once(
    run: RunFolder, plan: Plan, fill: Fill
) -> None:
    fill(run, plan.trials)
    _older_pictures(run)
    late, unsized = plan.trials[0].id, plan.trials[1].id
    os.utime(run.sample_path(late))
    record = run.read_record(unsized).model_copy(update={"file_bytes": None})
    from workbench.store.schema import encode_record

    assert b"file_bytes" not in encode_record(record)
    run.record_path(unsized).write_bytes(encode_record(record))
    assert opened(run, run.scan) == {"record.json": 22, "sample.png": 2}
    assert len(run.scan().records) == 22


@pytest.mark.parametrize("size", ["same", "other"])
def test_a_picture_that_was_exchanged_is_damaged_but_for_one_made_to_look_the_same(
    run: RunFolder, plan: Plan, fill: Fill, caplog: pytest.LogCaptureFixture, size: str
) -> None:
    fill(run, plan.trials)
    _older_pictures(run)
    trial = plan.trials[2].id
    path = run.sample_path(trial)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data if size == "same" else encode_png(np.zeros((4, 4, 3), np.uint8)))
    with caplog.at_level(logging.WARNING):
        scan = run.scan()
    assert scan.damaged == {trial: "its sample has changed"} and trial not in scan.records
    assert f"trial {trial} counts as absent" in caplog.text
    os.utime(path, (1e9, 1e9))
    assert (trial in run.scan().records) == (size == "same")
    assert run.scan(hashes=True).damaged == scan.damaged  # `verify` is not to be deceived


def test_the_status_tells_how_much_is_there_in_numbers(
    run: RunFolder, plan: Plan, fill: Fill
) -> None:
    run.write_cells(plan.cells)
    fill(run, plan.trials[:16])
    keep_table(run)
    assert run.status().sentence.startswith("16 of 22 pictures are there: ")
    fill(run, plan.trials[16:])
    told = "The table has 16 of 22 pictures that were measured: "
    assert run.status().sentence.startswith(told)
    (run.table_path).unlink()
    assert run.status().sentence == ""
    keep_table(run)
    assert run.status().sentence == ""
    cell = plan.cells[0]
    run.add_rows(cell.trial_id, [{"cell": cell.id, "metric": "canny_recall", "value": 0.5}])
    assert run.status().sentence.startswith("The table lacks readings that the records have: ")
    run.record_path(plan.trials[3].id).unlink()
    status = run.status()
    assert (status.planned, status.records) == (22, 21)
    assert status.sentence.startswith("21 of 22 pictures are there")


def test_trials_of_an_earlier_study_are_none_of_this_one(
    run: RunFolder, plan: Plan, fill: Fill
) -> None:
    fill(run, plan.trials)
    cells = [cell for cell in plan.cells if cell.scale in (0, 1)]
    run.write_cells(cells)
    keep_table(run, {cell.id for cell in cells})
    status = run.status()
    assert status.planned == status.records == status.measured == status.tabled == 6
    assert status.sentence == ""


def test_a_digest_after_a_scan_is_the_same_and_opens_no_picture(run: RunFolder, fill: Fill) -> None:
    """A report of a run of large pictures would else read every one of them."""
    fill(run)
    scan = run.scan()
    files = opened(run, lambda: run_digest(run, scan))
    assert files["sample.png"] == files["record.json"] == 0
    assert run_digest(run, scan) == (before := run_digest(run))
    changed = run.sample_path(run.trial_ids()[0])
    changed.write_bytes(changed.read_bytes() + b"more")
    assert run_digest(run, run.scan()) == run_digest(run) != before
