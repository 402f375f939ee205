"""The table of a run: built from its records, kept as a file, rebuilt where that is missing."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.store.errors import StoreError, disk_errors
from workbench.store.files import RunFiles, damaged
from workbench.store.index import build_table, decode_table, encode_table
from workbench.store.records import Record

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

CELLS = "cells.json"
"""Ids of the cells of the study as it was at the last start."""


class RunTable(RunFiles):
    """A run folder with `measurements.parquet`, an index of what its records say."""

    def records(self) -> Iterator[Record]:
        """All records that hold together."""
        raise NotImplementedError

    @property
    def index_path(self) -> Path:
        """The table of all measurements."""
        return self.path / "measurements.parquet"

    def write_cells(self, cells: Collection[str]) -> None:
        """Keep the ids of the study's cells, so that a table rebuilt later has no others.

        A table of other cells is removed. StoreError if the folder cannot be written.
        """
        wanted = sorted(cells)
        try:
            known = self._cells()
        except StoreError:
            known = None
        if known is not None and sorted(known) == wanted:
            return
        self.drop_index()
        self.write_json(CELLS, wanted)

    def rebuild_index(self, cells: Collection[str] | None = None) -> pd.DataFrame:
        """Build the long table from the records and write `measurements.parquet`.

        With `cells`, only readings of these cells (those of the study as it is now). StoreError if
        a reading has a value of the wrong type, or the folder cannot be written.
        """
        frame = build_table(self.records(), None if cells is None else frozenset(cells))
        self._keep_index(frame)
        return frame

    def measurements(self) -> pd.DataFrame:
        """The long table as last written; rebuilt from the records if missing or damaged.

        The rebuilt table has the cells of the last start (`write_cells`), all if they were not
        kept. It is returned but not written where the folder cannot be written, or while another
        process works on the run. StoreError if a reading has a value of the wrong type, or
        `cells.json` is damaged.
        """
        data: bytes | None = None
        try:
            data = self.contents(self.index_path)
            if data is not None:
                return decode_table(data)
            log.info("%s has no measurements.parquet yet: building it", self.path)
        except StoreError as error:
            log.warning("%s: %s: building it anew from the records", self.path, error)
        frame = build_table(self.records(), self._cells())
        try:
            with self.claim():
                if self.contents(self.index_path) == data:  # else a run has ended in the meantime
                    self._keep_index(frame)
        except StoreError as error:
            log.warning("%s", error)
        return frame

    def _cells(self) -> frozenset[str] | None:
        """The cells of the last start; None where they were not kept."""
        cells = self.read_json(CELLS)
        if cells is None:
            return None
        if not isinstance(cells, list):
            raise damaged(self.path / CELLS, "it is no list of cells")
        return frozenset(map(str, cells))

    def drop_index(self) -> None:
        """Remove the table, which is about to fall behind the records; `measurements` rebuilds it.

        StoreError if it cannot be removed.
        """
        with self._locked(), disk_errors(self.index_path):
            self.index_path.unlink(missing_ok=True)

    def _keep_index(self, frame: pd.DataFrame) -> None:
        with self._locked():
            self._write(self.index_path, encode_table(frame))
