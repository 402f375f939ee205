"""The samples of a generation as one list, whatever batches they were made in."""

from __future__ import annotations

from itertools import chain
from typing import Any

from workbench.generation import SampleResult, generate


def make_samples(*args: Any, **options: Any) -> list[SampleResult]:
    """What `generate` yields with these arguments, batch after batch."""
    return list(chain.from_iterable(generate(*args, **options)))
