"""The kinds of sources a study can name: files, rendered scenes, and control maps drawn already."""

from __future__ import annotations

import re

SCENE_SOURCE = re.compile(r"paperdoll:(\d{1,10})")
MAP = "map:"
"""Begins the name of a file that is no picture but already a control map."""
SOURCES_ALLOWED = (
    "paths of image files (relative to the study file), paperdoll:<seed>, or map:<path> of a "
    "control map that is drawn already"
)


def is_scene(label: str) -> bool:
    """Whether a source is a rendered scene of the embedded world."""
    return SCENE_SOURCE.fullmatch(label) is not None


def is_map(label: str) -> bool:
    """Whether a source is itself a control map, drawn by hand or made by another program."""
    return label.startswith(MAP)


def path_of(label: str) -> str:
    """The path of a source that is a file."""
    return label.removeprefix(MAP)


def at_path(label: str, path: str) -> str:
    """A source of the same kind as `label`, at another path."""
    return MAP + path if is_map(label) else path
