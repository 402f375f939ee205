"""The tiny family on disk and loaded, and the scripts of this folder, for all its tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_manager import models
from tiny_run import TINY_WORLD, TinyManager, make_manager

__all__ = ["models"]


@pytest.fixture(scope="session")
def manager(models: Path) -> TinyManager:
    """The tiny family, loaded."""
    return make_manager(models, TINY_WORLD)
