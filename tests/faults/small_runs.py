"""What the tests of this folder share: a small study, and how to compare what runs stored."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
from tiny_run import make_study

from workbench.store import RunFolder
from workbench.study import Plan, Study, make_plan


def small_study(**changes: Any) -> Study:
    """8 trials of one step, one in each batch: the same pixels however often it is interrupted."""
    fields: dict[str, Any] = {"sources": ["paperdoll:900001"], "steps": 1, "batch_size": 1}
    return make_study(**(fields | changes))


def plan_of(study: Study) -> Plan:
    return make_plan(study, resolution=64)


def table(run: RunFolder) -> pd.DataFrame:
    return run.measurements().set_index(["cell", "metric"]).sort_index()


def files(folder: Path) -> dict[str, str]:
    """Relative path -> hash of contents, of all files but the locks."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }
