"""The tiny family on disk and loaded, once for all tests of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_run import NO_WORLD, TINY_WORLD, TinyShelf, make_shelf
from tiny_shelf import models

__all__ = ["models"]


@pytest.fixture(scope="session")
def shelf(models: Path) -> TinyShelf:
    """The tiny family as one with a world of its own."""
    return make_shelf(models, TINY_WORLD)


@pytest.fixture(scope="session")
def worldless(models: Path) -> TinyShelf:
    """The tiny family as one without a world."""
    return make_shelf(models, NO_WORLD)
