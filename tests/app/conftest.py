"""Tiny models, written once for all tests of the app."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_app import TinyEngine
from tiny_models import write_tiny_family

from workbench.app.session import Session


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_tiny_family(folder)
    return folder


@pytest.fixture
def engine(models: Path, tmp_path: Path) -> TinyEngine:
    return TinyEngine(models, tmp_path / "engine")


@pytest.fixture
def session(engine: TinyEngine, tmp_path: Path) -> Iterator[Session]:
    session = Session(engine, runs=tmp_path / "runs")
    yield session
    engine.gate.set()
    session.close()
