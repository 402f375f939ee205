"""Fingerprints of weight files, for the record of a run."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

WEIGHT_SUFFIXES = (".safetensors",)


def weight_hashes(folder: Path, name: str) -> dict[str, str]:
    """SHA-256 (hex) of every weight file below a folder, as "name/file" -> hash, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in WEIGHT_SUFFIXES)
    found: dict[str, str] = {}
    for path in files:
        stat = path.stat()
        label = f"{name}/{path.relative_to(folder).as_posix()}"
        found[label] = _sha256(str(path), stat.st_mtime_ns, stat.st_size)
    return found


@lru_cache(maxsize=256)
def _sha256(path: str, _changed: int, _size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
