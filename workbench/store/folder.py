"""The run folder: a study, its samples and measurements, and the manifest, on disk."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.images import encode_png, read_image, sha256_image
from workbench.store.atomic import remove_stale
from workbench.store.errors import SchemaError, StoreError, disk_errors
from workbench.store.files import contents, damaged
from workbench.store.manifest import merge_manifests
from workbench.store.pngtext import CHUNKS, png_text
from workbench.store.records import Record, Row, decode_record, encode_record, plain
from workbench.store.table import RunTable
from workbench.study import Cell, Choices, Plan, Study, Trial

log = logging.getLogger(__name__)

_TRIAL_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Pending:
    """What a plan still asks of a run folder.

    `trials` have no sample yet. `cells` have their sample, but no readings (a study to which a
    source was added reuses the pictures made without control).
    """

    trials: tuple[Trial, ...]
    cells: tuple[Cell, ...]


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

    def study(self, choices: Choices | None = None) -> Study:
        """Read the study back; StudyError if it no longer fits what is installed."""
        return Study.from_yaml(self.study_path, choices=choices)

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
        table can be rebuilt from records alone.
        """
        if (image is None) != bool(failed):
            raise StoreError(f"trial {trial.id}: needs either an image or the reason it failed")
        cells = tuple(cells)
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
    ) -> Record:
        """Add readings to a trial that is there; the same metric of a cell is replaced."""
        with self._locked():
            record = self.read_record(trial_id).with_rows(rows, cells, extra)
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

    def pending(self, plan: Plan) -> Pending:
        """What is left to do for a plan. Failed trials are done, unless they may be retried."""
        trials: list[Trial] = []
        cells: list[Cell] = []
        for trial in plan.trials:
            record = self._find(trial.id)
            if record is None or record.retry:
                trials.append(trial)
            elif not record.failed:
                mine = plan.cells_by_trial[trial.id]
                cells += [cell for cell in mine if cell.id not in record.cells]
        return Pending(tuple(trials), tuple(cells))

    def write_manifest(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Write `manifest.json`, keeping earlier ones that differ.

        StoreError if samples are there that were made with other weights or another dtype.
        """
        with self._locked():
            old = self.read_json("manifest.json") if self.trial_ids() else None
            if old is not None and not (isinstance(old, dict) and "dtype" in old):
                raise damaged(self.path / "manifest.json", "it does not say how pictures were made")
            merged = merge_manifests(old, manifest)
            self.write_json("manifest.json", merged)
        return merged

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
        data = contents(folder / "record.json")
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
        png = contents(self.sample_path(trial_id))
        if png is None:
            return None, "its sample is missing"
        same = hashlib.sha256(png).hexdigest() == record.file_sha256
        return (record, "") if same else (None, "its sample has changed")
