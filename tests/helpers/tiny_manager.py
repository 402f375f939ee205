"""Fixtures of the tiny family on disk, for the folders of tests that load models."""

from pathlib import Path

import pytest
from tiny_models import FAMILY, write_tiny_family

from workbench.families.manager import ModelManager


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder that holds the tiny family."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_family(folder)
    return folder


@pytest.fixture
def manager(models: Path) -> ModelManager:
    """A fresh manager with nothing loaded yet."""
    return ModelManager(FAMILY, models_dir=models)


@pytest.fixture(scope="session")
def warm_manager(models: Path) -> ModelManager:
    """One manager for the tests that do not care what it has loaded or remembers."""
    return ModelManager(FAMILY, models_dir=models)
