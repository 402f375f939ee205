"""Where the embedded data lives: in a checkout's ``data/`` or, once installed, in the package."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_dir() -> Path:
    """Return the folder with ``models/``, ``sources/`` and ``studies/``.

    A checkout keeps it beside the package; an installed wheel carries it inside, as ``_data``.
    The folder need not exist: whoever opens a file in it says what is missing.
    """
    inside = _PACKAGE / "_data"
    return inside if inside.is_dir() else _PACKAGE.parent / "data"
