"""Runs the scripts of this folder in a process of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GIB = 2**30


def environment() -> dict[str, str]:
    """One thread, and this checkout before any other."""
    paths = [str(HERE), str(HERE.parent / "helpers"), str(ROOT)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def run_script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HERE / name), *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def result_of(name: str, *arguments: object) -> dict[str, Any]:
    """The JSON which a script prints at its end."""
    done = run_script(name, *arguments)
    assert done.returncode != -signal.SIGALRM, "one file was read for a minute"
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
