"""The shared files of a run folder: its locks, the study, further JSON files, sources and maps."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from workbench.atomic import write_atomic
from workbench.controls import MapKey
from workbench.images import MAX_BYTES, ImageError, decode_image, encode_png
from workbench.store.errors import SchemaError, StoreError, disk_errors
from workbench.store.manifest import SCHEMA, misshapen
from workbench.store.records import plain
from workbench.study import Choices, SourceImage, Study, StudyError
from workbench.study.errors import one_line
from workbench.study.jsontext import parse_json
from workbench.study.sources import SOURCES_INDEX, source_sha256
from workbench.study.yamlfile import decode_text, parse_yaml

log = logging.getLogger(__name__)

LOCK_SECONDS = 120.0
"""(SHA-256 of the source, control, control settings as JSON)"""
MAX_FILE_BYTES = 128 * 2**20
"""Largest file of a run that is read."""
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

    def contents(self, path: Path, limit: int = MAX_FILE_BYTES) -> bytes | None:
        """The bytes of a file of this run, None if it is not there.

        StoreError if it cannot be read, has more than `limit` bytes, or is no ordinary file of the
        run: a folder, a device, or outside of it behind a link (a report would carry what is there
        away).
        """
        with disk_errors(path, "read"):
            try:
                handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # pipes wait
            except (FileNotFoundError, NotADirectoryError):
                return None
            with os.fdopen(handle, "rb") as file:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise StoreError(f"{path} is not a file: put the run's own in its place")
                if not path.resolve().is_relative_to(self.path.resolve()):
                    raise StoreError(
                        f"{path} leads out of the run over a link: put the file in its place"
                    )
                if status.st_size <= limit:
                    return file.read(limit)
        size, allowed = f"{status.st_size / 2**20:,.1f} MiB", f"{limit / 2**20:g} MiB"
        raise StoreError(f"{path} has {size}, more than the {allowed} that are read")

    def study_text(self) -> str:
        """The text of `study.yaml`; StoreError or StudyError if it cannot be read."""
        data = self.contents(self.study_path)
        if data is None:
            raise StoreError(f"{self.study_path} is not there: the run has lost its study")
        return decode_text(data, self.study_path)

    def study(self, choices: Choices | None = None) -> Study:
        """Read the study back; StudyError if it no longer fits what is installed."""
        values = parse_yaml(self.study_text(), name=str(self.study_path))
        return Study.from_dict(values, folder=self.path, choices=choices)

    def source_hashes(self) -> dict[str, str]:
        """Label -> SHA-256 of the fitted pixels, as far as the manifest says them."""
        return dict((self.read_manifest() or {}).get("sources") or {})

    def read_manifest(self) -> dict[str, Any] | None:
        """The manifest; None if there is none. StoreError if it is damaged."""
        manifest = self.read_json("manifest.json")
        if manifest is None:
            return None
        if odd := misshapen(manifest):
            raise damaged(self.path / "manifest.json", odd)
        return dict(manifest)

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
                raise damaged(self.path / SOURCES_INDEX, f"at {one_line(label)}") from error
            image = self.read_source(file)
            if source_sha256(label, image) != sha256:
                raise StoreError(f"the kept picture of the source {one_line(label)} has changed")
            sources[label] = SourceImage(label, sha256, image, tags)
        return sources

    def read_source(self, name: str) -> np.ndarray:
        """A kept source picture; ImageError or StoreError if there is none that can be read."""
        path = self.path / "sources" / Path(name).name
        data = self.contents(path, MAX_BYTES)
        if data is None:
            raise ImageError(f"{path} does not exist")
        return decode_image(data, name=str(path))

    def write_maps(self, maps: Mapping[MapKey, np.ndarray]) -> None:
        """Keep pictures of the sources' control maps (`maps/`); those that are there stay.

        A key is (SHA-256 of the source, control, settings as JSON), as in `Cell.map_key`.
        """
        with self._locked():
            for key, picture in maps.items():
                path, data = self._map_path(key), encode_png(picture)
                if self.contents(path) != data:
                    self._write(path, data)

    def read_map(self, key: MapKey) -> np.ndarray | None:
        """The kept picture of a control map; None if none was kept.

        ImageError or StoreError if it is damaged.
        """
        path = self._map_path(key)
        data = self.contents(path, MAX_BYTES)
        return None if data is None else decode_image(data, name=str(path))

    def write_json(self, name: str, value: Any) -> None:
        """Write a further JSON file of the run ("references.json"), atomically."""
        data = json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False)
        with self._locked():
            self._write(self._named(name), data.encode("utf-8"))

    def read_json(self, name: str) -> Any:
        """Read it back; None if it is not there. StoreError if it is damaged."""
        path = self._named(name)
        data = self.contents(path)
        try:
            return None if data is None else parse_json(data)
        except ValueError as error:
            raise damaged(path, str(error)) from error

    def _map_path(self, key: MapKey) -> Path:
        kind = re.sub(r"[^A-Za-z0-9_-]", "", key[1])
        digest = hashlib.sha256(json.dumps(key).encode("utf-8")).hexdigest()
        return self.path / "maps" / f"{kind}-{digest[:16]}.png"

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
            old = parse_yaml(self.study_text())
        except (StoreError, StudyError):
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
