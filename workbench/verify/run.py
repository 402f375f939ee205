"""Verifying a run folder: every hash, every reading, and some pictures made again."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.families import Family, FamilyError, LocateError, get_family
from workbench.families.determinism import deterministic
from workbench.generation import CancelToken, GenerationError
from workbench.store import Record, RunFolder, StoreError, conditions_here
from workbench.study import Plan, Study, StudyError, make_plan
from workbench.sweep import ProgressCallback
from workbench.verify import files
from workbench.verify.chunks import edited_texts
from workbench.verify.conditions import explanation
from workbench.verify.digest import run_digest
from workbench.verify.facts import check_cells, had_another_study
from workbench.verify.history import Changes, History
from workbench.verify.meter import Meter
from workbench.verify.page import check_report
from workbench.verify.result import DIFFERENT, UNCHECKED, Group, Item, Verification
from workbench.verify.weights import check_weights

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
    before = run_digest(run)
    told = check_report(run, before, report)
    meter = Meter(progress)
    meter.phase("checking hashes")
    manifest, groups = _manifest(run)
    found = files.read_trials(run)
    study, group = files.check_study(run, manifest)
    groups.append(group)
    now: dict[str, Any] = {}
    changed: Changes = {}
    if study is not None:
        with deterministic(_threads(found.whole.values(), manifest)):
            chosen = get_family(study.family).with_judges(study.judges)
            family = chosen if manager is None else manager.family
            device = _device(manifest) if manager is None else manager.device
            now = conditions_here(device, study.dtype)
            history = History(manifest, now)
            changed = history.all
            job = _Job(run, study, family, manifest, found, history, manager, device, meter, cancel)
            groups += job.check(trials, seed)
    else:  # hashes need no study
        groups.append(files.check_pictures(found, ()))
    if cancel.cancelled:
        return None
    if run_digest(run) != before:
        raise StoreError(f"{run.path} changed while it was verified: wait until its run has ended")
    meter.phase("done")
    return Verification(
        run=str(folder),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        digest=before,
        groups=(*groups, *told),
        conditions=changed,
        now=now,
        seed=seed,
    )


def _device(manifest: dict[str, Any]) -> str:
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


class _Job:
    """The checks of one run whose study can be read."""

    def __init__(
        self,
        run: RunFolder,
        study: Study,
        family: Family,
        manifest: dict[str, Any],
        found: files.Found,
        history: History,
        manager: ModelManager | None,
        device: str,
        meter: Meter,
        cancel: CancelToken,
    ) -> None:
        self.run, self.study, self.family = run, study, family
        self.manifest, self.found, self.history = manifest, found, history
        self.manager, self.device, self.meter, self.cancel = manager, device, meter, cancel

    def check(self, count: int, seed: int) -> list[Group]:
        """All groups after the study's own."""
        sources, group = files.check_sources(
            self.run, self.study, self.manifest, self.family.resolution
        )
        plan: Plan | None = None
        reason = "a source is not the one the run was made with"
        if set(sources) == set(self.study.sources):
            try:
                plan = make_plan(self.study, resolution=self.family.resolution, sources=sources)
            except StudyError as error:
                reason = " ".join(str(error).split())
        models = None if self.manager is None else self.manager.models_dir
        weights = check_weights(self.family, plan, self.manifest, models)
        groups = [weights, group]
        if plan is None:
            return [*groups, *self._without_plan(reason)]
        earlier = had_another_study(self.manifest)
        edited = edited_texts(self.found, plan, earlier)
        trial_ids = [trial.id for trial in plan.trials]
        groups.append(files.check_pictures(self.found, trial_ids, edited))
        groups.append(check_cells(self.found, plan, earlier))
        cells = [cell.id for cell in plan.cells]
        groups.append(files.check_table(self.run, self.found, cells, earlier))
        other = tuple(item.name for item in weights.items if item.outcome == DIFFERENT)
        try:
            groups += self._with_models(plan, other, count, seed)
        except _MODEL_ERRORS as error:
            groups += _without_models(" ".join(str(error).split()))
        return groups

    def _without_plan(self, reason: str) -> list[Group]:
        return [
            files.check_pictures(self.found, ()),
            _unchecked("cells", "cells as the study has them", reason),
            _unchecked("table", "readings in the table", reason),
            *_without_models(reason),
        ]

    def _with_models(
        self, plan: Plan, other_weights: tuple[str, ...], count: int, seed: int
    ) -> list[Group]:
        from workbench.measuring import Measurer
        from workbench.sweep.steps import load_manager
        from workbench.verify.maps import check_maps
        from workbench.verify.remake import check_trials, choose
        from workbench.verify.remeasure import check_readings

        mine = [self.found.whole[t.id] for t in plan.trials if t.id in self.found.whole]
        alive = [record for record in mine if not record.failed]
        retried = tuple(
            Item(f"trial {record.trial.id}", UNCHECKED, detail=f"{record.failed}; {AGAIN}")
            for record in mine
            if record.retry
        )
        chosen = choose([record for record in mine if not record.retry], count, seed)
        self.meter.expect(len(alive), chosen)
        self.meter.phase("loading")
        manager = self.manager or load_manager(_computed_on(self.study, self.device), self.device)
        measurer = Measurer(plan, manager)

        def explain_readings(record: Record, otherwise: str) -> str:
            changed = self._with_own(record, self.history.since_made(record))
            return explanation(changed, other_weights, otherwise)

        def explain_picture(record: Record, otherwise: str) -> str:
            changed = self._with_own(record, self.history.when_made(record))
            return explanation(changed, other_weights, otherwise)

        self.meter.phase("measuring again")
        why = explanation(self.history.all, other_weights, "the kept map was edited")
        maps = check_maps(self.run, measurer, why)
        readings = check_readings(
            self.run, self.found, measurer, manager, explain_readings, self.cancel,
            self.meter.measured,
        )  # fmt: skip
        self.meter.phase("making again")
        made = check_trials(
            self.run, chosen, measurer.source_maps, manager, explain_picture, self.cancel,
            self.meter.step,
        )  # fmt: skip
        if not chosen:
            nothing = "the study has no picture here" if count else "none was asked for"
            made = Group("trials", "trials made again", (), note=nothing)
        made = replace(made, items=(*made.items, *retried))
        return [maps, readings, made]

    def _with_own(self, record: Record, changed: Changes) -> Changes:
        """What has changed, that which the record itself says of its making included."""
        import torch

        dtype = self.study.dtype if self.manager is None else self.manager.dtype
        now = {"device": self.device, "dtype": dtype, "threads": torch.get_num_threads()}
        own = {
            name: (str(record.made_by[name]), str(value))
            for name, value in now.items()
            if name in record.made_by and record.made_by[name] != value
        }
        return {**changed, **own}


def _manifest(run: RunFolder) -> tuple[dict[str, Any], list[Group]]:
    """The manifest, and a group that says so if it is missing or damaged."""
    try:
        manifest = run.read_manifest()
    except StoreError as error:
        item = Item("manifest.json", DIFFERENT, detail=str(error))
        return {}, [Group("manifest", "manifest", (item,))]
    if manifest is None:
        item = Item("manifest.json", UNCHECKED, detail="the run has no manifest")
        return {}, [Group("manifest", "manifest", (item,))]
    return manifest.as_json(), []


def _threads(records: Any, manifest: dict[str, Any]) -> int | None:
    """The number of threads most pictures were made with, if this machine has as many."""
    import os

    counts = Counter(int(r.made_by["threads"]) for r in records if r.made_by.get("threads"))
    if counts:
        wanted = counts.most_common(1)[0][0]
    else:
        wanted = int((manifest.get("deterministic") or {}).get("threads") or 0)
    return wanted if 0 < wanted <= (os.cpu_count() or 1) else None


def _without_models(reason: str) -> list[Group]:
    return [
        _unchecked("maps", "control maps", reason),
        _unchecked("readings", "pictures measured again", reason),
        _unchecked("trials", "trials made again", reason),
    ]


def _unchecked(name: str, what: str, reason: str) -> Group:
    return Group(name, what, (Item(what, UNCHECKED, detail=reason),))
