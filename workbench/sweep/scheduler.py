"""Running a study by workers: tasks handed out, outcomes counted, deaths and cancels survived.

Workers write trial folders themselves and meet in the run folder. The process of the scheduler
loads no model: it hands out ids, and sees on the disk what has been stored.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from workbench.families import Family
from workbench.families.locate import is_offline
from workbench.generation.batching import BatchKey, kinds, plan_batches
from workbench.generation.recovery import FailureBudget, Kind, not_tried
from workbench.paths import MODELS_VARIABLE, models_dir
from workbench.store import Executor, Manifest, Record, RunFolder, StoreError
from workbench.study import Plan, Trial
from workbench.sweep.backends import ExecutorChoice, WorkerPool
from workbench.sweep.messages import (
    MAKING,
    Described,
    Done,
    ExecutorError,
    Failed,
    Found,
    Job,
    Outcome,
    Stored,
    Task,
    WorkerInfo,
    check_workers,
    meeting_files,
    own_versions,
)
from workbench.sweep.progress import ProgressMeter
from workbench.sweep.steps import Start, Work, done_records, portions
from workbench.sweep.worker import perform

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
DETOURS = 10
"""So many unfit workers may turn one task away."""
DIED = "the worker process died again and again while it made this picture"
CHUNKS_EACH = 4
"""So many chunks for each worker, or more: at the end nobody waits long for the last of them."""
COUNT_SECONDS = 2.0
"""So often the run folder is looked at for what chunks have stored."""
LOOK_SECONDS = 1.0
SAY_SECONDS = 10.0


@contextmanager
def scheduled(
    start: Start, family: Family, choice: ExecutorChoice, meter: ProgressMeter
) -> Iterator[Scheduler]:
    """The workers of a choice that was checked, for as long as the block lasts."""
    study, plan = start.study, start.plan
    least = 1 if study.batch_size == "auto" else study.batch_size
    tasks = max(1, len(plan_batches(plan.trials, least)))  # more workers have nothing to do
    with meeting_files(start.run) as (probe, stop), opened(choice, tasks) as pool:
        workers = pool.handshake(probe)
        check_workers(workers)
        job = Job(
            folder=str(start.run.path.resolve()),
            study=study.model_dump_json(),
            family=family.model_dump_json(),
            sources=json.dumps(
                {k: e.model_dump() for k, e in start.run.keep_sources(plan.sources).items()}
            ),
            models_dir=str(models_dir().resolve()) if os.environ.get(MODELS_VARIABLE) else None,
            offline=is_offline(),
            device=pool.device,
            threads=pool.threads,
            stop_file=str(stop),
            versions=own_versions(),
            probe=probe,
            reads=plan.reads,
            determinism=study.runtime.determinism,
        )
        scheduler = Scheduler(start, choice, pool, job, workers, meter)
        try:
            yield scheduler
        except BaseException:
            scheduler.stop()
            raise


@contextmanager
def opened(choice: ExecutorChoice, most: int) -> Iterator[WorkerPool]:
    """The workers of a choice; of our own no more than `most` are started."""
    pool: WorkerPool
    if choice.kind == "processes":
        from workbench.sweep.local import LocalProcessPool

        pool = LocalProcessPool(choice.devices()[:most])
    else:
        from workbench.sweep.dask import DaskPool

        pool = DaskPool(choice)
    ended = False
    try:
        yield pool
        ended = True
    finally:
        pool.close(at_once=not ended)


class Scheduler:
    """The steps of a run by workers; each method returns when its tasks have come back.

    After a cancel nothing is handed out any more, and methods return at once.
    """

    def __init__(
        self,
        start: Start,
        choice: ExecutorChoice,
        pool: WorkerPool,
        job: Job,
        workers: Sequence[WorkerInfo],
        meter: ProgressMeter,
    ) -> None:
        self._run, self._plan, self._cancel = start.run, start.plan, start.cancel
        self._choice, self._pool, self._job, self._workers = choice, pool, job, workers
        self._tracker = CompletionTracker(start.run, start.plan, meter)
        self._watchdog = WorkerWatchdog(pool, choice.patience)
        self._failures = FailureBudget(len(start.plan.trials))
        self._dead: list[str] = []
        self._rerouted: Counter[Task] = Counter()
        self._unfit: set[str] = set()
        self._stopped = False
        self._sizes = Described()

    def describe(self) -> Manifest | None:
        """What one worker says of the models, while the others load them."""
        warm = [Task(self._job, "warm")] * (len(self._workers) - 1)
        for outcome in self._do([Task(self._job, "describe"), *warm]):
            if isinstance(outcome, Described) and outcome.manifest is not None:
                self._sizes = outcome
                return outcome.manifest.model_copy(update={"executor": self._executor()})
        return None

    def find_work(self) -> Work | None:
        """What the run lacks, and chance and ceiling for it, so that only one worker computes
        them."""
        found = self._do([Task(self._job, "find")])
        work = next((outcome.work for outcome in found if isinstance(outcome, Found)), None)
        if work is not None and (work.trials or work.unmeasured):
            self._do([Task(self._job, "refer")])
        return work

    def measure(self, unmeasured: Mapping[str, tuple[str, ...]]) -> None:
        """Have missing readings taken off stored samples."""
        self._do(
            Task(self._job, "measure", tuple(part), tuple(part.values()))
            for part in portions(unmeasured, self._sizes.first)
        )

    def make(self, trials: Sequence[Trial], sound: Collection[Kind]) -> None:
        """Have samples made and stored; those whose workers keep dying are failed trials."""
        self._failures = FailureBudget(len(trials), self._tracker.sound)
        self._tracker.sound |= set(sound)
        workers = max(len(self._workers), self._pool.joining)
        tasks = make_tasks(self._job, trials, self._sizes, workers)
        if any(task.kind == "make-chunk" for task in tasks):
            self._tracker.watch(trial.id for trial in trials)
        self._do(tasks)
        if self._dead:
            log.warning("these trials could not be made (%s): %s", DIED, ", ".join(self._dead))
            self._do([Task(self._job, "fail", tuple(self._dead), reason=DIED)])

    def finish(self) -> None:
        """Have one worker bring all records up to date."""
        self._do([Task(self._job, "finish")])

    def records(self) -> Iterable[Record]:
        """All records of the run, as workers have left them."""
        return self._run.scan().records.values()

    def stop(self) -> None:
        """Let every worker stop at its next step."""
        self._stopped = True
        try:
            Path(self._job.stop_file).touch()
        except OSError as error:  # a disk may be full; what ends the run must still be told
            log.warning(
                "workers finish their work first: %s (%s)", self._job.stop_file, error.strerror
            )

    def _executor(self) -> Executor:
        """What the manifest says of the workers."""
        workers = [
            {"name": worker.name, "device": worker.device or self._job.device or "its own"}
            for worker in sorted(self._workers, key=lambda worker: worker.name)
        ]
        return Executor(
            kind=self._choice.kind,
            workers=workers,
            threads=self._job.threads,
            scheduler=self._choice.scheduler,
        )

    def _do(self, tasks: Iterable[Task]) -> list[Done]:
        """Have tasks done, until the last has come back; what came of them.

        After a cancel those at work are waited for; they stop at their next step.
        Raises ExecutorError where a task cannot be done, or nobody is there to do it.
        """
        outcomes: list[Done] = []
        open_tasks: dict[Future[Outcome], Task] = {}
        waiting = [] if self._stopped else list(tasks)
        while open_tasks or waiting:
            nobody = self._watchdog.nobody_is_there()
            for future in self._pool.stranded(open_tasks):
                waiting.append(open_tasks.pop(future))
                future.cancel()
            if waiting and not nobody:
                open_tasks |= {self._pool.submit(perform, task): task for task in waiting}
                waiting = []
            done, _ = wait(open_tasks, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            self._tracker.look()
            if not open_tasks:
                time.sleep(POLL_SECONDS)
            if self._cancel.cancelled and not self._stopped:
                self.stop()
                self._pool.drop(open_tasks)
                waiting = []
            if not done and nobody and self._stopped:
                break  # nobody is there who could still write
            for future in sorted(done, key=_in_trouble):  # what was made counts before what failed
                waiting += self._settle(open_tasks.pop(future), future, outcomes)
        return outcomes

    def _settle(self, task: Task, future: Future[Outcome], outcomes: list[Done]) -> list[Task]:
        """Take what came of a task; returns the tasks to try instead."""
        try:
            outcome = future.result()
        except CancelledError:
            if self._stopped:
                return []
            raise ExecutorError(self._pool.lost()) from None
        except self._pool.lost_work as error:
            return self._give_up(task, error)
        if isinstance(outcome, Done):
            if isinstance(outcome, Stored):
                self._tracker.count(outcome.trials, outcome.picture)
            outcomes.append(outcome)
            return []
        if outcome.unfit:
            return self._reroute(task, outcome)
        if task.kind in MAKING and (instead := self._without(task, outcome)):
            return [instead]
        if outcome.fault:
            raise RuntimeError(f"a worker failed:\n{outcome.error}")
        raise ExecutorError(outcome.error)

    def _without(self, task: Task, outcome: Failed) -> Task | None:
        """How the run goes on where pictures of a task cannot be made; None where it cannot."""
        self._tracker.look(at_once=True)
        kind = BatchKey.of(self._plan.trials_by_id[task.trials[0]]).kind
        if task.allow_failures:
            return None
        if self._failures.tolerates(kind, len(task.trials)):
            return replace(task, allow_failures=True)
        if not self._tracker.sound:
            return None
        reason = not_tried(kind, outcome.error.strip().splitlines()[-1])
        return replace(task, kind="fail", reason=reason)

    def _reroute(self, task: Task, outcome: Failed) -> list[Task]:
        """The task for another worker than the one that cannot take part."""
        if outcome.unfit not in self._unfit:
            self._unfit.add(outcome.unfit)
            if not self._pool.ban(outcome.unfit):
                raise ExecutorError(outcome.error)
            log.warning("%s. Until then its work goes to the others", outcome.error)
            self._watchdog.look_at_once()  # or it would get the task again where it is alone
        self._rerouted[task] += 1
        if self._rerouted[task] > DETOURS:
            raise ExecutorError(outcome.error)
        return [] if task.kind == "warm" else [task]

    def _give_up(self, task: Task, error: BaseException) -> list[Task]:
        """A task that costs workers their lives is left, where the run can do without it.

        Of a chunk one picture may be to blame, or its batches grew too large: returns what is left
        of it as single batches.
        """
        if task.kind == "make-chunk":
            return self._break_up(task)
        if task.kind == "make":
            self._dead += task.trials
        elif task.kind == "measure":
            log.warning("these trials could not be measured: %s", ", ".join(task.trials))
        elif task.kind != "warm":
            raise ExecutorError(
                f"workers keep dying as soon as they begin ({error}): perhaps memory is too small "
                "for the models; take fewer workers or another device"
            ) from error
        return []

    def _break_up(self, chunk: Task) -> list[Task]:
        run = self._run
        there = {trial: run.read_record(trial) for trial in chunk.trials if run.has(trial)}
        done = done_records(there, self._plan)
        pictures = [trial for trial, record in done.items() if not record.failed]
        self._tracker.count(done, pictures[-1] if pictures else "")
        log.warning(
            "workers died of %d pictures, of which %d are stored: the others are made in batches "
            "of %d",
            *(len(chunk.trials), len(done), chunk.size),
        )
        left = [self._plan.trials_by_id[trial] for trial in chunk.trials if trial not in done]
        tasks = single_batches(chunk.job, left, chunk.size)
        return [replace(task, allow_failures=chunk.allow_failures) for task in tasks]


def _in_trouble(future: Future[Outcome]) -> bool:
    if future.cancelled() or future.exception() is not None:
        return True
    return isinstance(future.result(), Failed)


def make_tasks(job: Job, trials: Sequence[Trial], sizes: Described, workers: int) -> list[Task]:
    """Tasks for so many workers that make these trials, each of one kind of batch.

    Where batches may come to have more pictures than the first one, workers are to find it out, and
    get adaptive chunks of at most so many trials.
    """
    if sizes.most <= sizes.first:
        return single_batches(job, trials, sizes.first)
    chunk = max(sizes.first, min(sizes.most, -(-len(trials) // (CHUNKS_EACH * workers))))
    return [
        Task(job, "make-chunk", tuple(trial.id for trial in batch.trials), size=sizes.first)
        for batch in plan_batches(trials, chunk)
    ]


def single_batches(job: Job, trials: Sequence[Trial], size: int) -> list[Task]:
    """One task for each batch of at most `size`."""
    return [
        Task(job, "make", tuple(trial.id for trial in batch.trials), size=size)
        for batch in plan_batches(trials, size)
    ]


class CompletionTracker:
    """Counts what workers have stored: when a task is done, and within chunks while they are made.

    The meter hears of each trial once. sound: the kinds of which a picture has come out.
    """

    def __init__(self, run: RunFolder, plan: Plan, meter: ProgressMeter) -> None:
        self.sound: set[Kind] = set()
        self._run, self._plan, self._meter = run, plan, meter
        self._counted: set[str] = set()
        self._watched: set[str] = set()
        self._looked = float("-inf")

    def watch(self, trials: Iterable[str]) -> None:
        """Look for these while their tasks are at work.

        Trials that failed in an earlier start are there already; they count once their task is
        done.
        """
        self._watched = set(trials) - set(self._run.trial_ids())

    def look(self, *, at_once: bool = False) -> None:
        """Count what has come into the run folder, every few seconds at most or `at_once`."""
        now = time.monotonic()
        if not self._watched or (now - self._looked < COUNT_SECONDS and not at_once):
            return
        self._looked = now
        new: set[str] = set()
        with suppress(OSError):  # a shared folder may be away for a moment
            new = self._watched.intersection(self._run.trial_ids())
        stored = [trial for trial in new if self._run.record_path(trial).is_file()]
        pictures = [trial for trial in stored if self._run.sample_path(trial).is_file()]
        self.sound |= kinds(self._plan.trials_by_id[trial] for trial in pictures)
        self.count(stored, pictures[0] if pictures else "")

    def count(self, trials: Collection[str], picture: str) -> None:
        """These are stored; `picture` is one of them that has one, or ""."""
        if picture:
            self.sound |= kinds([self._plan.trials_by_id[picture]])
        new = [self._plan.trials_by_id[trial] for trial in trials if trial not in self._counted]
        self._counted.update(trials)
        self._watched.difference_update(trials)
        if new:
            self._meter.finished(new, self._picture(picture))

    def _picture(self, trial: str) -> np.ndarray | None:
        try:
            return self._run.read_sample(trial) if trial and self._meter.heard else None
        except StoreError:  # it was moved away in this moment; only the display wants it
            return None


class WorkerWatchdog:
    """Watches whether any worker is there. Dask itself would wait for ever and say nothing.

    A run without workers says so once, and ends after `patience` seconds.
    """

    def __init__(self, pool: WorkerPool, patience: float) -> None:
        self._pool, self._patience = pool, patience
        self._looked = time.monotonic()
        self._gone: float | None = None
        self._said = False

    def look_at_once(self) -> None:
        """Ask the next time, however short a time ago the last one was."""
        self._looked = float("-inf")

    def nobody_is_there(self) -> bool:
        """Ask the pool, once a second at most.

        Raises ExecutorError when there was no worker for as long as the run shall wait.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return self._gone is not None
        self._looked = now
        if self._pool.present():
            if self._said:
                log.warning("there are workers again; the run goes on")
            self._gone, self._said = None, False
            return False
        self._gone = now if self._gone is None else self._gone
        away = now - self._gone
        if away >= self._patience:
            raise ExecutorError(
                f"no worker that can do the work was there for {away:.0f} s: what was done until "
                "now is kept, and the same command goes on once there are workers again; where "
                "they may take longer to come, give it a longer --worker-timeout"
            )
        if away >= min(SAY_SECONDS, self._patience / 2) and not self._said:
            self._said = True
            log.warning(
                "no worker is there (they ended, or their time was up): waiting up to %.0f s for "
                "others",
                self._patience,
            )
        return True
