"""A small study on the tiny family: used by the tests, and run by itself to be killed.

python tiny_run.py MODELS OUT [BATCHES]: runs the study; with BATCHES, kills itself with SIGKILL
once that many batches are stored.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tiny_models import FAMILY, SIDE

from workbench.families import Family
from workbench.families.manager import ModelManager
from workbench.study import Study
from workbench.sweep import Progress, run_study

TINY_WORLD = FAMILY.model_copy(update={"name": "paperdoll", "world": "paperdoll"})
NO_WORLD = FAMILY.model_copy(update={"name": "paperdoll", "world": ""})


class TinyManager(ModelManager):
    """The tiny family with brightness for a depth network."""

    def networks(self) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        return {"depth": lambda batch: np.asarray(batch.mean(-1) / 255.0, np.float32)}


def make_manager(models: Path, family: Family = TINY_WORLD) -> TinyManager:
    """A manager of the tiny models under the name of a family of the catalogue."""
    assert family.resolution == SIDE
    return TinyManager(family, models_dir=models)


def make_study(**changes: Any) -> Study:
    """16 cells, 12 trials, of two steps each; keyword arguments replace fields."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "sources": ["paperdoll:900001", "paperdoll:900002"],
        "controls": ["canny"],
        "prompt": "a girl, snow",
        "lengths": [1, 2],
        "scales": [0, 1],
        "seeds": [1, 2],
        "steps": 2,
        "batch_size": 4,
    }
    return Study(**(fields | changes))


def main(models: str, out: str, batches: str = "") -> None:
    """Run the study, or begin it and die."""
    seen: set[int] = set()

    def show(progress: Progress) -> None:
        if progress.phase == "generating" and progress.done:
            seen.add(progress.done)
            if batches and len(seen) >= int(batches):
                os.kill(os.getpid(), signal.SIGKILL)

    run_study(make_study(), out, manager=make_manager(Path(models)), progress=show)


if __name__ == "__main__":
    main(*sys.argv[1:])
