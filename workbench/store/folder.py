"""The run folder: a study, its samples and measurements, and the manifest, on disk."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from workbench.atomic import remove_stale
from workbench.images import encode_png, read_image, sha256_image
from workbench.store.errors import SchemaError, StoreError, disk_errors
from workbench.store.files import damaged
from workbench.store.manifest import merge_manifests, start_id
from workbench.store.pngtext import CHUNKS, png_text
from workbench.store.records import Record, Row, decode_record, encode_record, plain
from workbench.store.table import RunTable
from workbench.study import Cell, Study, Trial

log = logging.getLogger(__name__)

_TRIAL_ID = re.compile(r"[0-9a-f]{16}")


class RunFolder(RunTable):
    """One run on disk. Any number of processes may write to it at once.

    Every file is written whole or not at all. Each trial is two files, committed together under a
    lock and tied by a hash; a trial that does not hold together counts as absent.
    `chunks` are the text chunks written into each PNG ("workbench", "workbench_study",
    "parameters"; may be empty).
    """

    def __init__(self, path: str | Path, *, chunks: Collection[str] = CHUNKS) -> None:
        super().__init__(path)
        self.chunks = tuple(chunks)
        self._start: str | None = None

    @classmethod
    def create(
        cls, path: str | Path, study: Study, *, chunks: Collection[str] = CHUNKS
    ) -> RunFolder:
        """Make the folder, or continue the run in it; `study.yaml` is (re)written.

        Errors as for `prepare`.
        """
        run = cls.prepare(path, chunks=chunks)
        run.write_study(study)
        return run

    @classmethod
    def prepare(cls, path: str | Path, *, chunks: Collection[str] = CHUNKS) -> RunFolder:
        """Make the folder if need be. A run that is in it is left as it is.

        StoreError for a folder that holds anything but a run, one that cannot be written, and
        (SchemaError) a run of a version of this program that writes its files in another way.
        """
        run = cls(path, chunks=chunks)
        if run.path.exists() and not run.path.is_dir():
            raise StoreError(f"{run.path} is a file, not a folder")
        if run.path.is_dir() and any(run.path.iterdir()) and not run._is_run():
            raise StoreError(f"{run.path} holds something else than a run: use another folder")
        run._check_schema()
        with disk_errors(run.path):
            (run.path / "trials").mkdir(parents=True, exist_ok=True)
        remove_stale(run.path)
        return run

    @classmethod
    def open(cls, path: str | Path, *, chunks: Collection[str] = CHUNKS) -> RunFolder:
        """A run that is there; StoreError if it is not."""
        run = cls(path, chunks=chunks)
        if not run._is_run():
            raise StoreError(f"{run.path} is not a run folder (it has no study.yaml)")
        run._check_schema()
        return run

    def trial_folder(self, trial_id: str) -> Path:
        """Where one trial's files are; StoreError for a text that is no trial id."""
        if not _TRIAL_ID.fullmatch(trial_id):
            raise StoreError(f'"{trial_id[:40]}" is not the id of a trial')
        return self.path / "trials" / trial_id

    def sample_path(self, trial_id: str) -> Path:
        """The PNG file of one trial's sample."""
        return self.trial_folder(trial_id) / "sample.png"

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
        table can be rebuilt from records alone. `made_by` also gets the "start" whose manifest is
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
            failed=failed,
        ).with_rows(rows, cells, extra)
        data = encode_record(record)
        folder = self.trial_folder(trial.id)
        with self._locked():
            if png is not None:
                self._write(folder / "sample.png", png)
            self._write(folder / "record.json", data)
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
            self._write(self.trial_folder(trial_id) / "record.json", encode_record(record))
        return record

    def has(self, trial_id: str) -> bool:
        """Whether the trial is there whole, its failure included. Half a trial is logged.

        SchemaError for a trial of another version: to make it anew would overwrite it.
        """
        return self._find(trial_id) is not None

    def read_record(self, trial_id: str) -> Record:
        """The trial's record; StoreError if it is absent or does not hold together."""
        record, reason = self.inspect(trial_id)
        if record is None:
            raise StoreError(f"trial {trial_id} is not in {self.path}: {reason or 'never made'}")
        return record

    def read_sample(self, trial_id: str) -> np.ndarray:
        """The trial's picture, uint8 H×W×3; StoreError if there is none."""
        record = self.read_record(trial_id)
        if record.failed:
            raise StoreError(f"trial {trial_id} has no picture: {record.failed}")
        return read_image(self.sample_path(trial_id))

    def trial_ids(self) -> tuple[str, ...]:
        """Ids of all trial folders, whole or not, sorted."""
        folder = self.path / "trials"
        if not folder.is_dir():
            return ()
        return tuple(sorted(p.name for p in folder.iterdir() if _TRIAL_ID.fullmatch(p.name)))

    def records(self) -> Iterator[Record]:
        """All records that hold together, sorted by trial id; the others are logged."""
        for trial_id in self.trial_ids():
            record = self._find(trial_id)
            if record is not None:
                yield record

    def write_manifest(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Write `manifest.json`, keeping earlier ones that differ.

        StoreError if samples are there that were made with other weights or another dtype.
        """
        with self._locked():
            old = self.read_manifest() if self.trial_ids() else None
            if old is not None and "dtype" not in old:
                raise damaged(self.path / "manifest.json", "it does not say how pictures were made")
            merged = merge_manifests(old, manifest)
            self.write_json("manifest.json", merged)
        self._start = None
        return merged

    def _started(self) -> dict[str, str]:
        """The start that is at work, by name; read once, as each start opens the folder anew."""
        if self._start is None:
            manifest = self.read_json("manifest.json")
            self._start = start_id(manifest) if isinstance(manifest, dict) else ""
        return {"start": self._start} if self._start else {}

    def _is_run(self) -> bool:
        return self.study_path.is_file() or (self.path / "trials").is_dir()

    def _find(self, trial_id: str) -> Record | None:
        record, reason = self.inspect(trial_id)
        if record is None and reason:
            log.warning("%s: trial %s counts as absent: %s", self.path, trial_id, reason)
        return record

    def inspect(self, trial_id: str) -> tuple[Record | None, str]:
        """The record if the trial holds together, else why not ("" if it was never begun)."""
        folder = self.trial_folder(trial_id)
        if not folder.is_dir():
            return None, ""
        data = self.contents(folder / "record.json")
        if data is None:
            return None, "its record was not written"
        try:
            record = decode_record(data)
        except SchemaError as error:
            what = f"trial {trial_id} in {self.path}"
            raise SchemaError(what, error.found, error.mine) from None
        except StoreError as error:
            return None, str(error)
        if record.trial.id != trial_id:
            return None, "its record belongs to another trial"
        if record.failed:
            return record, ""
        png = self.contents(self.sample_path(trial_id))
        if png is None:
            return None, "its sample is missing"
        same = hashlib.sha256(png).hexdigest() == record.file_sha256
        return (record, "") if same else (None, "its sample has changed")
