"""The tiny family on disk and loaded, and one study whose pictures were looked at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_manager import models, warm_manager
from tiny_run import TINY_WORLD, TinyManager, make_manager, make_study

from workbench.generation import CancelToken
from workbench.influences import Influence, influence

__all__ = ["models", "warm_manager"]


@pytest.fixture(scope="session")
def manager(models: Path) -> TinyManager:
    """The tiny family as one with a world of its own."""
    return make_manager(models, TINY_WORLD)


@pytest.fixture(scope="session")
def seen(manager: TinyManager, tmp_path_factory: pytest.TempPathFactory) -> Influence:
    """Eight steered pictures of two steps, looked at. Tests leave the folder as it is."""
    folder = tmp_path_factory.mktemp("seen") / "run"
    token = CancelToken()
    return influence(make_study(), folder, manager=manager, progress=lambda _: None, cancel=token)
