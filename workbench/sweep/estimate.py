"""Before a run: whether its models are there and fit, what it would compute, and how long for."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from workbench.controls import ControlMap, MapKey, network_needs, resolve
from workbench.families import Family, get_family
from workbench.families.check import require_models
from workbench.families.hub import Download
from workbench.families.manager import ModelManager
from workbench.families.memory import free_memory, memory_need, weights_need
from workbench.generation import GenerationError, generate
from workbench.generation.batching import BatchSize, first_size
from workbench.generation.recovery import memory_errors
from workbench.generation.steering import plan_controlnets
from workbench.measuring import Measurer
from workbench.measuring.bases import networks_read
from workbench.measuring.sourcemaps import make_source_maps, map_warnings
from workbench.store import Record, RunFolder
from workbench.study import Plan, Study, Trial, check_syntax, plan_notes
from workbench.sweep.devices import own_device
from workbench.sweep.needs import networks_needed
from workbench.sweep.progress import OVERHEAD, cost
from workbench.sweep.steps import complete_scan, done_records, load_manager, planned

log = logging.getLogger(__name__)

GB = 1e9
CALIBRATION_STEPS = 3


@dataclass(frozen=True)
class DryRun:
    """The figures of a plan.

    cells: cells of the grid. trials_before: pictures, one for each cell (in a pair of controls, for
    each two). trials_after: without those that would be identical. cached: of these, stored in the
    folder already. seconds_estimate: for the rest; None if no speed is known. speed_from: "stored"
    (the run's own records), "calibration" (a few steps on this machine) or "". downloads: models
    that the run would fetch first. notes: what its author may not expect, see
    `workbench.study.plan_notes`, and maps that cannot steer, a sentence each.
    """

    cells: int
    trials_before: int
    trials_after: int
    cached: int
    seconds_estimate: float | None
    speed_from: str = ""
    downloads: tuple[Download, ...] = ()
    notes: tuple[str, ...] = ()

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
        GenerationError: there is not enough memory. StoreError: the folder would be refused.
    """
    check_syntax(study)
    chosen = study.judges
    family = get_family(study.family).with_judges(chosen) if manager is None else manager.family
    plan = planned(study, family, manager)
    run = RunFolder(folder)
    if manager is not None or complete_scan(run, study, plan, family) is None:
        run.check(study)  # a run that is complete may lie where nothing can be written
    downloads: tuple[Download, ...] = ()
    if manager is None and calibrate:
        downloads = require_plan(study, plan, family)
        calibrate = not downloads  # nothing is downloaded for an estimate
    summary = plan.describe()
    stored = done_records(run.scan().records, plan)
    missing = [trial for trial in plan.trials if trial.id not in stored]
    seconds: float | None = 0.0
    origin = ""
    if missing:
        pace = _stored_pace(stored.values())
        origin = "stored" if pace else ""
        if pace is None and calibrate:
            if manager is None:
                manager = load_manager(study, device or own_device(), family)
                check_fit(study, plan, manager)
            pace = _calibrated_pace(plan, missing, manager, batch_size or study.batch_size)
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
        downloads=downloads,
        notes=(*plan_notes(study, plan), *map_warnings(plan, _maps_at_hand(plan, manager))),
    )


def _maps_at_hand(plan: Plan, manager: ModelManager | None) -> dict[MapKey, ControlMap]:
    """The sources' maps; without models, those that need no network."""
    if manager is not None:
        return Measurer(plan, manager).source_maps
    drawn = all(source.is_map for source in plan.sources.values())
    plain = [
        cell
        for cell in plan.cells
        if drawn or not network_needs([(cell.control, cell.control_settings)])
    ]

    def extract(name: str, settings_json: str, images: Sequence[np.ndarray]) -> list[ControlMap]:
        control, settings = resolve(name, settings_json)
        return control.extract(images, settings, {})

    some = replace(plan, cells=tuple(plain), trials=plan.trials)
    return make_source_maps(some, extract)


def _stored_pace(made: Iterable[Record]) -> float | None:
    """Seconds per unit of work in stored records."""
    timed = [(r.trial, float(r.made_by.get("seconds") or 0.0)) for r in made]
    work = sum(cost(trial) for trial, seconds in timed if seconds > 0)
    return sum(seconds for _, seconds in timed) / work if work else None


def _calibrated_pace(
    plan: Plan, missing: Sequence[Trial], manager: ModelManager, batch_size: BatchSize
) -> float:
    """Seconds per unit of work, from one batch of a few steps after a step to warm up."""
    kinds = [tuple(use.control for use in trial.controls) for trial in missing]
    common = Counter(kinds).most_common(1)[0][0]
    size = first_size(batch_size, manager)
    batch = [trial for trial, kind in zip(missing, kinds, strict=True) if kind == common][:size]
    with memory_errors("models were loaded to time a few steps"):
        maps = Measurer(plan, manager).source_maps
    for steps in (1, CALIBRATION_STEPS):
        trials = [replace(trial, steps=steps) for trial in batch]
        trials = list({trial.id: trial for trial in trials}.values())
        started = time.perf_counter()
        list(generate(trials, maps, manager, batch_size=size))
        seconds = time.perf_counter() - started
    return seconds / sum(cost(trial) for trial in trials)


def require_plan(
    study: Study, plan: Plan, family: Family, models: str | Path | None = None
) -> tuple[Download, ...]:
    """Check every model that a plan needs before any is loaded; the downloads are returned.

    models: the models folder, if not the usual one. Raises LocateError with all problems at once.
    """
    nets = plan_controlnets(plan, family)
    networks = networks_needed(plan, family)
    return require_models(
        family, study.base, nets, networks, models, safety_checker=study.safety_checker
    )


def check_fit(study: Study, plan: Plan, manager: ModelManager) -> None:
    """Compare what a plan loads with what is free where a manager, still empty, will load it.

    A need that only comes near is a warning: estimates of the work are rough, and batches get
    smaller where memory is short. So is half precision on a CPU, which is slower there.

    Raises:
        GenerationError: the weights alone do not fit. It names the ways out.
    """
    family, device, dtype = manager.family, manager.device, manager.dtype
    if device == "cpu" and dtype != "float32":
        log.warning("%s is slower than float32 on a CPU: dtype: float32 is faster there", dtype)
    controlnets = plan_controlnets(plan, family)
    parts = {
        "bases": study.base,
        "controlnets": controlnets,
        "networks": networks_read(plan, manager),
    }
    weights = weights_need(family, dtype, manager.models_dir, **parts)
    held = {device: 0}
    if weights is not None:
        # What waits in main memory between two uses is not on the device, but is still somewhere.
        held = {device: weights.judges}
        home = manager.runtime.home(device)
        held[home] = held.get(home, 0) + weights.makers
    what = (
        f"{_count(len(study.base), 'base model')}, {_count(len(controlnets), 'ControlNet')} and "
        f"the judges in {dtype}"
    )
    for place, need in held.items():
        free = free_memory(place)
        if free is not None and need > free:
            raise GenerationError(
                f"the weights of this study ({what}) take {need / GB:.1f} GB, and only "
                f"{free / GB:.1f} GB are free on {place}: {_ways_out(study, manager, place)}"
            )
    whole = memory_need(family, dtype, weights)
    free = free_memory(device)
    if whole is None or free is None or manager.runtime.offload != "none" or whole <= free:
        return
    log.warning(
        "memory may be short: about %.1f GB are needed for %s, and %.1f GB are free on %s; if it "
        "fails: %s",
        whole / GB,
        what,
        free / GB,
        device,
        _ways_out(study, manager, device),
    )


def _ways_out(study: Study, manager: ModelManager, place: str) -> str:
    ways = ["close other programs"]
    if place != "cpu" and manager.runtime.offload == "none":
        ways.append("set runtime.offload: model")
    if manager.dtype == "float32":
        ways.append("set dtype: float16")
    ways.append("choose another device")
    if len(study.base) > 1 or len(study.controls) > 1:
        ways.append("split the study into smaller ones with fewer base models and controls")
    return ", ".join(ways[:-1]) + " or " + ways[-1]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
