"""Start-up: importing the package and asking for help must feel instant and load nothing heavy.

Protects against a top-level import of torch or pandas slipping into what the command line reads.
"""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "transformers", "pandas", "matplotlib", "scipy", "cv2", "numpy")
TRIES = 5
HELP = "import sys; sys.argv = ['workbench', '--help']\nfrom workbench.cli import main\nmain()"
PLAIN = "import json, typing, dataclasses, importlib.metadata, logging"
TERMINAL = "import typer.main, rich.console, rich.table, rich.markdown"


def seconds(code: str) -> float:
    """Least processor time of several fresh processes: the machine's load hardly counts."""
    found = []
    for _ in range(TRIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


@pytest.mark.parametrize(
    ("code", "yardstick"),
    [("import workbench", PLAIN), (HELP, TERMINAL)],
    ids=["import", "help"],
)
def test_starts_in_less_than_three_times_what_it_stands_on(code: str, yardstick: str) -> None:
    """Python with a few modules of its library for the package, typer and rich for the help."""
    assert seconds(code) < 3 * seconds(yardstick)


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


def test_the_app_shows_itself_before_torch_is_loaded() -> None:
    code = (
        "import sys\nimport workbench.app\n"
        "print([name for name in ('torch', 'diffusers', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
