"""Versions of the packages that figures depend on, and the commit of this program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

PIXELS = ("controlnet-workbench", "diffusers", "numpy", "torch", "transformers")
"""They decide pixels: workers that make pictures of one run must have the same versions."""
READINGS = (*PIXELS, "opencv-python-headless", "scipy", "torchmetrics")
"""They decide readings: chance and ceiling are computed anew with another version."""
FIGURES = (
    *READINGS,
    *("accelerate", "controlnet-aux", "pillow", "safetensors", "tokenizers"),
    *("onnxruntime", "onnxruntime-gpu"),
)
"""They take part in pixels or readings: another version may explain another figure."""
OPTIONAL = ("onnxruntime", "onnxruntime-gpu")
"""Packages of extras; nothing is amiss without them."""
NOTED = (*FIGURES, "pandas", "pyarrow", "pydantic", "statsmodels")
"""All whose version a manifest notes."""


class DocstringsMissing(RuntimeError):
    """Python was started so that it drops docstrings, without which libraries do not work."""


def require_docstrings() -> None:
    """DocstringsMissing under `python -OO`: diffusers and transformers read their docstrings."""
    if sys.flags.optimize > 1:
        raise DocstringsMissing(
            "Python was started with -OO or PYTHONOPTIMIZE=2, which drops the docstrings that "
            "diffusers and transformers need: start it without, or with -O"
        )


def package_versions(names: Iterable[str] = NOTED) -> dict[str, str]:
    """Versions of the packages of these names that are installed, in alphabetical order."""
    versions = {}
    for name in sorted(names):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state(package: Path) -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout the package is part of; None outside a checkout.

    A package that merely lies inside somebody else's checkout (in a `.venv`, say) is not part
    of it: git must track its files.
    """
    if not _git(package, "ls-files", "--", "."):
        return None
    commit = _git(package, "rev-parse", "HEAD")
    status = _git(package, "status", "--porcelain")
    if commit is None or status is None:
        return None
    return {"commit": commit, "dirty": bool(status)}


def _git(folder: Path, *arguments: str) -> str | None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()
