"""How processor threads wait for each other: asleep, since other programs want the cores, too.

PyTorch computes a layer with several threads, and by default those that are done spin until the
last one is. Where another program holds one of the cores, they spin on the core that this last one
needs. OpenMP reads its environment once, when PyTorch is loaded; so the package, which every door
imports first, asks for sleep as it is imported. `benchmarks/threads.py` prints what it is worth.
"""

from __future__ import annotations

import os
import sys

POLICY = "OMP_WAIT_POLICY"
"""The variable of the OpenMP standard (https://www.openmp.org/spec-html/5.0/openmpse56.html)."""
CHOICES = (POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""What decides how threads wait: the standard's variable, and those of GNU's and Intel's OpenMP."""


def wait_asleep() -> None:
    """Let threads sleep while they wait, unless the user chose or PyTorch is loaded already."""
    if "torch" not in sys.modules and chosen() is None:
        os.environ[POLICY] = "PASSIVE"


def chosen() -> str | None:
    """How threads wait, as "OMP_WAIT_POLICY=PASSIVE"; None where nobody chose and they spin."""
    found = (f"{name}={os.environ[name]}" for name in reversed(CHOICES) if name in os.environ)
    return next(found, None)
