"""One hash of everything in a run folder that a report is made from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from workbench.store import RunFolder, StoreError

FILES = ("study.yaml", "manifest.json", "sources.json", "measurements.parquet")


def run_digest(run: RunFolder) -> str:
    """SHA-256 over study, manifest, table, sources with their maps, and every record and picture.

    Any byte that is changed, added or removed in them gives another digest. Caches and locks do
    not count.
    """
    paths = [run.path / name for name in FILES]
    paths += sorted((run.path / "sources").glob("*.png"))
    paths += sorted((run.path / "maps").glob("*.png"))
    for trial_id in run.trial_ids():
        folder = run.trial_folder(trial_id)
        paths += [folder / "record.json", folder / "sample.png"]
    digest = hashlib.sha256()
    for path in paths:
        name = path.relative_to(run.path).as_posix()
        digest.update(f"{name}\0{_file_hash(run, path)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _file_hash(run: RunFolder, path: Path) -> str:
    try:
        data = run.contents(path)
    except StoreError:  # whoever reads the file says what is wrong with it
        return "unreadable"
    return "absent" if data is None else hashlib.sha256(data).hexdigest()
