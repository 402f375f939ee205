"""Run folders with synthetic readings."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import written_run

from workbench.store import RunFolder


@pytest.fixture(scope="session")
def write_run() -> Callable[..., RunFolder]:
    """`written_run.write_run`."""
    return written_run.write_run
