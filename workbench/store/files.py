"""The shared files of a run folder: its locks, the study, further JSON files, source pictures."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from workbench.images import encode_png, read_image, sha256_image
from workbench.store.atomic import write_atomic
from workbench.store.errors import SchemaError, StoreError, disk_errors
from workbench.store.manifest import SCHEMA
from workbench.store.records import plain
from workbench.study import SourceImage, Study, StudyError
from workbench.study.sources import SOURCES_INDEX
from workbench.study.yamlfile import parse_yaml, read_text

log = logging.getLogger(__name__)

LOCK_SECONDS = 120.0
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.json")


class RunFiles:
    """A folder with one lock for short writes and one for the process that coordinates."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = FileLock(self.path / ".write.lock", timeout=LOCK_SECONDS)

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Hold the run as its one coordinator; StoreError at once if another process does.

        Without it two coordinators do no harm, they only do the same work twice.
        """
        lock = FileLock(self.path / ".run.lock", timeout=0)
        with disk_errors(self.path):
            try:
                lock.acquire()
            except Timeout:
                raise StoreError(
                    f"another process is working on {self.path}: wait for it, or use another folder"
                ) from None
        try:
            yield
        finally:
            lock.release()

    @property
    def study_path(self) -> Path:
        """The study's own file in the run folder."""
        return self.path / "study.yaml"

    def write_study(self, study: Study) -> None:
        """Keep the study as `study.yaml`. What changed since the last start is logged."""
        with self._locked():
            changed = self._changes(study)
            if changed:
                log.warning(
                    "%s: the study has changed since the last start (%s): what is stored is kept, "
                    "and used where it still belongs to the study",
                    self.path,
                    ", ".join(changed),
                )
            self._write(self.study_path, study.to_yaml().encode("utf-8"))

    def write_sources(self, sources: Mapping[str, SourceImage]) -> None:
        """Keep the fitted source pictures (`sources/`) and their list (`sources.json`)."""
        with self._locked():
            index = self._sources_index()
            for label, source in sources.items():
                name = f"{source.sha256[:16]}.png"
                self._write(self.path / "sources" / name, encode_png(source.image))
                index[label] = {"file": name, "sha256": source.sha256, "tags": list(source.tags)}
            self.write_json(SOURCES_INDEX, index)

    def read_sources(self) -> dict[str, SourceImage]:
        """The kept source pictures by label."""
        sources = {}
        for label, entry in self._sources_index().items():
            try:
                file, sha256, tags = str(entry["file"]), entry["sha256"], tuple(entry["tags"])
            except (KeyError, TypeError) as error:
                raise damaged(self.path / SOURCES_INDEX, f"at {label}") from error
            image = read_image(self.path / "sources" / Path(file).name)
            if sha256_image(image) != sha256:
                raise StoreError(f"the kept picture of the source {label} has changed")
            sources[label] = SourceImage(label, sha256, image, tags)
        return sources

    def write_json(self, name: str, value: Any) -> None:
        """Write a further JSON file of the run ("references.json"), atomically."""
        data = json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False)
        with self._locked():
            self._write(self._named(name), data.encode("utf-8"))

    def read_json(self, name: str) -> Any:
        """Read it back; None if it is not there. StoreError if it is damaged."""
        path = self._named(name)
        data = contents(path)
        try:
            return None if data is None else json.loads(data)
        except (ValueError, RecursionError) as error:
            raise damaged(path, str(error)) from error

    def _sources_index(self) -> dict[str, Any]:
        index = self.read_json(SOURCES_INDEX) or {}
        if not isinstance(index, dict):
            raise damaged(self.path / SOURCES_INDEX, "it is no list of sources")
        return index

    def _check_schema(self) -> None:
        try:
            manifest = self.read_json("manifest.json")
        except StoreError:  # said to whoever needs the manifest
            return
        if isinstance(manifest, dict) and manifest.get("schema", SCHEMA) != SCHEMA:
            raise SchemaError(f"the run in {self.path}", manifest["schema"], SCHEMA)

    def _changes(self, study: Study) -> list[str]:
        """Settings that differ from the study in the folder; none if there is no study yet."""
        if not self.study_path.exists():
            return []
        try:
            old = parse_yaml(read_text(self.study_path))
        except StudyError:
            return ["its file was damaged"]
        new = study.model_dump(mode="json")
        return sorted(key for key in {**old, **new} if old.get(key) != new.get(key) and key in old)

    def _write(self, path: Path, data: bytes) -> None:
        with disk_errors(path):
            write_atomic(path, data)

    def _named(self, name: str) -> Path:
        if not _FILE_NAME.fullmatch(name):
            raise StoreError(f'"{name[:40]}" is not a name for a JSON file of a run')
        return self.path / name

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with disk_errors(self.path):
            try:
                self._lock.acquire()
            except Timeout:
                raise StoreError(f"{self.path} is locked by another process") from None
        try:
            yield
        finally:
            self._lock.release()


def damaged(path: Path, why: str) -> StoreError:
    """What to say of a shared file of the run that holds nonsense."""
    return StoreError(
        f"{path} is damaged ({why}): put a sound copy in its place, or remove it and start again; "
        "the pictures are kept"
    )


def contents(path: Path) -> bytes | None:
    """A file's bytes, None if it is not there; StoreError if it cannot be read."""
    with disk_errors(path, "read"):
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
