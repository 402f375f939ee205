"""Verifying a run folder: every hash, every reading, and some pictures made again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.families import Family, FamilyError, LocateError, get_family
from workbench.families.determinism import steady
from workbench.generation import CancelToken, Step
from workbench.store import Record, RunFolder, StoreError
from workbench.study import Plan, Study, StudyError, make_plan
from workbench.sweep import Progress, ProgressCallback
from workbench.verify import files
from workbench.verify.conditions import changes, conditions_now, explanation
from workbench.verify.digest import run_digest
from workbench.verify.result import DIFFERENT, UNCHECKED, Group, Item, Verification

if TYPE_CHECKING:
    from workbench.families.loading import ModelShelf

TRIALS = 4
SEED = 0
_MODEL_ERRORS = (FamilyError, LocateError, StudyError, OSError)


def verify_run(
    folder: str | Path,
    *,
    trials: int = TRIALS,
    seed: int = SEED,
    shelf: ModelShelf | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> Verification | None:
    """Verify a run folder without writing to it.

    Args:
        folder: the run folder.
        trials: how many trials are made again, chosen by chance; 0 makes none.
        seed: decides which.
        shelf: loaded models of the study's family; None loads them.
        progress: called with a `Progress` whose count is pictures, at most five times a second.
        cancel: raise it from any thread to stop.

    Returns:
        What was found; None after a cancel.

    Raises:
        StoreError: the folder is no run, or changed while it was verified.
    """
    cancel = cancel or CancelToken()
    run = RunFolder.open(folder)
    before = run_digest(run)
    meter = _Meter(progress)
    meter.phase("checking hashes")
    manifest, groups = _manifest(run)
    found = files.read_trials(run)
    study, group = files.check_study(run, manifest)
    groups.append(group)
    now: dict[str, Any] = {}
    changed: dict[str, tuple[str, str]] = {}
    if study is not None:
        with steady(_threads(found.whole.values(), manifest)):
            family = get_family(study.family) if shelf is None else shelf.family
            device = "cpu" if shelf is None else shelf.device
            now = conditions_now(device, study.dtype)
            changed = changes(manifest, now)
            job = _Job(run, study, family, manifest, found, changed, shelf, meter, cancel)
            groups += job.check(trials, seed)
    if cancel.cancelled:
        return None
    if run_digest(run) != before:
        raise StoreError(f"{run.path} changed while it was verified: wait until its run has ended")
    meter.phase("done")
    return Verification(
        run=str(folder),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        digest=before,
        groups=tuple(groups),
        conditions=changed,
        now=now,
        seed=seed,
    )


class _Job:
    """The checks of one run whose study can be read."""

    def __init__(
        self,
        run: RunFolder,
        study: Study,
        family: Family,
        manifest: dict[str, Any],
        found: files.Found,
        changed: dict[str, tuple[str, str]],
        shelf: ModelShelf | None,
        meter: _Meter,
        cancel: CancelToken,
    ) -> None:
        self.run, self.study, self.family = run, study, family
        self.manifest, self.found, self.changed = manifest, found, changed
        self.shelf, self.meter, self.cancel = shelf, meter, cancel

    def check(self, count: int, seed: int) -> list[Group]:
        """All groups after the study's own."""
        models = None if self.shelf is None else self.shelf.models_dir
        weights = files.check_weights(self.family, self.manifest, models)
        groups = [weights]
        sources, group = files.check_sources(
            self.run, self.study, self.manifest, self.family.resolution
        )
        groups.append(group)
        if set(sources) != set(self.study.sources):
            return [*groups, *self._without_plan("a source is not the one the run was made with")]
        try:
            plan = make_plan(self.study, resolution=self.family.resolution, sources=sources)
        except StudyError as error:
            return [*groups, *self._without_plan(" ".join(str(error).split()))]
        groups.append(files.check_pictures(self.found, [trial.id for trial in plan.trials]))
        groups.append(files.check_table(self.run, self.found, [cell.id for cell in plan.cells]))
        other = tuple(item.name for item in weights.items if item.outcome == DIFFERENT)
        try:
            groups += self._with_models(plan, other, count, seed)
        except _MODEL_ERRORS as error:
            reason = " ".join(str(error).split())
            groups.append(_unchecked("readings", "pictures measured again", reason))
            groups.append(_unchecked("trials", "trials made again", reason))
        return groups

    def _without_plan(self, reason: str) -> list[Group]:
        return [
            files.check_pictures(self.found, ()),
            _unchecked("table", "readings in the table", reason),
            _unchecked("readings", "pictures measured again", reason),
            _unchecked("trials", "trials made again", reason),
        ]

    def _with_models(
        self, plan: Plan, other_weights: tuple[str, ...], count: int, seed: int
    ) -> list[Group]:
        from workbench.measuring import Measurer
        from workbench.sweep.runner import load_shelf
        from workbench.verify.remake import check_trials, choose
        from workbench.verify.remeasure import check_readings

        mine = [self.found.whole[t.id] for t in plan.trials if t.id in self.found.whole]
        alive = [record for record in mine if not record.failed]
        chosen = choose(alive, count, seed)
        self.meter.expect(len(alive), chosen)
        self.meter.phase("loading")
        shelf = self.shelf or load_shelf(self.study)
        measurer = Measurer(plan, shelf)

        def explain(record: Record, otherwise: str) -> str:
            return explanation(self._conditions_of(record), other_weights, otherwise)

        self.meter.phase("measuring again")
        readings = check_readings(
            self.run, self.found, measurer, explain, self.cancel, self.meter.measured
        )
        self.meter.phase("making again")

        made = check_trials(
            self.run, chosen, measurer.source_maps, shelf, explain, self.cancel, self.meter.step
        )
        if not chosen:
            nothing = "the study has no picture here" if count else "none was asked for"
            made = Group("trials", "trials made again", (), note=nothing)
        return [readings, made]

    def _conditions_of(self, record: Record) -> dict[str, tuple[str, str]]:
        """What has changed since this very record was made."""
        import torch

        now = {"device": "cpu", "dtype": self.study.dtype, "threads": torch.get_num_threads()}
        if self.shelf is not None:
            now |= {"device": self.shelf.device, "dtype": self.shelf.dtype}
        own = {
            name: (str(record.made_by[name]), str(value))
            for name, value in now.items()
            if name in record.made_by and record.made_by[name] != value
        }
        return {**self.changed, **own}


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
        self._pictures = pictures
        self._total = pictures + len(chosen)
        self._to_make = sum(
            float(r.made_by.get("seconds") or 0) * int(r.made_by.get("batch_size") or 1)
            for r in chosen
        )

    def phase(self, name: str) -> None:
        """Enter another phase."""
        self._phase = name
        self._started = time.monotonic()
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

    @property
    def seconds_left(self) -> float | None:
        """Estimate for the rest; None while nothing is known."""
        elapsed = time.monotonic() - self._started
        if self._phase == "measuring again" and self._done:
            pace = elapsed / self._done
            return pace * (self._pictures - self._done) + self._to_make
        if self._phase == "making again":
            return self._to_make * (self._total - self._done) / max(1, self._total - self._pictures)
        return 0.0 if self._phase == "done" else None

    def _report(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self._callback is None or (not force and now - self._last < 0.2):
            return
        self._last = now
        self._callback(Progress(self._done, self._total, self.seconds_left, self._phase))


def _manifest(run: RunFolder) -> tuple[dict[str, Any], list[Group]]:
    """The manifest, and a group that says so if it is missing or damaged."""
    try:
        manifest = run.read_json("manifest.json")
    except StoreError as error:
        item = Item("manifest.json", DIFFERENT, detail=str(error))
        return {}, [Group("manifest", "manifest", (item,))]
    if not isinstance(manifest, dict):
        item = Item("manifest.json", UNCHECKED, detail="the run has no manifest")
        return {}, [Group("manifest", "manifest", (item,))]
    return manifest, []


def _threads(records: Any, manifest: dict[str, Any]) -> int | None:
    """The number of threads most pictures were made with, if this machine has as many."""
    import os

    counts = Counter(int(r.made_by["threads"]) for r in records if r.made_by.get("threads"))
    if counts:
        wanted = counts.most_common(1)[0][0]
    else:
        wanted = int((manifest.get("deterministic") or {}).get("threads") or 0)
    return wanted if 0 < wanted <= (os.cpu_count() or 1) else None


def _unchecked(name: str, what: str, reason: str) -> Group:
    return Group(name, what, (Item(what, UNCHECKED, detail=reason),))
