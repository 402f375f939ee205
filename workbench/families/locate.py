"""Where the models of a family lie: on this disk, or on a hub at a pinned revision."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.paths import data_dir

if TYPE_CHECKING:
    from workbench.families.spec import ModelRef

__all__ = ["MODELS_VARIABLE", "LocateError", "Place", "data_dir", "locate", "models_dir"]

MODELS_VARIABLE = "WORKBENCH_MODELS"
"""Environment variable that names another folder for `models_dir`."""


class LocateError(FileNotFoundError):
    """A model is not where the catalogue says it is."""


def models_dir(chosen: str | Path | None = None) -> Path:
    """The folder that relative paths of the catalogue start from.

    `chosen` comes first, then the environment variable WORKBENCH_MODELS, then `data_dir()/models`
    (in a checkout beside the package, in an installed wheel inside it). It need not exist.
    """
    if chosen is not None:
        return Path(chosen)
    named = os.environ.get(MODELS_VARIABLE, "")
    return Path(named).expanduser() if named else data_dir() / "models"


@dataclass(frozen=True)
class Place:
    """What `from_pretrained` needs: a folder or a hub id, and the keywords that go with it."""

    name: str
    keywords: dict[str, Any]
    folder: Path | None

    @property
    def is_local(self) -> bool:
        """True for a folder on this disk, False for a model on a hub."""
        return self.folder is not None


def locate(ref: ModelRef, models: str | Path | None = None) -> Place:
    """Find a model. Local folders are never looked up on a network.

    Raises LocateError, naming the folder, if a local model is missing.
    """
    if ref.repo:
        keywords: dict[str, Any] = {"revision": ref.revision}
        if ref.subfolder:
            keywords["subfolder"] = ref.subfolder
        if ref.variant:
            keywords["variant"] = ref.variant
        return Place(ref.repo, keywords, None)
    root = models_dir(models)
    folder = root / ref.path
    if not folder.is_dir():
        raise LocateError(
            f'there is no model folder "{ref.path}" in {root}; '
            f"set {MODELS_VARIABLE} if the models lie elsewhere"
        )
    keywords = {"local_files_only": True}
    if ref.variant:
        keywords["variant"] = ref.variant
    return Place(str(folder), keywords, folder)
