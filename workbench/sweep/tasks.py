"""What travels between the coordinator and its workers: plain values, never models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from workbench.versions import PIXELS, package_versions


@dataclass(frozen=True)
class Job:
    """What all tasks of one start share: enough to make the plan and the models anew elsewhere.

    study, family: JSON. models_dir: None leaves it to the worker's own settings. offline: the
    worker must not touch the network; False leaves that to its own settings. device: "" leaves it
    to the worker. threads: of PyTorch; None leaves them. stop_file: once it exists, work stops.
    versions: what the coordinator has of the packages that decide pixels. probe: what a worker must
    see that comes after the greeting; None asks for nothing.
    """

    folder: str
    study: str
    family: str
    models_dir: str | None
    offline: bool
    device: str
    threads: int | None
    batch_size: int | Literal["auto"]
    stop_file: str
    versions: tuple[tuple[str, str], ...]
    probe: Probe | None = None


@dataclass(frozen=True)
class Task:
    """One piece of work.

    kind: "prepare" (load, describe the models, find what is missing), "warm" (load), "refer"
        (chance and ceiling of all cells), "measure" (stored samples), "make" (one batch), "lot"
        (one kind of batch, in batches of the size that the worker finds; what is stored already is
        left), "fail" (put trials on record as failed), "finish" (what needs all samples).
    trials: ids. cells: for "measure", the ids of the cells of each trial. reason: for "fail". size:
        pictures in a full batch; for "lot", should it be made in single batches after all.
    lenient: pictures have been made before, so one that fails is a failed trial, no end of the run.
    """

    job: Job
    kind: Literal["prepare", "warm", "refer", "measure", "make", "lot", "fail", "finish"]
    trials: tuple[str, ...] = ()
    cells: tuple[tuple[str, ...], ...] = ()
    reason: str = ""
    size: int = 1
    lenient: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a task; errors travel as text, as not every exception survives the journey.

    stored: ids of the trials now on disk. picture: the last of them that has one. stopped: it was
    given up because the run stops, a lot after the batches in `stored`. error: a sentence, or a
    traceback where `fault` is true. unfit: the worker, where the error is its own and others may do
    the task.
    prepared: for "prepare", the manifest, the batch size, the most that it may come to ("most"),
    the missing trials and unmeasured cells.
    """

    stored: tuple[str, ...] = ()
    picture: str = ""
    stopped: bool = False
    error: str = ""
    fault: bool = False
    unfit: str = ""
    prepared: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """A file in the run folder that a worker must see, and what is in it."""

    path: str
    content: str


@dataclass(frozen=True)
class Facts:
    """A worker: its name, process, device ("" if it chooses itself) and versions; `folder` says why
    it cannot use the run folder, or ""."""

    name: str
    pid: int
    device: str
    versions: tuple[tuple[str, str], ...]
    folder: str


def own_versions() -> tuple[tuple[str, str], ...]:
    """Versions here of what decides the figures, without the build (`+cu128`)."""
    have = package_versions(PIXELS)
    return tuple((name, version.partition("+")[0]) for name, version in have.items())


def version_problem(
    worker: str, theirs: tuple[tuple[str, str], ...], ours: tuple[tuple[str, str], ...]
) -> str:
    """How a worker's versions differ from ours, in one sentence, or ""."""
    have = dict(theirs)
    wrong = [f"{name} {have.get(name, 'missing')}" for name, v in ours if have.get(name) != v]
    if not wrong:
        return ""
    wanted = [f"{name} {version}" for name, version in ours if have.get(name) != version]
    return (
        f"the worker {worker} has {', '.join(wrong)}, but this program has {', '.join(wanted)}: "
        "give both the same environment"
    )


def folder_problem(worker: str, folder: str) -> str:
    """That a worker cannot use the run folder, for the reason `folder`, in one sentence, or ""."""
    if not folder:
        return ""
    return (
        f"the worker {worker} does not see the run folder: {folder}; use a folder that all "
        "machines share"
    )
