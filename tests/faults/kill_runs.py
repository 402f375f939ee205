"""Runs a small study again and again, kills it with SIGKILL at random moments, and resumes it.

python kill_runs.py MODELS OUT SEED COUNT: prints a JSON summary. The models are loaded once; every
run is a forked process of its own. Half of the kills come a random time after a random number of
pictures has been stored, half at one of the run's operations on files, which is where a kill could
do most harm.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny_run import make_manager, make_study
from tqdm import tqdm

from workbench.store import RunFolder
from workbench.sweep import run_study

OPERATIONS = frozenset({"open", "os.rename", "os.remove", "os.mkdir"})
BETWEEN_PICTURES = 0.1
"""Seconds between two pictures of this study, about."""
STUDY = make_study(sources=["paperdoll:900001"], steps=1, batch_size=1)


# A lock between processes, as tqdm has by default, is never let go by a child that is killed
# while it holds it, and the next child waits for ever.
tqdm.set_lock(threading.RLock())


def forked(work: Callable[[], None]) -> int:
    """Start `work` in a process of its own; returns its id."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return child


def ended(child: int) -> int:
    """The exit code of a process, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watch(fatal: int) -> Callable[[], int]:
    """Count the operations of this process on files; the one numbered `fatal` kills it."""
    count = 0

    def hook(event: str, arguments: Any) -> None:
        nonlocal count
        if event in OPERATIONS:
            count += 1
            if count == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: count


def wait_for(folder: Path, pictures: int) -> None:
    """Return once so many pictures are stored."""
    deadline = time.monotonic() + 120
    while len(list((folder / "trials").glob("*/record.json"))) < pictures:
        assert time.monotonic() < deadline, f"{folder} does not come to {pictures} pictures"
        time.sleep(0.002)


def contents(folder: Path) -> dict[str, Any]:
    """What is stored and holds together: trial id -> its record without the clock's part."""
    run = RunFolder(folder)
    found = {}
    for record in run.records() if folder.is_dir() else ():
        run.read_sample(record.trial.id)
        made_by = {k: v for k, v in record.made_by.items() if k != "seconds"}
        values = [record.sample_sha256, record.file_sha256, record.cells, record.rows, made_by]
        found[record.trial.id] = json.dumps(values, sort_keys=True)
    return found


def main(models: str, out: str, seed: int, count: int) -> None:
    torch.set_num_threads(1)
    manager = make_manager(Path(models))
    rng = random.Random(seed)
    unbroken = Path(out) / "unbroken"
    run_study(STUDY, unbroken, manager=manager)
    wanted = contents(unbroken)
    table = (unbroken / "measurements.parquet").read_bytes()

    def fresh(name: str, known: bool) -> Path:
        """A folder for a run; `known`: chance and ceiling need not be computed."""
        folder = Path(out) / name
        (folder / "trials").mkdir(parents=True)
        if known:
            shutil.copy(unbroken / "references.json", folder)
        return folder

    def start(folder: Path, operation: int = 0, report: Path | None = None) -> int:
        """Run the study in a process that kills itself at an operation, or counts them all."""

        def work() -> None:
            seen = watch(operation)
            run_study(STUDY, folder, manager=manager)
            if report is not None:
                report.write_text(str(seen()))

        return forked(work)

    operations: dict[bool, int] = {}
    for known in (False, True):
        report = Path(out) / f"operations-{known}"
        assert ended(start(fresh(f"counted-{known}", known), report=report)) == 0
        operations[known] = int(report.read_text())

    kills = []
    attempt = 0
    while len(kills) < count and attempt < 3 * count:
        attempt += 1
        known, by_clock = attempt % 4 > 1, attempt % 2 == 0
        moment = rng.random()
        folder = fresh(f"run-{attempt}", known)
        child = start(folder, 0 if by_clock else 1 + int(moment * operations[known]))
        if by_clock:
            wait_for(folder, rng.randrange(len(wanted)))
            time.sleep(moment * BETWEEN_PICTURES)
            os.kill(child, signal.SIGKILL)
        if ended(child) != -signal.SIGKILL:
            continue  # the run was through already
        before = contents(folder)
        resumed = ended(start(folder))
        after, index = contents(folder), folder / "measurements.parquet"
        kills.append(
            {
                "stored": len(before),
                "spoilt": [t for t in before if not agrees(before[t], wanted[t])],
                "resumed": resumed,
                "lost": sorted(set(before) - set(after)),
                "records": after == wanted,
                "table": index.is_file() and index.read_bytes() == table,
            }
        )
    print(json.dumps({"trials": len(wanted), "kills": kills}))


def agrees(stored: str, wanted: str) -> bool:
    """Whether a record is that of the unbroken run, or lacks only what comes at a run's end."""
    *files, _, rows, _ = json.loads(stored)
    *wanted_files, _, wanted_rows, _ = json.loads(wanted)
    return files == wanted_files and all(row in wanted_rows for row in rows)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
