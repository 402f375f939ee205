"""The table of a run: built from its records, kept as a file, rebuilt where that is missing."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.store.errors import StoreError, disk_errors
from workbench.store.files import RunFiles, contents
from workbench.store.index import build_table, decode_table, encode_table
from workbench.store.records import Record

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


class RunTable(RunFiles):
    """A run folder with `measurements.parquet`, an index of what its records say."""

    def records(self) -> Iterator[Record]:
        """All records that hold together."""
        raise NotImplementedError

    @property
    def index_path(self) -> Path:
        """The table of all measurements."""
        return self.path / "measurements.parquet"

    def rebuild_index(self, cells: Collection[str] | None = None) -> pd.DataFrame:
        """Build the long table from the records and write `measurements.parquet`.

        With `cells`, only readings of these cells (those of the study as it is now).
        """
        frame = build_table(self.records(), None if cells is None else frozenset(cells))
        self._keep_index(frame)
        return frame

    def read_index(self) -> pd.DataFrame:
        """The long table as last written; rebuilt from all records if missing or damaged.

        In a folder that cannot be written the rebuilt table is returned all the same.
        """
        try:
            data = contents(self.index_path)
            if data is not None:
                return decode_table(data)
            log.info("%s has no measurements.parquet yet: building it", self.path)
        except StoreError as error:
            log.warning("%s: %s: building it anew from the records", self.path, error)
        frame = build_table(self.records())
        try:
            self._keep_index(frame)
        except StoreError as error:
            log.warning("%s", error)
        return frame

    def drop_index(self) -> None:
        """Remove the table, which is about to fall behind the records; `read_index` rebuilds it."""
        with self._locked(), disk_errors(self.index_path):
            self.index_path.unlink(missing_ok=True)

    def _keep_index(self, frame: pd.DataFrame) -> None:
        with self._locked():
            self._write(self.index_path, encode_table(frame))
