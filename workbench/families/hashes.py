"""Fingerprints of weight files, for the record of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.families.layout import weight_files

if TYPE_CHECKING:
    from workbench.families.locate import Place
    from workbench.families.spec import ModelRef


def fingerprints(ref: ModelRef, place: Place) -> dict[str, str]:
    """What tells a model's weights: a commit where it is known, else SHA-256 of every file.

    "title" -> "revision <commit>", with ", variant <name>" where the files of a variant are loaded,
    for a commit holds them all; or "title/file" -> hash, of the files that loading takes.
    """
    variant = str(place.keywords.get("variant", ""))
    files = getattr(ref, "files", ())
    loaded = f", variant {variant}" if variant and not files else ""
    if place.folder is None:
        return {ref.title: f"revision {place.revision or 'not pinned'}{loaded}"}
    if place.revision:
        return {ref.title: f"revision {place.revision}{loaded}"}
    return weight_hashes(place.folder, ref.title, files, variant)


def weight_hashes(
    folder: Path, name: str, files: Sequence[str] = (), variant: str = ""
) -> dict[str, str]:
    """SHA-256 (hex) of the weight files that are loaded from a folder, as "name/file" -> hash.

    With `files` only those are told; a single one goes by the name alone, which names it already.
    """
    if files:
        paths = [folder / file for file in files if (folder / file).is_file()]
    else:
        paths = weight_files(folder, variant)
    found: dict[str, str] = {}
    for path in paths:
        stat = path.stat()
        within = path.relative_to(folder).as_posix()
        label = name if tuple(files) == (within,) else f"{name}/{within}"
        found[label] = _sha256(str(path), stat.st_mtime_ns, stat.st_size)
    return found


@lru_cache(maxsize=256)
def _sha256(path: str, _changed: int, _size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
