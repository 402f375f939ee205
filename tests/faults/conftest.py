"""The tiny family on disk and loaded, and the scripts of this folder, for all its tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_run import TINY_WORLD, TinyShelf, make_shelf
from tiny_shelf import models

__all__ = ["models"]


@pytest.fixture(scope="session")
def shelf(models: Path) -> TinyShelf:
    """The tiny family, loaded."""
    return make_shelf(models, TINY_WORLD)
