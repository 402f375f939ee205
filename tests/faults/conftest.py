"""The tiny family on disk and loaded, and the scripts of this folder, for all its tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "sweep"))

from tiny_models import write_tiny_family
from tiny_run import TINY_WORLD, TinyShelf, make_shelf


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder that holds the tiny family."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_family(folder)
    return folder


@pytest.fixture(scope="session")
def shelf(models: Path) -> TinyShelf:
    """The tiny family, loaded."""
    return make_shelf(models, TINY_WORLD)
