"""The tiny family on disk, once for all tests of this folder."""

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
