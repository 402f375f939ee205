"""A run folder at its begin and at its end, without what a start does in between."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from workbench.store import RunFolder, build_table
from workbench.study import Study


def begin_run(folder: Path, study: Study) -> RunFolder:
    """The folder with the study in it and nothing else, or the run in it with another study."""
    run = RunFolder.prepare(folder)
    run.write_study(study)
    return run


def keep_table(run: RunFolder, cells: Collection[str] | None = None) -> pd.DataFrame:
    """Write the table of all records, or of these cells alone; returns it."""
    frame = build_table(run.records(), cells)
    with run.claim():
        run.write_table(frame)
    return frame
