"""The shared files of a run folder: its locks, further JSON files, and the source pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from workbench.images import encode_png, read_image, sha256_image
from workbench.store.atomic import write_atomic
from workbench.store.errors import StoreError
from workbench.store.records import plain
from workbench.study import SourceImage
from workbench.study.sources import SOURCES_INDEX

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
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(f"another process is working on {self.path}") from None
        try:
            yield
        finally:
            lock.release()

    def write_sources(self, sources: Mapping[str, SourceImage]) -> None:
        """Keep the fitted source pictures (`sources/`) and their list (`sources.json`)."""
        with self._locked():
            index = self.read_json(SOURCES_INDEX) or {}
            for label, source in sources.items():
                name = f"{source.sha256[:16]}.png"
                write_atomic(self.path / "sources" / name, encode_png(source.image))
                index[label] = {"file": name, "sha256": source.sha256, "tags": list(source.tags)}
            self.write_json(SOURCES_INDEX, index)

    def read_sources(self) -> dict[str, SourceImage]:
        """The kept source pictures by label."""
        sources = {}
        for label, entry in (self.read_json(SOURCES_INDEX) or {}).items():
            image = read_image(self.path / "sources" / Path(entry["file"]).name)
            if sha256_image(image) != entry["sha256"]:
                raise StoreError(f"the kept picture of the source {label} has changed")
            tags = tuple(entry["tags"])
            sources[label] = SourceImage(label, entry["sha256"], image, tags)
        return sources

    def write_json(self, name: str, value: Any) -> None:
        """Write a further JSON file of the run ("references.json"), atomically."""
        data = json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False)
        with self._locked():
            write_atomic(self._named(name), data.encode("utf-8"))

    def read_json(self, name: str) -> Any:
        """Read it back; None if it is not there. StoreError if it is damaged."""
        try:
            return json.loads(self._named(name).read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{self._named(name)} is damaged ({error})") from error

    def _named(self, name: str) -> Path:
        if not _FILE_NAME.fullmatch(name):
            raise StoreError(f'"{name[:40]}" is not a name for a JSON file of a run')
        return self.path / name

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except Timeout:
            raise StoreError(f"{self.path} is locked by another process") from None
