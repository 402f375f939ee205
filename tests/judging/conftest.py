"""A run folder that holds nothing but its study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from run_folders import begin_run

from workbench.store import RunFolder
from workbench.study import Study


@pytest.fixture
def new_run() -> Callable[[Path], RunFolder]:
    """Begins a run in a folder."""

    def begin(folder: Path) -> RunFolder:
        fields = {"name": "x", "sources": ["paperdoll:1"], "controls": ["canny"], "prompt": "snow"}
        return begin_run(folder, Study(**fields))

    return begin
