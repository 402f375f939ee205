"""The starts that a run was made in: which conditions each picture and its readings come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.store import Manifest, Record
from workbench.verify.conditions import changes

EARLIER = " at an earlier start"
Changes = dict[str, tuple[str, str]]


class History:
    """What has changed since each start of a run.

    Args:
        manifest: of the run, with its earlier ones.
        now: from `conditions_now`.
    """

    def __init__(self, manifest: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        earlier = manifest.get("earlier")
        known = earlier if isinstance(earlier, list) else []
        starts = [manifest, *(one for one in known if isinstance(one, Mapping))]
        self._ids = [Manifest.model_validate(start).start_id for start in starts]
        self._changed = [changes(start, now) for start in starts]

    @property
    def all(self) -> Changes:
        """Name -> (then, now) for all that differs from any start; the newest tells what was."""
        return self._until(len(self._ids))

    def when_made(self, record: Record) -> Changes:
        """What has changed since the start that made a picture; since any, where none is named."""
        place = self._place(record)
        return self.all if place is None else self._changed[place]

    def since_made(self, record: Record) -> Changes:
        """What has changed since that start or a later one, which may have read the picture."""
        place = self._place(record)
        return self.all if place is None else self._until(place + 1)

    def _place(self, record: Record) -> int | None:
        start = record.made_by.get("start")
        return self._ids.index(start) if start in self._ids else None

    def _until(self, end: int) -> Changes:
        found = dict(self._changed[0])
        for older in self._changed[1:end]:
            for name, (old, new) in older.items():
                found.setdefault(name, (f"{old}{EARLIER}", new))
        return found
