"""Fixtures of the tiny family on disk, for the folders of tests that load models."""

from pathlib import Path

import pytest
from tiny_models import FAMILY, write_tiny_family

from workbench.families.loading import ModelShelf


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder that holds the tiny family."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_family(folder)
    return folder


@pytest.fixture
def shelf(models: Path) -> ModelShelf:
    """A fresh shelf with nothing loaded yet."""
    return ModelShelf(FAMILY, models_dir=models)


@pytest.fixture(scope="session")
def warm_shelf(models: Path) -> ModelShelf:
    """One shelf for the tests that do not care what it has loaded or remembers."""
    return ModelShelf(FAMILY, models_dir=models)
