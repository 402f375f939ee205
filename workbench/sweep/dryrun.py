"""What a run would compute, and about how long it would take."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workbench.families import get_family
from workbench.store import RunFolder
from workbench.study import Plan, Study, Trial, make_plan
from workbench.sweep.devices import own_device
from workbench.sweep.fitting import check_fit
from workbench.sweep.progress import cost

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager

OVERHEAD = 1.15
"""Measuring and storing, as a factor on the time of generation."""
CALIBRATION_STEPS = 3


@dataclass(frozen=True)
class DryRun:
    """The figures of a plan.

    cells: cells of the grid. trials_before: pictures, one for each cell (in a pair of controls, for
    each two). trials_after: without those that would be identical. cached: of these, stored in the
    folder already. seconds_estimate: for the rest; None if no speed is known. speed_from: "stored"
    (the run's own records), "calibration" (a few steps on this machine) or "".
    """

    cells: int
    trials_before: int
    trials_after: int
    cached: int
    seconds_estimate: float | None
    speed_from: str = ""

    @property
    def to_generate(self) -> int:
        """Trials without a sample."""
        return self.trials_after - self.cached


def dry_run(
    study: Study,
    folder: str | Path,
    *,
    manager: ModelManager | None = None,
    calibrate: bool = True,
    batch_size: int | None = None,
    device: str | None = None,
) -> DryRun:
    """Plan a study and estimate its time, writing nothing.

    Args:
        folder: the run folder to be; it need not exist.
        manager: models for the calibration; None loads them.
        calibrate: whether models may be loaded to time a few steps when no speed is stored.
        batch_size: pictures at once; None takes the study's own.
        device: where the few steps are timed; None takes the one of `run_study`.

    Raises:
        LocateError: models are missing. FamilyError: the device or the family cannot do it.
        GenerationError: there is not enough memory.
    """
    chosen = study.judges
    family = get_family(study.family).with_judges(chosen) if manager is None else manager.family
    plan = make_plan(study, resolution=family.resolution)
    if manager is None and calibrate:
        from workbench.sweep.require import require_plan

        calibrate = not require_plan(study, plan, family)  # nothing is downloaded for an estimate
    summary = plan.describe()
    stored = _stored(Path(folder), plan)
    missing = [trial for trial in plan.trials if trial.id not in stored]
    seconds: float | None = 0.0
    origin = ""
    if missing:
        pace = _stored_pace(list(stored.values()))
        origin = "stored" if pace else ""
        if pace is None and calibrate:
            size = batch_size or study.batch_size
            pace = _calibrated_pace(study, plan, missing, manager, size, device)
            origin = "calibration"
        seconds = None
        if pace is not None:
            seconds = OVERHEAD * pace * sum(cost(trial) for trial in missing)
    return DryRun(
        cells=summary.cells,
        trials_before=summary.trials_before,
        trials_after=summary.trials,
        cached=len(stored),
        seconds_estimate=seconds,
        speed_from=origin,
    )


def _stored(folder: Path, plan: Plan) -> dict[str, tuple[Trial, float]]:
    """Trial id -> the trial and its seconds, for stored trials of the plan."""
    run = RunFolder(folder)
    found: dict[str, tuple[Trial, float]] = {}
    records = run.scan().records
    for trial in plan.trials:
        record = records.get(trial.id)
        if record is not None and not record.retry:
            found[trial.id] = (trial, float(record.made_by.get("seconds") or 0.0))
    return found


def _stored_pace(made: Sequence[tuple[Trial, float]]) -> float | None:
    """Seconds per unit of work in stored records."""
    timed = [(trial, seconds) for trial, seconds in made if seconds > 0]
    if not timed:
        return None
    return sum(seconds for _, seconds in timed) / sum(cost(trial) for trial, _ in timed)


def _calibrated_pace(
    study: Study,
    plan: Plan,
    missing: Sequence[Trial],
    manager: ModelManager | None,
    batch_size: int | Literal["auto"],
    device: str | None,
) -> float:
    """Seconds per unit of work, from one batch of a few steps after a step to warm up."""
    from workbench.generation import generate
    from workbench.generation.batching import first_size
    from workbench.generation.recovery import memory_errors
    from workbench.measuring import Measurer
    from workbench.sweep.runner import load_manager

    if manager is None:
        manager = load_manager(study, device or own_device())
        check_fit(study, plan, manager)
    kinds = [tuple(use.control for use in trial.controls) for trial in missing]
    common = Counter(kinds).most_common(1)[0][0]
    batch = [trial for trial, kind in zip(missing, kinds, strict=True) if kind == common]
    size = first_size(batch_size, manager)
    batch = batch[:size]
    with memory_errors("models were loaded to time a few steps"):
        maps = Measurer(plan, manager).source_maps
    for steps in (1, CALIBRATION_STEPS):
        trials = [replace(trial, steps=steps) for trial in batch]
        trials = list({trial.id: trial for trial in trials}.values())
        started = time.perf_counter()
        for _ in generate(trials, maps, manager, batch_size=size):
            pass
        seconds = time.perf_counter() - started
    return seconds / sum(cost(trial) for trial in trials)
