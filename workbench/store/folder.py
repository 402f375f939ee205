"""The run folder: a study, its samples and measurements, and the manifest, on disk."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from workbench.atomic import remove_stale, write_atomic
from workbench.controls import MapKey
from workbench.images import MAX_BYTES, ImageError, decode_image, encode_png, sha256_image
from workbench.store.errors import SchemaError, StoreError, disk_errors
from workbench.store.manifest import check_conditions, merge_manifests
from workbench.store.pngtext import CHUNKS, png_text
from workbench.store.schema import (
    SCHEMA,
    SOURCES,
    Manifest,
    PlannedCells,
    Record,
    Row,
    SourceEntry,
    checked,
    decode_cells,
    decode_manifest,
    decode_record,
    encode_json,
    encode_record,
    plain,
)
from workbench.store.table import build_table, decode_table, encode_table
from workbench.study import Cell, Choices, SourceImage, Study, StudyError, Trial
from workbench.study.canonical import settings_hash
from workbench.study.errors import one_line
from workbench.study.jsontext import parse_json
from workbench.study.sources import SOURCES_INDEX, source_sha256
from workbench.study.yamlfile import decode_text, parse_yaml

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
log = logging.getLogger(__name__)

LOCK_SECONDS = 120.0
MAX_FILE_BYTES = 128 * 2**20
"""Largest file of a run that is read."""
MANIFEST = "manifest.json"
CELLS = "cells.json"
_TRIAL_ID = re.compile(r"[0-9a-f]{16}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.json")


@dataclass(frozen=True)
class Scan:
    """Every trial folder of a run, looked at once, in the order of the ids.

    records: trial id -> its record, of trials that hold together, failed ones included.
    damaged: trial id -> why it does not, as a clause.
    sums: trial id -> SHA-256 of the bytes of its record, of those that were read.
    """

    records: Mapping[str, Record]
    damaged: Mapping[str, str]
    sums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunStatus:
    """How far a run is.

    planned: trials of the study at the last start; None where that was not kept. records: of these
    (of all, where that was not kept) on disk. measured: trials whose records have readings for the
    table. tabled: of these in the stored table; None if there is none. outdated: whether that table
    lacks readings which the records have. foreign: whether `study.yaml` is another study than the
    one of the manifest.
    """

    planned: int | None
    records: int
    measured: int
    tabled: int | None
    outdated: bool
    foreign: bool = False

    @property
    def sentence(self) -> str:
        """What a reader of the run must know; "" where all is well."""
        if self.foreign:
            return (
                "The file study.yaml is not the study that manifest.json names: what is said here "
                "of settings may not hold for the pictures. Run the study again, or put its own "
                "file back."
            )
        found = []
        if self.planned is not None and self.records < self.planned:
            found.append(f"{self.records} of {self.planned} pictures are there")
        if self.outdated and self.tabled is not None and self.tabled < self.measured:
            found.append(
                f"the table has {self.tabled} of {self.measured} pictures that were measured"
            )
        elif self.outdated:
            found.append("the table lacks readings that the records have")
        if not found:
            return ""
        told = " and ".join(found)
        return f"{told[0].upper()}{told[1:]}: run the study again to complete what is missing."


class RunFolder:
    """One run on disk. Any number of processes may write to it at once.

    Every file is written whole or not at all, and none over a link; a folder that was renamed or
    removed since it was opened is not made again (StoreError). Each trial is two files, committed
    together under a lock and tied by a hash; a trial that does not hold together counts as absent.
    Who reads takes the lock only for a second look at a trial that seems not to.
    What reads never writes: `measurements` builds a table that is missing in memory, and only the
    process that holds `claim` puts one on the disk.

    `chunks` are the text chunks written into each PNG ("workbench", "workbench_study",
    "parameters"; may be empty). `final_scan` is what a start that did all left on the disk, so that
    nobody need look again; None for a folder that was merely opened.
    """

    def __init__(self, path: str | Path, *, chunks: Collection[str] = CHUNKS) -> None:
        self.path = Path(path)
        self.chunks = tuple(chunks)
        self._lock = FileLock(self.path / ".write.lock", timeout=LOCK_SECONDS)
        self._claimed = False
        self._start: str | None = None
        self._identity: tuple[int, int] | None = None
        self.final_scan: Scan | None = None

    @classmethod
    def prepare(cls, path: str | Path, *, chunks: Collection[str] = CHUNKS) -> RunFolder:
        """Make the folder if need be. A run that is in it is left as it is.

        StoreError for a folder that holds anything but a run, one that cannot be written, and
        (SchemaError) a run of a version of this program that writes its files in another way.
        """
        run = cls(path, chunks=chunks)
        run._check_usable()
        with disk_errors(run.path):
            (run.path / "trials").mkdir(parents=True, exist_ok=True)
        run._identity = _identity(run.path)
        remove_stale(run.path)
        return run

    def check(self, study: Study) -> None:
        """Refuse what a start of this study in the folder would refuse; nothing is written.

        StoreError as for `prepare` and `begin`, but for what only the loaded models tell.
        """
        self._check_usable()
        old = self.read_manifest() if self.trial_ids() else None
        if old is not None:
            check_conditions(
                old, study.dtype, study.safety_checker, tiling=study.runtime.vae_tiling
            )

    def _check_usable(self) -> None:
        """StoreError for a folder in which no run can be made or continued."""
        nearest = next(place for place in (self.path, *self.path.parents) if os.path.exists(place))
        if not nearest.is_dir():
            raise StoreError(f"{nearest} is a file, not a folder")
        with disk_errors(self.path, "read"):
            if nearest == self.path and any(self.path.iterdir()) and not self._is_run():
                raise StoreError(f"{self.path} holds something else than a run: use another folder")
        with disk_errors(self.path):
            if not os.access(nearest, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        self._check_schema()

    @classmethod
    def open(cls, path: str | Path, *, chunks: Collection[str] = CHUNKS) -> RunFolder:
        """A run that is there; StoreError if it is not."""
        run = cls(path, chunks=chunks)
        if not run._is_run():
            raise StoreError(f"{run.path} is not a run folder (it has no study.yaml)")
        run._check_schema()
        run._identity = _identity(run.path)
        return run

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
        self._claimed = True
        try:
            yield
        finally:
            self._claimed = False
            lock.release()

    # Trials

    def trial_folder(self, trial_id: str) -> Path:
        """Where one trial's files are; StoreError for a text that is no trial id."""
        return Path(self._in_trial(trial_id, ""))

    def sample_path(self, trial_id: str) -> Path:
        """The PNG file of one trial's sample."""
        return Path(self._in_trial(trial_id, "sample.png"))

    def record_path(self, trial_id: str) -> Path:
        """The record of one trial."""
        return Path(self._in_trial(trial_id, "record.json"))

    def _in_trial(self, trial_id: str, name: str) -> str:
        if not _TRIAL_ID.fullmatch(trial_id):
            raise StoreError(f'"{trial_id[:40]}" is not the id of a trial')
        return os.path.join(self.path, "trials", trial_id, name)

    def trial_ids(self) -> tuple[str, ...]:
        """Ids of all trial folders, whole or not, sorted."""
        folder = self.path / "trials"
        if not folder.is_dir():
            return ()
        return tuple(sorted(p.name for p in folder.iterdir() if _TRIAL_ID.fullmatch(p.name)))

    def scan(self, *, hashes: bool = False, strict: bool = True) -> Scan:
        """Look at every trial once: its record is opened, its picture only where need be.

        A picture is taken for that of its record if it has the size that the record names and is
        older than the record; else, or with `hashes`, its bytes are read and hashed.

        A trial that cannot be read, or is of another version of this program, raises StoreError
        (SchemaError), as to make it anew would overwrite it; without `strict` it counts as damaged.
        With `strict` damaged ones are logged, too.
        """
        records: dict[str, Record] = {}
        damaged: dict[str, str] = {}
        sums: dict[str, str] = {}
        for trial_id in self.trial_ids():
            try:
                found = self._find(trial_id, hashes=hashes, sums=sums)
            except StoreError as error:
                if strict:
                    raise
                found = str(error)
            if isinstance(found, Record):
                records[trial_id] = found
                continue
            damaged[trial_id] = found
            if strict:
                self._log_absent(trial_id, found)
        return Scan(records, damaged, sums)

    def records(self) -> Iterator[Record]:
        """All records that hold together, sorted by trial id; the others are logged."""
        return iter(self.scan().records.values())

    def has(self, trial_id: str) -> bool:
        """Whether the trial is there whole, its failure included. Half a trial is logged.

        SchemaError for a trial of another version: to make it anew would overwrite it.
        """
        found = self._find(trial_id)
        if isinstance(found, str) and found:
            self._log_absent(trial_id, found)
        return isinstance(found, Record)

    def read_record(self, trial_id: str) -> Record:
        """The trial's record; StoreError if it is absent or does not hold together."""
        return self._there(trial_id, self._find(trial_id))

    def read_sample(self, trial_id: str) -> np.ndarray:
        """The trial's picture, uint8 H×W×3; StoreError if there is none."""
        png = self._there(trial_id, self._settled(lambda: self._find_png(trial_id)))
        return decode_image(png, name=str(self.sample_path(trial_id)))

    def write_trial(
        self,
        trial: Trial,
        image: np.ndarray | None,
        made_by: Mapping[str, Any],
        rows: Iterable[Row],
        *,
        cells: Iterable[Cell] = (),
        failed: str = "",
        extra: Mapping[str, Any] | None = None,
    ) -> Record:
        """Commit one trial; an older one of the same id is replaced.

        `image` is uint8 H×W×3, or None for a failed trial, which must give its reason in `failed`.
        `cells` are the cells that `rows` measure; their facts go into the record so that the
        table can be built from records alone. `made_by` also gets the "start" whose manifest is
        in force.
        """
        if (image is None) != bool(failed):
            raise StoreError(f"trial {trial.id}: needs either an image or the reason it failed")
        cells = tuple(cells)
        made_by = {**made_by, **self._started()}
        text = png_text(trial, self.chunks, cell=next(iter(cells), None), made_by=made_by)
        png = None if image is None else encode_png(image, text)
        record = Record(
            trial=trial,
            made_by=plain(made_by),
            sample_sha256="" if image is None else sha256_image(image),
            file_sha256="" if png is None else hashlib.sha256(png).hexdigest(),
            file_bytes=None if png is None else len(png),
            failed=failed,
        ).with_rows(rows, cells, extra)
        data = encode_record(record)
        with self._locked():
            if png is not None:
                self._write(self.sample_path(trial.id), png)
            self._write(self.record_path(trial.id), data)
        return record

    def add_rows(
        self,
        trial_id: str,
        rows: Iterable[Row],
        *,
        cells: Iterable[Cell] = (),
        extra: Mapping[str, Any] | None = None,
        only: bool = False,
    ) -> Record:
        """Add readings to a trial that is there; the same metric of a cell is replaced.

        With `only` they are all that these cells have afterwards. StoreError if the trial is not
        there or cannot be written, or a reading has no cell or metric or is of another trial.
        """
        with self._locked():
            record = self.read_record(trial_id).with_rows(rows, cells, extra, only=only)
            self._write(self.record_path(trial_id), encode_record(record))
        return record

    def _find(
        self, trial_id: str, *, hashes: bool = False, sums: dict[str, str] | None = None
    ) -> Record | str:
        """The record if the trial holds together, else why not ("" if it was never begun).

        The hash of the record's bytes goes into `sums`.
        """
        return self._settled(lambda: self._look(trial_id, hashes, sums))

    def _settled(self, look: Callable[[], T | str]) -> T | str:
        """What a look at a trial finds; where that is a fault, what it finds while nobody writes.

        Who replaces a trial puts one file into place after the other, under the lock: whoever looks
        in between sees a picture and a record that do not belong together.
        """
        found = look()
        if not isinstance(found, str) or not found or not os.access(self._lock.lock_file, os.W_OK):
            return found  # without a lock file that can be taken, nobody is at work
        try:
            self._lock.acquire()
        except (Timeout, OSError):
            return found
        try:
            return look()
        finally:
            self._lock.release()

    def _look(self, trial_id: str, hashes: bool, sums: dict[str, str] | None) -> Record | str:
        record = self._read_record(trial_id, sums)
        if isinstance(record, str) or record.failed:
            return record
        if not hashes and self._is_untouched(record):
            return record
        png = self._read_png(record)
        return png if isinstance(png, str) else record

    def _read_record(self, trial_id: str, sums: dict[str, str] | None = None) -> Record | str:
        data = self.contents(self.record_path(trial_id))
        if data is None:
            there = self.trial_folder(trial_id).is_dir()
            return "its record was not written" if there else ""
        if sums is not None:
            sums[trial_id] = hashlib.sha256(data).hexdigest()
        try:
            record = decode_record(data)
        except SchemaError as error:
            what = f"trial {trial_id} in {self.path}"
            raise SchemaError(what, error.found, error.mine) from None
        except StoreError as error:
            return str(error)
        return record if record.trial.id == trial_id else "its record belongs to another trial"

    def _is_untouched(self, record: Record) -> bool:
        """Whether size and time of a picture say that it is the one its record was written for."""
        try:
            sample = os.lstat(self._in_trial(record.trial.id, "sample.png"))
            written = os.lstat(self._in_trial(record.trial.id, "record.json"))
        except OSError:  # whoever reads it says what is wrong
            return False
        older = sample.st_mtime_ns < written.st_mtime_ns  # at the same time it may have come later
        return stat.S_ISREG(sample.st_mode) and sample.st_size == record.file_bytes and older

    def _find_png(self, trial_id: str) -> bytes | str:
        """The bytes of a trial's picture, or why there is none; StoreError for a failed trial."""
        record = self._read_record(trial_id)
        if isinstance(record, str):
            return record
        if record.failed:
            raise StoreError(f"trial {trial_id} has no picture: {record.failed}")
        return self._read_png(record)

    def _read_png(self, record: Record) -> bytes | str:
        """The bytes of a picture, or why they are not those of its record."""
        png = self.contents(self.sample_path(record.trial.id))
        if png is None:
            return "its sample is missing"
        same = hashlib.sha256(png).hexdigest() == record.file_sha256
        return png if same else "its sample has changed"

    def _there(self, trial_id: str, found: T | str) -> T:
        """What was found of a trial; StoreError if that is the reason why it is not there."""
        if isinstance(found, str):
            why = found or "never made"
            raise StoreError(f"trial {trial_id} is not in {self.path}: {why}")
        return found

    def _log_absent(self, trial_id: str, why: str) -> None:
        log.warning("%s: trial %s counts as absent: %s", self.path, trial_id, why)

    def _started(self) -> dict[str, str]:
        """The start that is at work, by name; read once, as each start opens the folder anew."""
        if self._start is None:
            manifest = self.read_manifest()
            self._start = manifest.start_id if manifest else ""
        return {"start": self._start} if self._start else {}

    # The table

    @property
    def table_path(self) -> Path:
        """The table of all measurements."""
        return self.path / "measurements.parquet"

    def measurements(self, scan: Scan | None = None) -> pd.DataFrame:
        """The long table as last written; built from the records if it is missing or damaged.

        Nothing is written. A table that is built has the cells of the last start (`write_cells`),
        all if they were not kept; `scan` spares it to look at the records again. StoreError if a
        record is of another version, or `cells.json` is damaged.
        """
        try:
            frame = self.stored_table()
        except StoreError as error:
            log.warning("%s: %s: building it anew from the records", self.path, error)
            frame = None
        return self.build_table(scan) if frame is None else frame

    def build_table(self, scan: Scan | None = None) -> pd.DataFrame:
        """The long table as the records have it now, whatever is stored; see `measurements`."""
        planned = self.read_cells()
        records = (self.scan() if scan is None else scan).records.values()
        return build_table(records, None if planned is None else planned.cells.keys())

    def write_table(self, frame: pd.DataFrame) -> None:
        """Put the table on the disk; StoreError without `claim`, or if it cannot be written."""
        if not self._claimed:
            raise StoreError(f"{self.table_path} is only written by the process that made the run")
        with self._locked():
            self._write(self.table_path, encode_table(frame))

    def remove_table(self) -> None:
        """Remove the table, which is about to fall behind the records.

        StoreError if it cannot be removed.
        """
        with self._locked(), disk_errors(self.table_path):
            self.table_path.unlink(missing_ok=True)

    def status(self, scan: Scan | None = None) -> RunStatus:
        """How far the run is, by its records and its table; `scan` spares it to read them again.

        A table that cannot be read counts as none. StoreError as for `measurements`.
        """
        planned = self.read_cells()
        records = (self.scan() if scan is None else scan).records
        cells = None if planned is None else planned.cells.keys()
        rows = {
            trial_id: count
            for trial_id, record in records.items()
            if (count := sum(cells is None or row["cell"] in cells for row in record.rows))
        }
        trials = None if planned is None else planned.trials
        try:
            table = self.stored_table()
        except StoreError:
            table = None
        tabled = None if table is None else len(rows.keys() & set(table["trial"]))
        return RunStatus(
            planned=None if trials is None else len(trials),
            records=len(records if trials is None else records.keys() & trials),
            measured=len(rows),
            tabled=tabled,
            outdated=table is not None and (tabled != len(rows) or len(table) < sum(rows.values())),
            foreign=not self.has_own_study(),
        )

    def stored_table(self) -> pd.DataFrame | None:
        """The table on the disk; None if there is none. StoreError if it is damaged."""
        data = self.contents(self.table_path)
        return None if data is None else decode_table(data)

    def table_is_newest(self) -> bool:
        """Whether the table was written after the study, its cells, the manifest and all records.

        A start writes the study first and the table last; after a cancel the study once more.
        """
        names = (self.study_path, self.path / CELLS, self.path / MANIFEST)
        try:
            written = self.table_path.stat().st_mtime_ns
            others = [*names, *map(self.record_path, self.trial_ids())]
            return all(path.stat().st_mtime_ns < written for path in others)
        except OSError:
            return False

    # The study, its cells and the manifest

    @property
    def study_path(self) -> Path:
        """The study's own file in the run folder."""
        return self.path / "study.yaml"

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

    def has_own_study(self) -> bool:
        """Whether `study.yaml` is the study that the manifest names; True where nobody can tell."""
        try:
            manifest = self.read_manifest()
            values = parse_yaml(self.study_text(), name=str(self.study_path))
            hashes = {settings_hash(values)}
            with suppress(StudyError, ValueError):  # written by another version
                hashes.add(Study.from_dict(values, folder=self.path).hash)
        except (StoreError, StudyError):
            return True
        return manifest is None or not manifest.study_hash or manifest.study_hash in hashes

    def begin(
        self,
        study: Study,
        sources: Mapping[str, SourceImage],
        manifest: Manifest,
        cells: Iterable[Cell],
    ) -> None:
        """Put a start into force: its sources, cells, study and manifest, together.

        StoreError as for `write_manifest`, before anything is written: a start that is refused
        leaves the run as it was.
        """
        with self._locked():
            self._continued(manifest)
            self.write_sources(sources)
            self.write_cells(cells)
            self.write_study(study)
            self.write_manifest(manifest)

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

    def read_cells(self) -> PlannedCells | None:
        """Cells and trials of the study at the last start; None if they were not kept."""
        raw = self.read_json(CELLS)
        with self._named_if_damaged(CELLS):
            return None if raw is None else decode_cells(raw)

    def write_cells(self, cells: Iterable[Cell]) -> None:
        """Keep what the study asks for, so that a table built later has no other cells.

        A table of other cells is removed. StoreError if the folder cannot be written.
        """
        wanted = {cell.id: cell.trial_id for cell in sorted(cells, key=lambda cell: cell.id)}
        try:
            known = self.read_cells()
        except StoreError:
            known = None
        if known is None or known.cells.keys() != wanted.keys():
            self.remove_table()
        if known is None or known.cells != wanted:
            self.write_json(CELLS, {"schema": SCHEMA, "cells": wanted})

    def read_manifest(self) -> Manifest | None:
        """The manifest; None if there is none. StoreError if it is damaged, SchemaError if it is of
        another version of this program."""
        raw = self.read_json(MANIFEST)
        with self._named_if_damaged(MANIFEST):
            return None if raw is None else decode_manifest(raw, f"the run in {self.path}")

    def write_manifest(self, manifest: Manifest) -> Manifest:
        """Write `manifest.json`, keeping earlier ones that differ.

        StoreError if samples are there that were made with other weights or another dtype.
        """
        with self._locked():
            merged = self._continued(manifest)
            self.write_json(MANIFEST, merged.as_json())
        self._start = None
        return merged

    def _continued(self, manifest: Manifest) -> Manifest:
        """The manifest with what the run has already; StoreError if the two do not go together."""
        old = self.read_manifest() if self.trial_ids() else None
        if old is not None and old.dtype is None:
            raise self._damaged(MANIFEST, "it does not say how pictures were made")
        return merge_manifests(old, manifest)

    # Sources and their maps

    def source_entries(self) -> dict[str, SourceEntry]:
        """The list of kept source pictures, by label. StoreError if it is damaged."""
        with self._named_if_damaged(SOURCES_INDEX):
            return checked(SOURCES.validate_python, self.read_json(SOURCES_INDEX) or {})

    def read_sources(
        self, entries: Mapping[str, SourceEntry] | None = None
    ) -> dict[str, SourceImage]:
        """The kept source pictures by label, of the list of the run or of other `entries`."""
        sources = {}
        for label, entry in (self.source_entries() if entries is None else entries).items():
            image = self.read_source(entry.file)
            if source_sha256(label, image) != entry.sha256:
                raise StoreError(f"the kept picture of the source {one_line(label)} has changed")
            sources[label] = SourceImage(
                label, entry.sha256, image, entry.tags, entry.cut, entry.note
            )
        return sources

    def read_source(self, name: str) -> np.ndarray:
        """A kept source picture; ImageError or StoreError if there is none that can be read."""
        path = self.path / "sources" / Path(name).name
        data = self.contents(path, MAX_BYTES)
        if data is None:
            raise ImageError(f"{path} does not exist")
        return decode_image(data, name=str(path))

    def write_sources(self, sources: Mapping[str, SourceImage]) -> None:
        """Keep the fitted source pictures (`sources/`) and their list (`sources.json`)."""
        with self._locked():
            index = {**self.source_entries(), **self.keep_sources(sources)}
            self.write_json(
                SOURCES_INDEX,
                {k: entry.model_dump(exclude_defaults=True) for k, entry in index.items()},
            )

    def keep_sources(self, sources: Mapping[str, SourceImage]) -> dict[str, SourceEntry]:
        """Keep fitted source pictures by their content; returns their entries, not yet listed."""
        found = {}
        with self._locked():
            known = self.source_entries()
            before = {entry.sha256: entry.note for entry in known.values()}
            for label, source in sources.items():
                name = f"{source.sha256[:16]}.png"
                path, data = self.path / "sources" / name, encode_png(source.image)
                if self.contents(path, MAX_BYTES) != data:
                    self._write(path, data)
                old = known.get(label)  # the kept picture may be the source, and is square
                cut = old.cut if old and old.sha256 == source.sha256 else 0.0
                found[label] = SourceEntry(
                    file=name,
                    sha256=source.sha256,
                    tags=source.tags,
                    cut=source.cut or cut,
                    note=source.note or before.get(source.sha256, ""),
                )
        return found

    def read_map(self, key: MapKey) -> np.ndarray | None:
        """The kept picture of a control map; None if none was kept.

        A key is (SHA-256 of the source, control, settings as JSON), as in `Cell.map_key`.
        ImageError or StoreError if it is damaged.
        """
        path = self._map_path(key)
        data = self.contents(path, MAX_BYTES)
        return None if data is None else decode_image(data, name=str(path))

    def write_maps(self, maps: Mapping[MapKey, np.ndarray]) -> None:
        """Keep pictures of the sources' control maps (`maps/`); those that are there stay."""
        with self._locked():
            for key, picture in maps.items():
                path, data = self._map_path(key), encode_png(picture)
                if self.contents(path) != data:
                    self._write(path, data)

    def _map_path(self, key: MapKey) -> Path:
        kind = re.sub(r"[^A-Za-z0-9_-]", "", key[1])
        digest = hashlib.sha256(json.dumps(key).encode("utf-8")).hexdigest()
        return self.path / "maps" / f"{kind}-{digest[:16]}.png"

    # Files

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
                if self._leads_out(path):
                    raise StoreError(
                        f"{path} leads out of the run over a link: put the file in its place"
                    )
                if status.st_size <= limit:
                    return file.read(limit)
        size, allowed = f"{status.st_size / 2**20:,.1f} MiB", f"{limit / 2**20:g} MiB"
        raise StoreError(f"{path} has {size}, more than the {allowed} that are read")

    def _leads_out(self, path: Path) -> bool:
        """Whether a file lies outside of the run; only links on the way to it are looked up."""
        root, file = os.fspath(self.path), os.fspath(path)
        inside = file.removeprefix(root + os.sep).split(os.sep)
        if file.startswith(root + os.sep) and ".." not in inside:
            ways = (os.path.join(root, *inside[:end]) for end in range(1, len(inside) + 1))
            if not any(map(os.path.islink, ways)):
                return False
        return not path.resolve().is_relative_to(self.path.resolve())

    def read_json(self, name: str) -> Any:
        """A JSON file of the run; None if it is not there. StoreError if it is damaged."""
        data = self.contents(self._json_path(name))
        with self._named_if_damaged(name):
            return None if data is None else parse_json(data)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of the run ("references.json"), atomically."""
        with self._locked():
            self._write(self._json_path(name), encode_json(value))

    def write_file(self, name: str, data: bytes) -> None:
        """Put a file at a path below the run folder, whole or not at all ("influence/a.png")."""
        with self._locked():
            self._write(self.path / name, data)

    def _json_path(self, name: str) -> Path:
        if not _FILE_NAME.fullmatch(name):
            raise StoreError(f'"{name[:40]}" is not a name for a JSON file of a run')
        return self.path / name

    @contextmanager
    def _named_if_damaged(self, name: str) -> Iterator[None]:
        """A ValueError within becomes the StoreError of `_damaged`."""
        try:
            yield
        except ValueError as error:
            raise self._damaged(name, str(error)) from error

    def _damaged(self, name: str, why: str) -> StoreError:
        """What to say of a shared file of the run that holds nonsense."""
        return StoreError(
            f"{self.path / name} is damaged ({why}): put a sound copy in its place, or remove it "
            "and start again; the pictures are kept"
        )

    def _is_run(self) -> bool:
        return self.study_path.is_file() or (self.path / "trials").is_dir()

    def _check_schema(self) -> None:
        try:
            self.read_manifest()
        except SchemaError:
            raise
        except StoreError:  # said to whoever needs the manifest
            return

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
        """Put a file at its place; StoreError where that is reached over a link in the run."""
        within = path.relative_to(self.path).parents
        linked = next((folder for folder in within if (self.path / folder).is_symlink()), None)
        if linked not in (None, Path()):  # the run folder itself may be linked to
            raise StoreError(
                f"{self.path / linked} is a link: nothing is written over links in a run; put the "
                "folder itself in its place"
            )
        with disk_errors(path):
            write_atomic(path, data)

    def check_place(self) -> None:
        """StoreError if the run's path no longer leads to the folder that was opened."""
        if self._identity is None or _identity(self.path) == self._identity:
            return
        raise StoreError(
            f"the run folder {self.path} was renamed, removed or replaced while it was in use: "
            "what was stored until then lies where it was moved to; nothing more is written"
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.check_place()
        with disk_errors(self.path):
            try:
                self._lock.acquire()
            except Timeout:
                raise StoreError(f"{self.path} is locked by another process") from None
        try:
            yield
        finally:
            self._lock.release()


def _identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another one at the same path; None if there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
