"""A finished run of the tiny family, whose pictures stand for those of other programs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_manager import models
from tiny_run import TinyManager, make_manager, make_study

from workbench.runs import Run
from workbench.sweep import run_study

__all__ = ["models"]


@pytest.fixture(scope="session")
def manager(models: Path) -> TinyManager:
    """The tiny family as one with a world of its own."""
    return make_manager(models)


@pytest.fixture(scope="session")
def original(manager: TinyManager, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """12 pictures in 16 cells: two sources, lengths, scales and seeds. Not to be changed."""
    folder = tmp_path_factory.mktemp("original") / "run"
    run_study(make_study(), folder, manager=manager)
    return Run(folder)
