"""Verifying a run folder: the stored run against the run made again by the same steps."""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.families import FamilyError, LocateError, get_family
from workbench.families.determinism import deterministic
from workbench.families.hardware import card
from workbench.generation import CancelToken, GenerationError, Step
from workbench.store import Record, RunFolder, StoreError, conditions_here
from workbench.study import Plan, Study, StudyError
from workbench.sweep import Progress, ProgressCallback
from workbench.verify import stored as files
from workbench.verify.conditions import Causes, History, check_weights
from workbench.verify.diff import compare
from workbench.verify.remake import Remaker, choose, planned_view
from workbench.verify.result import DIFFERENT, UNCHECKED, Group, Item, Verification

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager

TRIALS = 4
SEEDS = 10_000
"""Seeds that are drawn where none is given lie below this."""
AGAIN = 'it failed by an error, and "workbench run" tries again'
_MODEL_ERRORS = (FamilyError, GenerationError, LocateError, StudyError, OSError)


def verify_run(
    folder: str | Path,
    *,
    trials: int = TRIALS,
    seed: int | None = None,
    report: str | Path | None = None,
    manager: ModelManager | None = None,
    models: str | Path | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> Verification | None:
    """Verify a run folder without writing to it.

    Args:
        folder: the run folder.
        trials: how many trials are made again, chosen by chance; 0 makes none.
        seed: decides which; None draws one, so that nobody can know which will be made again.
        report: a report of the run; None checks that in the folder, if there is one.
        manager: loaded models of the study's family; None loads them.
        models: the folder from which they are loaded then, if not the usual one.
        progress: called with a `Progress` whose count is pictures, at most five times a second.
        cancel: raise it from any thread to stop.

    Returns:
        What was found; None after a cancel.

    Raises:
        StoreError: the folder is no run, or changed while it was verified; there is no such report.
    """
    cancel = cancel or CancelToken()
    seed = secrets.randbelow(SEEDS) if seed is None else seed
    run = RunFolder.open(folder)
    before = files.run_digest(run)
    told = files.check_report(run, before, report)
    meter = _Meter(progress)
    meter.phase("checking hashes")
    stored = files.read_stored(run)
    study, group = files.check_study(stored)
    groups = [*stored.trouble, group]
    now: dict[str, Any] = {}
    history = History(stored.manifest, now)
    if study is None:  # hashes need no study
        groups.append(files.check_pictures(stored, None))
    else:
        with deterministic(_threads(stored), study.runtime.determinism):
            job = _Job(stored, study, manager, models, meter, cancel)
            now, history = job.now, job.history
            groups += job.check(trials, seed)
    if cancel.cancelled:
        return None
    if files.run_digest(run) != before:
        raise StoreError(f"{run.path} changed while it was verified: wait until its run has ended")
    meter.phase("done")
    return Verification(
        run=str(folder),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        digest=before,
        groups=(*groups, *told),
        conditions=history.all if now else {},
        now=now,
        seed=seed,
    )


class _Job:
    """The checks of one run whose study can be read."""

    def __init__(
        self,
        stored: files.StoredRun,
        study: Study,
        manager: ModelManager | None,
        models: str | Path | None,
        meter: _Meter,
        cancel: CancelToken,
    ) -> None:
        self.stored, self.study, self.manager = stored, study, manager
        self.meter, self.cancel = meter, cancel
        self.models = models if manager is None else manager.models_dir
        if manager is None:
            self.family = get_family(study.family).with_judges(study.judges)
            self.device = _device(stored.manifest)
        else:
            self.family, self.device = manager.family, manager.device
        self.now = conditions_here(self.device, study.dtype)
        self.history = History(stored.manifest, self.now)

    def check(self, count: int, seed: int) -> list[Group]:
        """All groups after the study's own."""
        elsewhere = self.study.made_elsewhere
        size = elsewhere.size if elsewhere else self.family.resolution
        sources, group = files.check_sources(self.stored, self.study, size)
        plan: Plan | None = None
        reason = "a source is not the one the run was made with"
        if set(sources) == set(self.study.sources):
            try:
                plan = files.plan_stored(self.stored, self.study, sources, size, self.models)
            except StudyError as error:
                reason = " ".join(str(error).split())
        if plan is not None and not plan.knows_reading:
            plan, reason = None, "its prompts may be cut, and there is no tokenizer to tell how"
        weights = check_weights(self.family, plan, self.study, self.stored.manifest, self.models)
        groups = [weights, group, files.check_pictures(self.stored, plan)]
        if plan is None:
            groups.append(Group.unchecked("cells", "cells as the study has them", reason))
            groups.append(Group.unchecked("table", "readings in the table", reason))
            return groups + _without_models(reason)
        planned = compare(self.stored.view(plan), planned_view(plan), alike=False)
        groups.append(files.check_cells(self.stored, plan, planned))
        groups.append(files.check_table(self.stored, plan))
        other = tuple(item.name for item in weights.items if item.outcome == DIFFERENT)
        try:
            return groups + self._with_models(plan, other, count, seed)
        except _MODEL_ERRORS as error:
            return groups + _without_models(" ".join(str(error).split()))

    def _with_models(
        self, plan: Plan, other_weights: tuple[str, ...], count: int, seed: int
    ) -> list[Group]:
        """The groups that compare the stored run with the one made again."""
        import torch

        from workbench.measuring import Measurer
        from workbench.sweep.steps import load_manager

        stored = self.stored.view(plan)
        mine = stored.records.values()
        count = 0 if self.study.made_elsewhere else count
        chosen = choose([record for record in mine if not record.retry], count, seed)
        self.meter.expect(sum(not record.failed for record in mine), chosen)
        self.meter.phase("loading")
        study = _computed_on(self.study, self.device)
        manager = self.manager or load_manager(study, self.device, models_dir=self.models)
        threads = torch.get_num_threads()
        now = {"device": self.device, "dtype": manager.dtype, "threads": threads}
        now |= card(self.device)
        causes = Causes(self.history, other_weights, now)
        remaker = Remaker(self.stored, manager, Measurer(plan, manager), causes, self.cancel)
        self.meter.phase("measuring again")
        again = remaker.measured(self.meter.measured)
        maps = remaker.check_maps(again)
        readings = remaker.check_readings(compare(stored, again, alike=False))
        self.meter.phase("making again")
        made = remaker.check_trials(chosen, self.meter.step)
        if not chosen:
            nothing = "the study has no picture here" if count else "none was asked for"
            if self.study.made_elsewhere:
                nothing = "pictures that were made elsewhere cannot be made again"
            made = replace(made, note=nothing)
        retried = tuple(
            Item(f"trial {record.trial.id}", UNCHECKED, detail=f"{record.failed}; {AGAIN}")
            for record in mine
            if record.retry
        )
        return [maps, readings, replace(made, items=(*made.items, *retried))]


def _device(manifest: Any) -> str:
    """The device that the run was made on, where this machine has it; else the CPU."""
    from workbench.sweep.devices import device_problem

    device = str(manifest.get("device") or "cpu")
    return "cpu" if device_problem(device) else device


def _computed_on(study: Study, device: str) -> Study:
    """The study without what a CPU cannot do and does not change a pixel: models on the move."""
    if device != "cpu" or study.runtime.offload == "none":
        return study
    still = study.runtime.model_copy(update={"offload": "none"})
    return study.model_copy(update={"runtime": still})


def _threads(stored: files.StoredRun) -> int | None:
    """The number of threads most pictures were made with, if this machine has as many."""
    made = (record.made_by.get("threads") for record in stored.records.values())
    counts = Counter(int(threads) for threads in made if threads)
    if counts:
        wanted = counts.most_common(1)[0][0]
    else:
        wanted = int((stored.manifest.get("deterministic") or {}).get("threads") or 0)
    return wanted if 0 < wanted <= (os.cpu_count() or 1) else None


def _without_models(reason: str) -> list[Group]:
    return [
        Group.unchecked("maps", "control maps", reason),
        Group.unchecked("readings", "pictures measured again", reason),
        Group.unchecked("trials", "trials made again", reason),
    ]


class _Meter:
    """Counts pictures and tells the time left: the pace so far, and the records' own seconds."""

    def __init__(self, callback: ProgressCallback | None) -> None:
        self._callback = callback
        self._phase = ""
        self._done = self._total = self._pictures = 0
        self._to_make = 0.0
        self._started = time.monotonic()
        self._last = float("-inf")

    def expect(self, pictures: int, chosen: Sequence[Record]) -> None:
        """What lies ahead: pictures to measure, and trials to make."""
        self._pictures, self._total = pictures, pictures + len(chosen)
        self._to_make = sum(
            float(r.made_by.get("seconds") or 0) * int(r.made_by.get("batch_size") or 1)
            for r in chosen
        )

    def phase(self, name: str) -> None:
        """Enter another phase."""
        self._phase, self._started = name, time.monotonic()
        if name == "done":
            self._done, self._to_make = self._total, 0.0
        self._report(force=True)

    def measured(self, pictures: int) -> None:
        """So many more pictures are measured."""
        self._done += pictures
        self._report()

    def step(self, event: Step) -> None:
        """A step of a batch that is made again."""
        if event.done == event.total:
            self._done += len({trial.id for trial in event.trials})
        self._report()

    def _seconds_left(self) -> float | None:
        if self._phase == "measuring again" and self._done:
            pace = (time.monotonic() - self._started) / self._done
            return pace * (self._pictures - self._done) + self._to_make
        if self._phase == "making again":
            return self._to_make * (self._total - self._done) / max(1, self._total - self._pictures)
        return 0.0 if self._phase == "done" else None

    def _report(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self._callback is None or (not force and now - self._last < 0.2):
            return
        self._last = now
        self._callback(Progress(self._done, self._total, self._seconds_left(), self._phase))
