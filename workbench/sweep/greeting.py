"""Signs in the run folder that the coordinator and workers give each other, and unfit workers."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from workbench.atomic import TEMPORARY, write_atomic
from workbench.generation.cancel import CancelToken
from workbench.store import RunFolder
from workbench.store.errors import disk_errors
from workbench.sweep.errors import ExecutorError
from workbench.sweep.tasks import Facts, Probe, folder_problem, own_versions, version_problem

LOOK_EVERY = 0.2


class StopFile(CancelToken):
    """A cancel token that another process raises, perhaps on another machine, by making a file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = Path(path)
        self._looked = float("-inf")

    @property
    def cancelled(self) -> bool:
        """Whether the file is there; looked up a few times a second at most."""
        if not super().cancelled and time.monotonic() - self._looked > LOOK_EVERY:
            self._looked = time.monotonic()
            if self._path.exists():
                self.cancel()
        return super().cancelled


@contextmanager
def signs(run: RunFolder) -> Iterator[tuple[Probe, Path]]:
    """A file that workers must see, and the place of the one that makes them stop."""
    session = secrets.token_hex(8)
    seen = run.path.resolve() / f".probe-{session}{TEMPORARY}"
    stop = run.path.resolve() / f".stop-{session}{TEMPORARY}"
    with disk_errors(seen):
        write_atomic(seen, session.encode())
    try:
        yield Probe(str(seen), session), stop
    finally:
        with suppress(OSError):
            seen.unlink(missing_ok=True)
    with suppress(OSError):
        stop.unlink(missing_ok=True)  # after an error it stays: a worker may not have seen it yet


def check_workers(facts: Sequence[Facts]) -> None:
    """Raise ExecutorError with everything that is wrong with the workers."""
    ours = own_versions()
    found = [version_problem(worker.name, worker.versions, ours) for worker in facts]
    found += [folder_problem(worker.name, worker.folder) for worker in facts]
    wrong = [line for line in found if line]
    if wrong:
        raise ExecutorError("\n".join(wrong))


def folder_trouble(probe: Probe) -> str:
    """Why this process cannot use the folder of the probe, or ""."""
    path = Path(probe.path)
    try:
        if path.read_text("utf-8") != probe.content:
            return f"{path.parent} is another folder there"
        mine = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
        write_atomic(mine, b"")
        mine.unlink()
    except OSError as error:
        return f"{path.parent} cannot be used there ({error.strerror or error})"
    return ""
