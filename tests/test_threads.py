"""How threads wait. Protects: every door lets them sleep before torch is loaded, what the user
chose is left alone, and nothing is claimed where torch was loaded first."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from workbench.threads import CHOICES

SEEN = (
    "import json, sys\n"
    "from workbench.threads import chosen\n"
    "print(json.dumps([chosen(), 'torch' in sys.modules]))"
)


def seen(code: str, **chosen: str) -> list[object]:
    """What a fresh process finds after some code: how threads wait, and whether torch is loaded."""
    plain = {name: value for name, value in os.environ.items() if name not in CHOICES}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{SEEN}"],
        env=plain | chosen,
        check=True,
        capture_output=True,
        text=True,
    )
    found: list[object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "door",
    [
        "import workbench as wb",
        "from workbench.__main__ import main",
        "from workbench.cli import main",
        "from workbench.sweep.worker import begin",
    ],
    ids=["notebook", "command", "rooms", "worker"],
)
def test_every_door_lets_threads_sleep(door: str) -> None:
    assert seen(door)[0] == "OMP_WAIT_POLICY=PASSIVE"


@pytest.mark.parametrize("name", CHOICES)
def test_what_the_user_chose_is_left_alone(name: str) -> None:
    assert seen("import workbench", **{name: "7"}) == [f"{name}=7", False]


def test_where_torch_was_loaded_first_nothing_is_claimed() -> None:
    assert seen("import torch, workbench") == [None, True]


def test_tests_let_threads_sleep() -> None:
    """Here, too, although a test file imports torch before the package."""
    assert any(name in os.environ for name in CHOICES)
