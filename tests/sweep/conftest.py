"""The tiny family on disk and loaded, once for all tests of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_manager import models
from tiny_run import NO_WORLD, TINY_WORLD, TinyManager, make_manager

__all__ = ["models"]


@pytest.fixture(scope="session")
def manager(models: Path) -> TinyManager:
    """The tiny family as one with a world of its own."""
    return make_manager(models, TINY_WORLD)


@pytest.fixture(scope="session")
def worldless(models: Path) -> TinyManager:
    """The tiny family as one without a world."""
    return make_manager(models, NO_WORLD)
