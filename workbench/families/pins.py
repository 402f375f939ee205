"""Revisions of hub models which the catalogue does not pin, written down when they are known."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

PINS_FILE = "pins.json"


def pins_file(models: Path, *, is_default: bool) -> Path:
    """Where pins are kept: in the models folder, or the user's configuration for the default one.

    The default models folder belongs to the package.
    """
    if not is_default:
        return models / PINS_FILE
    config = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(config) if config else Path.home() / ".config") / "workbench" / PINS_FILE


def read_pins(path: Path) -> dict[str, str]:
    """Hub id -> commit; empty without a file. ValueError if the file is no such mapping."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise ValueError(f"{path}: is not a mapping of hub ids to commits; remove it or mend it")
    return found


def add_pin(path: Path, repo: str, commit: str) -> bool:
    """Pin a model that has no pin yet; whether it had none.

    Raises ValueError if the file is no mapping of pins, OSError if it cannot be written.
    """
    known = read_pins(path)
    if repo in known:
        return False
    write_pins(path, known | {repo: commit})
    return True


def write_pins(path: Path, pins: Mapping[str, str]) -> None:
    """Replace the file, all of it or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(dict(sorted(pins.items())), indent=1) + "\n", "utf-8")
    os.replace(fresh, path)
