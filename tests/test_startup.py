"""Start-up: importing the package and asking for help must feel instant and load nothing heavy.

Protects against a top-level import of torch or pandas slipping into what the command line reads.
"""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

HEAVY = ("torch", "diffusers", "transformers", "pandas", "matplotlib", "scipy", "cv2", "numpy")
LIMIT_SECONDS = 0.5
TRIES = 7


def best_seconds(code: str) -> float:
    """The fastest of several fresh processes: the load of the machine only ever adds."""
    best = float("inf")
    for _ in range(TRIES):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        best = min(best, time.perf_counter() - start)
        if best < LIMIT_SECONDS / 2:
            break
    return best


HELP = "import sys; sys.argv = ['workbench', '--help']\nfrom workbench.cli import main\nmain()"


@pytest.mark.parametrize("code", ["import workbench", HELP], ids=["import", "help"])
def test_starts_within_half_a_second(code: str) -> None:
    assert best_seconds(code) < LIMIT_SECONDS


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nimport workbench, workbench.cli\n"
        "try:\n    workbench.cli.app(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "extract" in done.stdout
    assert done.stdout.strip().endswith("LOADED []")


def test_reading_a_study_loads_no_torch() -> None:
    code = (
        "import sys\nfrom workbench.study import Study\nimport workbench.prompts\n"
        "print([name for name in ('torch', 'diffusers', 'pandas', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
