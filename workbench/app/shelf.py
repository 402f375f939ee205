"""The folder of runs: finding them, naming, renaming, duplicating and deleting them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from workbench.store import RunFolder, StoreError
from workbench.store.errors import disk_errors

_NAME = re.compile(r"\w([\w .+-]{0,78}[\w+-])?")
SOURCES = "sources"
"""Where pictures that are uploaded lie, beside the runs."""


@dataclass(frozen=True)
class Shelf:
    """A folder of run folders, which need not be there yet.

    What changes a run holds its claim: StoreError if it is none, if another process is working on
    it, or if the disk refuses. Only runs that lie in the folder itself are changed, ValueError for
    others.
    """

    root: Path

    @property
    def sources(self) -> Path:
        """The folder of uploaded pictures."""
        return self.root / SOURCES

    def runs(self) -> tuple[Path, ...]:
        """The run folders, newest first."""
        if not self.root.is_dir():
            return ()
        found = [path.parent for path in self.root.glob("[!.]*/study.yaml") if path.is_file()]
        return tuple(sorted(found, key=lambda path: path.stat().st_mtime, reverse=True))

    def new(self) -> Path:
        """A place for a new run."""
        return free(self.root / "workbench")

    def rename(self, run: Path, name: str) -> Path:
        """Give a run folder another name; returns its place. The study in it keeps its own name.

        ValueError for a name that is taken, or is no plain one.
        """
        name = name.strip()
        if not _NAME.fullmatch(name) or name == SOURCES:
            raise ValueError(
                f"{name[:80]!r} cannot be the name of a run: take letters, digits, spaces and "
                f"_ . + - , at most 80, a letter or digit first, and not {SOURCES!r}"
            )
        target = run.with_name(name)
        if target.exists():
            raise ValueError(f"there is {target} already: take another name")
        with self._held(run):
            run.rename(target)
        return target

    def duplicate(self, run: Path) -> Path:
        """Copy a run; returns the copy."""
        target = free(run.with_name(f"{run.name}-copy"))
        partial = run.with_name(f".{target.name}")  # hidden until it is whole
        with self._held(run):
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(run, partial, symlinks=True, ignore=shutil.ignore_patterns(".*.lock"))
            partial.rename(target)
        return target

    def delete(self, run: Path) -> None:
        """Delete a run with all its pictures."""
        hidden = free(run.with_name(f".{run.name}-deleted"))  # never seen half deleted
        with self._held(run):
            run.rename(hidden)
            shutil.rmtree(hidden)

    def drop_empty(self, run: Path) -> bool:
        """Remove the folder of a run that never began.

        False if there is anything in it, which then stays as it is, or somebody holds its claim.
        """
        if not run.exists():
            return True
        if run.is_symlink() or run.resolve().parent != self.root.resolve():
            return False
        trials, locks = run / "trials", (run / ".run.lock", run / ".write.lock")
        try:
            if not set(run.iterdir()) <= {trials, *locks} or any(trials.glob("*")):
                return False
            with RunFolder(run).claim():
                if trials.exists():
                    trials.rmdir()
                for lock in locks:
                    lock.unlink(missing_ok=True)
                run.rmdir()
        except (OSError, StoreError):
            return not run.exists()
        return True

    @contextmanager
    def _held(self, run: Path) -> Iterator[None]:
        if run.is_symlink() or run.resolve().parent != self.root.resolve():
            raise ValueError(f"{run} does not lie in {self.root} itself: change it by hand")
        with disk_errors(run), RunFolder.open(run).claim():
            yield


def free(path: Path) -> Path:
    """The first of ``path-1``, ``path-2`` and so on that is not there."""
    paths = (path.with_name(f"{path.name}-{number}") for number in count(1))
    return next(path for path in paths if not path.exists())
