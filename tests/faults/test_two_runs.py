"""Protects a run from a second one in the same folder: it is refused with a sentence, and has not
touched anything."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from command_line import run_command
from scripts import HERE, environment
from small_runs import files, small_study, table
from tiny_run import TinyManager

from workbench.store import RunFolder, StoreError
from workbench.sweep import run_study


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(
    models: Path, manager: TinyManager, tmp_path: Path
) -> None:
    folder, signs = tmp_path / "run", tmp_path / "signs"
    signs.mkdir()
    first = subprocess.Popen(
        [sys.executable, str(HERE / "held_run.py"), str(models), str(folder), str(signs)],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 120
        while not (signs / "ready").exists() and time.monotonic() < end:
            assert first.poll() is None, first.communicate()[1]
            time.sleep(0.05)
        before = files(folder)
        other = small_study(scales=[0.25], name="other")
        with pytest.raises(StoreError, match=r"another process is working on .* another folder"):
            run_study(other, folder, manager=manager)
        study = tmp_path / "other.yaml"
        study.write_text(other.to_yaml())
        done = run_command("run", study, "-o", folder)
        assert done.code == 2 and "another process is working" in done.err
        assert "Traceback" not in done.err
        assert files(folder) == before
    finally:
        (signs / "go").touch()
        _, said = first.communicate(timeout=300)
    assert first.returncode == 0, said
    unbroken = run_study(small_study(), tmp_path / "unbroken", manager=manager)
    pd.testing.assert_frame_equal(table(RunFolder.open(folder)), table(unbroken))
