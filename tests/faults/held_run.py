"""python held_run.py MODELS OUT SIGNS: a run that, once two pictures are stored, makes the file
SIGNS/ready and waits for SIGNS/go."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from small_runs import small_study
from tiny_run import make_manager

from workbench.sweep import Progress, run_study


def main(models: str, out: str, signs: Path) -> None:
    def wait(progress: Progress) -> None:
        if progress.phase == "generating" and progress.done >= 2:
            (signs / "ready").touch()
            end = time.monotonic() + 120
            while not (signs / "go").exists() and time.monotonic() < end:
                time.sleep(0.02)

    run_study(small_study(), out, manager=make_manager(Path(models)), progress=wait)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
