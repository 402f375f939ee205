"""A small JSON file that keeps figures by their content, so that they are computed once."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from workbench.measuring.adherence import Reference
from workbench.study.canonical import canonical_hash

SCHEMA = 1


class ReferenceCache:
    """Chance and ceiling by the hash of everything that decides them.

    `path` is the JSON file; None keeps them in memory only. A damaged or foreign file is ignored
    and replaced at the next `save`: everything in it can be computed anew.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._items: dict[str, dict[str, Reference]] = {}
        self._changed = False
        if path is not None and path.is_file():
            self._items = _read(path)

    def __len__(self) -> int:
        return len(self._items)

    def get(self, content: Any) -> dict[str, Reference] | None:
        """Metric name -> reference for this content, or None if it was never computed."""
        return self._items.get(canonical_hash(content))

    def put(self, content: Any, references: dict[str, Reference]) -> None:
        """Remember references for this content (JSON values)."""
        self._items[canonical_hash(content)] = references
        self._changed = True

    def save(self) -> None:
        """Write the file anew if anything was added: to a temporary name, then moved in place."""
        if self.path is None or not self._changed:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        items = {
            key: {
                name: [_plain(ref.chance), _plain(ref.ceiling), ref.reason]
                for name, ref in references.items()
            }
            for key, references in sorted(self._items.items())
        }
        data = json.dumps({"schema": SCHEMA, "items": items}, indent=1, allow_nan=False)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._changed = False


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _read(path: Path) -> dict[str, dict[str, Reference]]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["schema"] != SCHEMA:
            return {}
        return {
            str(key): {
                str(name): Reference(_number(chance), _number(ceiling), str(reason))
                for name, (chance, ceiling, reason) in references.items()
            }
            for key, references in raw["items"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
