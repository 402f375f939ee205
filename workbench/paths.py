"""Where the embedded data lives, and where models do."""

import os
from pathlib import Path

MODELS_VARIABLE = "WORKBENCH_MODELS"
"""Environment variable that names another folder for `models_dir`."""

_PACKAGE = Path(__file__).resolve().parent


def data_dir() -> Path:
    """Return the folder with ``models/``, ``sources/`` and ``studies/``.

    A checkout keeps it beside the package; an installed wheel carries it inside, as ``_data``.
    The folder need not exist: whoever opens a file in it says what is missing.
    """
    inside = _PACKAGE / "_data"
    return inside if inside.is_dir() else _PACKAGE.parent / "data"


def config_dir() -> Path:
    """The folder of this user's own settings; XDG_CONFIG_HOME says where. It need not exist."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(config) if config else Path.home() / ".config") / "workbench"


def models_dir(chosen: str | Path | None = None) -> Path:
    """The folder that relative paths of the catalogue start from, and where hub models may lie.

    `chosen` comes first, then the environment variable WORKBENCH_MODELS, then `data_dir()/models`
    (in a checkout beside the package, in an installed wheel inside it). It need not exist.
    """
    if chosen is not None:
        return Path(chosen)
    named = os.environ.get(MODELS_VARIABLE, "")
    return Path(named).expanduser() if named else data_dir() / "models"
