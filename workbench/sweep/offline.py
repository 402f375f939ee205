"""A network that is switched off for the coordinator is switched off for its workers too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from workbench.families.locate import OFFLINE_VARIABLE


@contextmanager
def network(offline: bool) -> Iterator[None]:
    """Inside, this process does not touch the network if `offline`; else its own settings hold."""
    before = os.environ.get(OFFLINE_VARIABLE)
    if offline:
        os.environ[OFFLINE_VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(OFFLINE_VARIABLE, None)
        else:
            os.environ[OFFLINE_VARIABLE] = before
