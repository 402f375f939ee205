"""A small JSON file that keeps figures by their content, so that they are computed once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from workbench.atomic import write_atomic
from workbench.measuring.adherence import Reference
from workbench.study.canonical import canonical_hash
from workbench.study.jsontext import parse_json

SCHEMA = 1
MAX_BYTES = 128 * 2**20
MAX_VALUES = 4_000_000


class ReferenceCache:
    """Chance and ceiling by the hash of everything that decides them.

    `path` is the JSON file; None keeps them in memory only. Other processes may add to it: what is
    not known here is looked for in the file if that has changed. A damaged or foreign file is
    ignored and replaced at the next `save`: everything in it can be computed anew.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._items: dict[str, dict[str, Reference]] = {}
        self._changed = False
        self._seen: tuple[int, ...] = ()
        self._reread()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, content: Any) -> dict[str, Reference] | None:
        """Metric name -> reference for this content, or None if it was never computed."""
        key = canonical_hash(content)
        if key not in self._items:
            self._reread()
        return self._items.get(key)

    def put(self, content: Any, references: dict[str, Reference]) -> None:
        """Remember references for this content (JSON values)."""
        self._items[canonical_hash(content)] = references
        self._changed = True

    def _reread(self) -> None:
        """Add what the file holds, if it is another than it was."""
        if self.path is None:
            return
        try:
            stat = self.path.stat()
        except OSError:
            return
        now = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if now != self._seen:
            self._seen = now
            self._items = {**_read(self.path), **self._items}

    def save(self) -> None:
        """Write the file anew, atomically, if anything was added.

        What another process added in the meantime is kept. OSError if the disk refuses.
        """
        if self.path is None or not self._changed:
            return
        if self.path.is_file():
            self._items = {**_read(self.path), **self._items}
        items = {
            key: {
                name: [_plain(ref.chance), _plain(ref.ceiling), ref.reason]
                for name, ref in references.items()
            }
            for key, references in sorted(self._items.items())
        }
        data = json.dumps({"schema": SCHEMA, "items": items}, indent=1, allow_nan=False)
        write_atomic(self.path, data.encode())
        self._changed = False


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _read(path: Path) -> dict[str, dict[str, Reference]]:
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return {}
        raw = parse_json(path.read_bytes(), MAX_VALUES)
        if raw["schema"] != SCHEMA:
            return {}
        return {
            str(key): {
                str(name): Reference(_number(chance), _number(ceiling), str(reason))
                for name, (chance, ceiling, reason) in references.items()
            }
            for key, references in raw["items"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return {}
