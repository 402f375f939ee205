"""A small verified run of the tiny family, made once; each test works on a copy of it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_manager import models
from tiny_run import TinyManager, make_manager, make_study

from workbench.store import RunFolder
from workbench.sweep import run_study
from workbench.verify import Verification
from workbench.verify.run import verify_run

__all__ = ["models"]


@pytest.fixture(scope="session")
def manager(models: Path) -> TinyManager:
    """The tiny family as one with a world of its own."""
    return make_manager(models)


@pytest.fixture(scope="session")
def original(manager: TinyManager, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: 12 trials, 16 cells, two steps. Not to be changed."""
    folder = tmp_path_factory.mktemp("original") / "run"
    run_study(make_study(), folder, manager=manager)
    return folder


@pytest.fixture
def run(original: Path, tmp_path: Path) -> RunFolder:
    """A copy of the finished run."""
    shutil.copytree(original, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


@pytest.fixture
def verify(manager: TinyManager) -> Callable[..., Verification]:
    """Verify a run on the tiny family; no trial is made again unless `trials` is given."""

    def check(run: RunFolder, **options: Any) -> Verification:
        result = verify_run(run.path, **({"trials": 0, "manager": manager} | options))
        assert result is not None
        return result

    return check
