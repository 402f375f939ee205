"""Protects readings from files that were damaged on disk: they count as absent, the message says
which and why, and the next start makes them again as they were."""

from __future__ import annotations

import logging
import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
from small_runs import plan_of, small_study, table
from tiny_run import TinyManager

from workbench.store import RunFolder, StoreError
from workbench.sweep import run_study


@pytest.fixture(scope="module")
def finished(manager: TinyManager, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run_study(small_study(), tmp_path_factory.mktemp("run") / "r", manager=manager)


@pytest.fixture
def run(finished: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(finished.path, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


def test_a_record_cut_off_anywhere_is_absent_and_made_again(
    run: RunFolder, manager: TinyManager, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = table(run)
    rng = random.Random(1)
    trials = plan_of(small_study()).trials
    for trial in trials:
        path = run.trial_folder(trial.id) / "record.json"
        data = path.read_bytes()
        for cut in (0, 1, len(data) - 1, *rng.sample(range(len(data)), 20)):
            path.write_bytes(data[:cut])
            assert not run.has(trial.id), cut
            assert f"trial {trial.id} counts as absent: its record is damaged" in caplog.text
            caplog.clear()
        path.write_bytes(data[: rng.randrange(len(data))])
    with caplog.at_level(logging.WARNING):
        again = run_study(small_study(), run.path, manager=manager)
    assert all(trial.id in caplog.text for trial in trials)
    pd.testing.assert_frame_equal(table(again), wanted)


def test_a_picture_with_flipped_bytes_is_never_read(
    run: RunFolder, manager: TinyManager, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = table(run)
    rng = random.Random(2)
    for trial in plan_of(small_study()).trials:
        path = run.sample_path(trial.id)
        data = path.read_bytes()
        for _ in range(20):
            broken = bytearray(data)
            broken[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            path.write_bytes(bytes(broken))
            assert not run.has(trial.id)
            with pytest.raises(StoreError, match=rf"trial {trial.id} .* its sample has changed"):
                run.read_sample(trial.id)
    (run.path / "measurements.parquet").unlink()
    assert run.measurements().empty
    again = run_study(small_study(), run.path, manager=manager)
    pd.testing.assert_frame_equal(table(again), wanted)


def test_a_damaged_table_or_cache_is_built_anew(run: RunFolder, manager: TinyManager) -> None:
    wanted = table(run)
    for name in ("measurements.parquet", "references.json"):
        path = run.path / name
        path.write_bytes(path.read_bytes()[:-50])
    pd.testing.assert_frame_equal(table(run), wanted)
    pd.testing.assert_frame_equal(
        table(run_study(small_study(), run.path, manager=manager)), wanted
    )


@pytest.mark.parametrize("name", ["manifest.json", "sources.json"])
@pytest.mark.parametrize("text", ["{", "[1]", '{"paperdoll:900001": {}}'])
def test_a_damaged_list_is_named_with_the_way_out(
    run: RunFolder, manager: TinyManager, name: str, text: str
) -> None:
    path = run.path / name
    path.write_text(text)
    if name == "sources.json" and text.startswith('{"'):
        with pytest.raises(StoreError, match=rf"{name} is damaged .* remove it and start again"):
            run.read_sources()
    else:
        with pytest.raises(StoreError, match=rf"{name} is damaged .* remove it and start again"):
            run_study(small_study(), run.path, manager=manager)
    path.unlink()
    again = run_study(small_study(), run.path, manager=manager)
    assert again.read_json(name)
