"""Running a study by workers: tasks handed out, outcomes counted, deaths and cancels survived."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from workbench.families import Family
from workbench.families.locate import is_offline
from workbench.generation.batching import plan_batches
from workbench.generation.cancel import CancelToken
from workbench.generation.recovery import FailureBudget
from workbench.paths import MODELS_VARIABLE, models_dir
from workbench.store import Manifest, RunFolder
from workbench.study import Plan, Study, Trial
from workbench.sweep.absence import Absence
from workbench.sweep.batches import chunks, done_record
from workbench.sweep.errors import ExecutorError
from workbench.sweep.executors import Crew, ExecutorChoice, opened
from workbench.sweep.greeting import check_workers, signs
from workbench.sweep.lots import MAKING, expected_workers, make_tasks, single_batches
from workbench.sweep.progress import ProgressMeter
from workbench.sweep.tally import Tally
from workbench.sweep.tasks import Facts, Job, Outcome, Task, own_versions
from workbench.sweep.worker import perform

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
DETOURS = 10
"""So many unfit workers may turn one task away."""
DIED = "the worker process died again and again while it made this picture"


def run_with_workers(
    run: RunFolder,
    study: Study,
    plan: Plan,
    family: Family,
    choice: ExecutorChoice,
    batch_size: int | Literal["auto"],
    meter: ProgressMeter,
    cancel: CancelToken,
) -> None:
    """Everything between the plan and the table, by the workers of `choice`.

    Workers write trial folders themselves. This process loads no model: it hands out ids, counts,
    and writes the manifest.
    """
    least = 1 if batch_size == "auto" else batch_size
    most = max(1, len(plan_batches(plan.trials, least)))
    with signs(run) as (probe, stop), opened(choice, most) as crew:
        facts = crew.greet(probe)
        check_workers(facts)
        job = Job(
            folder=str(run.path.resolve()),
            study=study.model_dump_json(),
            family=family.model_dump_json(),
            models_dir=str(models_dir().resolve()) if os.environ.get(MODELS_VARIABLE) else None,
            offline=is_offline(),
            device=crew.device,
            threads=crew.threads,
            batch_size=batch_size,
            stop_file=str(stop),
            versions=own_versions(),
            probe=probe,
        )
        desk = Desk(crew, run, plan, meter, cancel, stop, Absence(crew, choice.patience))
        try:
            _stages(desk, job, choice, facts)
        except BaseException:
            desk.stop()
            raise


def _stages(desk: Desk, job: Job, choice: ExecutorChoice, facts: Sequence[Facts]) -> None:
    """One stage after the other; after a cancel the rest are skipped."""
    run, plan, meter = desk.run, desk.plan, desk.meter
    warm = [Task(job, "warm")] * (len(facts) - 1)
    prepared = desk.do([Task(job, "prepare"), *warm])
    if prepared is None:
        return
    workers = [
        {"name": worker.name, "device": worker.device or job.device or "its own"}
        for worker in sorted(facts, key=lambda worker: worker.name)
    ]
    who: dict[str, Any] = {"kind": choice.kind, "workers": workers, "threads": job.threads}
    if choice.scheduler:
        who["scheduler"] = choice.scheduler
    run.write_manifest(Manifest.model_validate({**prepared["manifest"], "executor": who}))
    run.write_cells(plan.cells)
    meter.phase("preparing")
    trials = [plan.trials_by_id[trial] for trial in prepared["missing"]]
    unmeasured, size, most = (prepared[key] for key in ("unmeasured", "batch_size", "most"))
    meter.count_done(len(plan.trials) - len(trials))
    if trials or unmeasured:
        run.remove_table()  # a report on a killed run must not show the table of the last start
        desk.do([Task(job, "refer")])
    meter.phase("measuring")
    desk.do(
        Task(job, "measure", tuple(ids), tuple(tuple(unmeasured[trial]) for trial in ids))
        for ids in chunks(list(unmeasured), size)
    )
    meter.phase("generating")
    meter.begin(trials)
    desk.expect(trials, made_before=len(trials) < len(plan.trials), lots=most > size)
    desk.do(make_tasks(job, trials, size, most, expected_workers(choice, len(facts))))
    if desk.dead:
        log.warning("these trials could not be made (%s): %s", DIED, ", ".join(desk.dead))
        desk.do([Task(job, "fail", tuple(desk.dead), reason=DIED)])
    if not desk.stopped:
        meter.phase("finishing")
        desk.do([Task(job, "finish")])


class Desk:
    """Hands out tasks, and looks after what comes back.

    dead: ids of trials whose workers kept dying. stopped: after a cancel; nothing is handed out.
    tally: counts what is stored.
    """

    def __init__(
        self,
        crew: Crew,
        run: RunFolder,
        plan: Plan,
        meter: ProgressMeter,
        cancel: CancelToken,
        stop: Path,
        absence: Absence,
    ) -> None:
        self.crew, self.run, self.plan, self.meter = crew, run, plan, meter
        self.tally = Tally(run, plan, meter)
        self.dead: list[str] = []
        self._cancel, self._stop, self._absence = cancel, stop, absence
        self._failures = FailureBudget.of(len(plan.trials))
        self._turned_away: Counter[Task] = Counter()
        self._unfit: set[str] = set()
        self.stopped = False

    def expect(self, trials: Sequence[Trial], *, made_before: bool, lots: bool) -> None:
        """What is to be made, whether in lots, and whether earlier starts have made some."""
        self.tally.made = made_before
        self._failures = FailureBudget.of(len(trials))
        if lots:
            self.tally.watch([trial.id for trial in trials])

    def do(self, tasks: Any) -> dict[str, Any] | None:
        """Have tasks done, until the last has come back.

        After a cancel those at work are waited for; they stop at their next step. Returns what
        "prepare" found, if that was among the tasks and was not stopped.
        Raises ExecutorError where a task cannot be done, or nobody is there to do it.
        """
        prepared: dict[str, Any] | None = None
        open_tasks: dict[Future[Outcome], Task] = {}
        waiting = [] if self.stopped else list(tasks)
        while open_tasks or waiting:
            nobody = self._absence.look()
            for future in self.crew.stranded(open_tasks):
                waiting.append(open_tasks.pop(future))
                future.cancel()
            if waiting and not nobody:
                open_tasks |= {self.crew.submit(perform, task): task for task in waiting}
                waiting = []
            done, _ = wait(open_tasks, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            self.tally.look()
            if not open_tasks:
                time.sleep(POLL_SECONDS)
            if self._cancel.cancelled and not self.stopped:
                self.stop()
                self.crew.drop(open_tasks)
                waiting = []
            if not done and nobody and self.stopped:
                break  # nobody is there who could still write
            for future in sorted(done, key=_in_trouble):  # what was made counts before what failed
                task = open_tasks.pop(future)
                again, outcome = self._settle(task, future)
                waiting += again
                if outcome is not None and outcome.prepared:
                    prepared = outcome.prepared
        return prepared

    def stop(self) -> None:
        """Let every worker stop at its next step."""
        self.stopped = True
        try:
            self._stop.touch()
        except OSError as error:  # a disk may be full; what ends the run must still be told
            log.warning("workers finish their work first: %s (%s)", self._stop, error.strerror)

    def _settle(self, task: Task, future: Future[Outcome]) -> tuple[list[Task], Outcome | None]:
        """What a task came to: (tasks to try instead, its outcome)."""
        try:
            outcome = future.result()
        except CancelledError:
            if self.stopped:
                return [], None
            raise ExecutorError(self.crew.lost()) from None
        except self.crew.lost_work as error:
            return self._bury(task, error), None
        if outcome.unfit:
            return self._elsewhere(task, outcome), None
        if outcome.error:
            if task.kind in MAKING and not task.lenient and self._bears(task):
                return [replace(task, lenient=True)], None
            if outcome.fault:
                raise RuntimeError(f"a worker failed:\n{outcome.error}")
            raise ExecutorError(outcome.error)
        if task.kind in (*MAKING, "fail"):
            self.tally.count(outcome.stored, outcome.picture)
        return [], outcome

    def _bears(self, task: Task) -> bool:
        """Whether the run can go on without these pictures, or none seem to be possible."""
        self.tally.look(at_once=True)
        return self.tally.made or self._failures.tolerates(len(task.trials))

    def _elsewhere(self, task: Task, outcome: Outcome) -> list[Task]:
        """The task for another worker than the one that cannot take part."""
        if outcome.unfit not in self._unfit:
            self._unfit.add(outcome.unfit)
            if not self.crew.ban(outcome.unfit):
                raise ExecutorError(outcome.error)
            log.warning("%s. Until then its work goes to the others", outcome.error)
            self._absence.doubt()  # or the task would go to it again where there are no others
        self._turned_away[task] += 1
        if self._turned_away[task] > DETOURS:
            raise ExecutorError(outcome.error)
        return [] if task.kind == "warm" else [task]

    def _bury(self, task: Task, error: BaseException) -> list[Task]:
        """A task that costs workers their lives is left, where the run can do without it.

        Of a lot one picture may be to blame, or its batches grew too large: returns what is left of
        it as single batches.
        """
        if task.kind == "lot":
            return self._break_up(task)
        if task.kind == "make":
            self.dead += task.trials
        elif task.kind == "measure":
            log.warning("these trials could not be measured: %s", ", ".join(task.trials))
        elif task.kind != "warm":
            raise ExecutorError(
                f"workers keep dying as soon as they begin ({error}): perhaps memory is too small "
                "for the models; take fewer workers or another device"
            ) from error
        return []

    def _break_up(self, lot: Task) -> list[Task]:
        records = {trial: done_record(self.run, trial) for trial in lot.trials}
        stored = [record for record in records.values() if record is not None]
        pictures = [record.trial.id for record in stored if not record.failed]
        self.tally.count([record.trial.id for record in stored], pictures[-1] if pictures else "")
        left = [self.plan.trials_by_id[t] for t, record in records.items() if record is None]
        log.warning(
            "workers died of %d pictures, of which %d are stored: the others are made in batches "
            "of %d",
            *(len(lot.trials), len(stored), lot.size),
        )
        return single_batches(lot.job, left, lot.size, lenient=lot.lenient)


def _in_trouble(future: Future[Outcome]) -> bool:
    if future.cancelled() or future.exception() is not None:
        return True
    return bool(future.result().error)
