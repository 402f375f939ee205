"""Protects runs from disks that are full or read-only: what is stored stays whole, the message says
what happened and what to do, and once there is room the run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest
from command_line import run_command
from disks import Disk
from small_runs import files, plan_of, small_study, table
from tiny_run import TinyManager

from workbench.report import render_report
from workbench.store import RunFolder, StoreError
from workbench.sweep import Progress, run_study


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    with ExitStack() as stack:
        yield Disk(request.param, stack)


def test_a_disk_that_fills_up_in_the_middle_of_a_run(
    disk: Disk, manager: TinyManager, tmp_path: Path
) -> None:
    folder = disk.folder / "run"
    with ExitStack() as stack:

        def fill(progress: Progress) -> None:
            if progress.phase == "generating" and progress.done == 3:
                disk.fill(stack)

        with pytest.raises(StoreError) as caught:
            run_study(small_study(), folder, manager=manager, progress=fill)
        said = str(caught.value)
        assert "cannot be written" in said and "free some space and start again" in said
        assert "No space left" in said or "File too large" in said
        run = RunFolder.open(folder)
        stored = {record.trial.id: record for record in run.records()}
        assert len(stored) == 3
        for trial in stored:
            run.read_sample(trial)
        assert not list(folder.rglob(".*.tmp")), "half-made files would keep the disk full"
        assert set(run.measurements()["trial"]) == set(stored)  # readable though it cannot be saved

    resumed = run_study(small_study(), folder, manager=manager)
    unbroken = run_study(small_study(), tmp_path / "unbroken", manager=manager)
    pd.testing.assert_frame_equal(table(resumed), table(unbroken))
    for trial, record in stored.items():
        assert resumed.read_record(trial).file_sha256 == record.file_sha256


def test_a_disk_that_is_full_from_the_start(disk: Disk, manager: TinyManager) -> None:
    run = RunFolder.prepare(disk.folder / "run")
    with disk.full(), pytest.raises(StoreError, match="free some space"):
        run_study(small_study(), run.path, manager=manager)
    assert run.trial_ids() == ()
    assert len(list(run_study(small_study(), run.path, manager=manager).records())) == 8


def test_a_read_only_run_is_left_alone_and_can_be_read(disk: Disk, manager: TinyManager) -> None:
    folder = disk.folder / "run"
    run = run_study(small_study(), folder, manager=manager)
    wanted, before = table(run), files(folder)
    (folder / "measurements.parquet").unlink()
    before.pop("measurements.parquet")
    with disk.read_only():
        with pytest.raises(StoreError, match=r"cannot be written .* use another folder"):
            run_study(small_study(scales=[0, 0.5, 1]), folder, manager=manager)
        with pytest.raises(StoreError, match=r"cannot be written .* use another folder"):
            run_study(small_study(), disk.folder / "new", manager=manager)
        pd.testing.assert_frame_equal(table(RunFolder.open(folder)), wanted)
        assert "</html>" in render_report(RunFolder.open(folder))
    assert files(folder) == before
    assert not (disk.folder / "new").exists()


def test_the_command_line_says_it_in_one_sentence(disk: Disk) -> None:
    study = disk.folder / "s.yaml"
    study.write_text(small_study(name="s").to_yaml())
    with disk.read_only():
        done = run_command("run", study, "-o", disk.folder / "new")
    assert done.code == 2 and "Traceback" not in done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("Error: ") and last.endswith("or use another folder")


def test_a_file_that_cannot_be_read_is_not_made_again(disk: Disk, manager: TinyManager) -> None:
    """What merely cannot be read is not damaged: making it again would overwrite it."""
    run = run_study(small_study(), disk.folder / "run", manager=manager)
    trial = plan_of(small_study()).trials[0]
    path = run.trial_folder(trial.id) / "record.json"
    data = path.read_bytes()
    path.unlink()
    path.mkdir()  # reading it fails for root, too
    with pytest.raises(StoreError, match=r"record\.json cannot be read"):
        run_study(small_study(), run.path, manager=manager)
    path.rmdir()
    path.write_bytes(data)
    assert run.has(trial.id)
