"""What passes between the scheduler and its workers: tasks, outcomes, the handshake, stop files.

All of it is plain values, never models, or files in the run folder.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.atomic import TEMPORARY, write_atomic
from workbench.cancel import CancelToken
from workbench.families.runtime import Determinism
from workbench.store import Manifest, RunFolder, disk_errors
from workbench.sweep.steps import Work
from workbench.versions import PIXELS, package_versions

LOOK_SECONDS = 0.2
Versions = tuple[tuple[str, str], ...]
TaskKind = Literal[
    "describe", "warm", "find", "refer", "measure", "make", "make-chunk", "fail", "finish"
]
MAKING = ("make", "make-chunk")
"""The kinds of tasks that make pictures."""


class ExecutorError(Exception):
    """Workers cannot be had, are lost, or refuse. The message is for the user, one sentence for
    each thing that is wrong; what was stored until then is kept."""


class UnfitWorkerError(ExecutorError):
    """This worker cannot take part, but others may: it has other versions, no such device, or does
    not see the run folder."""


class WorkerDiedError(Exception):
    """Worker processes died of the same task again and again."""


@dataclass(frozen=True)
class Probe:
    """A file in the run folder that a worker must see, and what is in it."""

    path: str
    content: str

    def problem(self) -> str:
        """Why this process cannot use the folder of the probe, or ""."""
        path = Path(self.path)
        try:
            if path.read_text("utf-8") != self.content:
                return f"{path.parent} is another folder there"
            mine = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
            write_atomic(mine, b"")
            mine.unlink()
        except OSError as error:
            return f"{path.parent} cannot be used there ({error.strerror or error})"
        return ""


@dataclass(frozen=True)
class WorkerInfo:
    """A worker's answer in the handshake: its name, device ("" if it chooses itself) and versions;
    `folder` says why it cannot use the run folder, or ""."""

    name: str
    device: str
    versions: Versions
    folder: str

    def problems(self, required: Versions) -> list[str]:
        """Why the worker cannot take part, one sentence for each reason."""
        found = []
        have = dict(self.versions)
        wrong = [(name, version) for name, version in required if have.get(name) != version]
        if wrong:
            theirs = ", ".join(f"{name} {have.get(name, 'missing')}" for name, _ in wrong)
            ours = ", ".join(f"{name} {version}" for name, version in wrong)
            found.append(
                f"the worker {self.name} has {theirs}, but this program has {ours}: give both the "
                "same environment"
            )
        if self.folder:
            found.append(
                f"the worker {self.name} does not see the run folder: {self.folder}; use a folder "
                "that all machines share"
            )
        return found


@dataclass(frozen=True)
class Job:
    """What all tasks of one start share: enough to make the plan and the models anew elsewhere.

    study, family, sources (the list of the kept pictures): JSON. models_dir: None leaves it to the
    worker's own settings. offline: the worker must not touch the network; False leaves that to its
    own settings. device: "" leaves it to the worker. threads: of PyTorch; None leaves them.
    stop_file: once it exists, work stops. versions: those here of the packages that decide pixels.
    probe: what a worker must see that comes after the handshake; None asks for nothing.
    reads: whether tokenizers were there when the plan was made (`Plan.reads`).
    determinism: the study's choice.
    """

    folder: str
    study: str
    family: str
    sources: str
    models_dir: str | None
    offline: bool
    device: str
    threads: int | None
    stop_file: str
    versions: Versions
    probe: Probe | None = None
    reads: bool = True
    determinism: Determinism = "strict"


@dataclass(frozen=True)
class Task:
    """One piece of work.

    kind: a step of `RunSteps` ("describe", "find", "refer", "measure", "fail", "finish"), "warm"
        (load the models), "make" (one batch), or "make-chunk" (trials of one kind of batch, in
        batches of the size that the worker finds; what is stored already is left).
    trials: ids. cells: for "measure", the ids of the cells of each trial. reason: for "fail". size:
        pictures in a full batch; for a chunk, should it be made in single batches after all.
    allow_failures: pictures have been made before, so one that fails is a failed trial, no end of
        the run.
    """

    job: Job
    kind: TaskKind
    trials: tuple[str, ...] = ()
    cells: tuple[tuple[str, ...], ...] = ()
    reason: str = ""
    size: int = 1
    allow_failures: bool = False


@dataclass(frozen=True)
class Done:
    """A task was done, or given up because the run stops (`stopped`)."""

    stopped: bool = False


@dataclass(frozen=True)
class Described(Done):
    """Of "describe": the manifest, pictures in a first batch, and the most that one may come to."""

    manifest: Manifest | None = None
    first: int = 1
    most: int = 1


@dataclass(frozen=True)
class Found(Done):
    """Of "find": what the run lacks."""

    work: Work | None = None


@dataclass(frozen=True)
class Stored(Done):
    """Of "make", "make-chunk" and "fail": ids of the trials that are now on disk, even if the rest
    was given up, and the last of them that has a picture, or ""."""

    trials: tuple[str, ...] = ()
    picture: str = ""


@dataclass(frozen=True)
class Failed:
    """An error, as text, as not every exception survives the journey.

    error: a sentence, or a traceback where `fault` is true. unfit: the worker, where the error is
    its own and others may do the task.
    """

    error: str
    fault: bool = False
    unfit: str = ""


Outcome = Done | Failed


class StopFile(CancelToken):
    """A cancel token that another process raises, perhaps on another machine, by making a file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = Path(path)
        self._looked = float("-inf")

    @property
    def cancelled(self) -> bool:
        """Whether the file is there; looked up a few times a second at most."""
        if not super().cancelled and time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            if self._path.exists():
                self.cancel()
        return super().cancelled


@contextmanager
def meeting_files(run: RunFolder) -> Iterator[tuple[Probe, Path]]:
    """A file that workers must see in the run folder, and the place of the one that stops them."""
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


def own_versions() -> Versions:
    """Versions here of what decides pixels, without the build (`+cu128`)."""
    have = package_versions(PIXELS)
    return tuple((name, version.partition("+")[0]) for name, version in have.items())


def check_workers(workers: Sequence[WorkerInfo]) -> None:
    """Raise ExecutorError with everything that is wrong with the workers."""
    ours = own_versions()
    found = [problem for worker in workers for problem in worker.problems(ours)]
    if found:
        raise ExecutorError("\n".join(found))
