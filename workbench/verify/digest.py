"""One hash of everything in a run folder that a report is made from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from workbench.store import RunFolder

FILES = ("study.yaml", "manifest.json", "sources.json", "measurements.parquet")


def run_digest(run: RunFolder) -> str:
    """SHA-256 over study, manifest, table, sources, and the record and picture of every trial.

    Any byte that is changed, added or removed in them gives another digest. Caches and locks do
    not count.
    """
    paths = [run.path / name for name in FILES]
    paths += sorted((run.path / "sources").glob("*.png"))
    for trial_id in run.trial_ids():
        folder = run.trial_folder(trial_id)
        paths += [folder / "record.json", folder / "sample.png"]
    digest = hashlib.sha256()
    for path in paths:
        name = path.relative_to(run.path).as_posix()
        digest.update(f"{name}\0{_file_hash(path)}\n".encode())
    return digest.hexdigest()


def _file_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "absent"
