"""Measuring pictures that are there already, into a run folder."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from workbench.families import Family, FamilyError, get_family
from workbench.families.determinism import deterministic
from workbench.families.manager import JudgesAlone, ModelManager
from workbench.generation import CancelToken, SampleResult
from workbench.generation.recovery import memory_errors
from workbench.images import sha256_image
from workbench.scoring.plan import Asked, Scoring, plan_rows, plan_run
from workbench.scoring.tables import ScoringError, read_rows
from workbench.store import Executor, RunFolder, StoreError, build_table
from workbench.study import StudyError
from workbench.sweep import ProgressCallback
from workbench.sweep.devices import own_device
from workbench.sweep.progress import ProgressMeter
from workbench.sweep.steps import IN_PROCESS, RunSteps, Start, load_manager

GROUP = 16
"""Pictures that are read at once."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """What to measure pictures with.

    family: lends the judges; None takes that of a run, else the embedded one. judges: each
    "clip=vit-b-32" or, where only one need has a judge of that name, "vit-b-32". defaults: column
    -> what holds for every picture that says nothing else. vae: whether ceilings come from sources
    pushed through the family's VAE; without it from the sources themselves.
    """

    family: str | None = None
    judges: Sequence[str] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    vae: bool = True


def score(
    pictures: str | Path,
    folder: str | Path,
    choice: Choice,
    *,
    manager: ModelManager | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> RunFolder:
    """Measure pictures into a run folder, or what is missing in the one that is there.

    Everything is checked before a model is loaded. No picture is changed, and none is made.

    Args:
        pictures: a folder, a table (`tables.read_rows`), or a run folder.
        folder: the run folder to write; another one than `pictures`.
        manager: loaded models of the family with these judges, `JudgesAlone` to do without a VAE;
            None loads them.
        progress, cancel: as for `sweep.run_study`.

    Raises:
        ScoringError: pictures, table or choice are wrong, with every row that is.
        StudyError, FamilyError: there is no such judge or family. StoreError: the folder cannot be
            used. LocateError: models are missing.
    """
    source, target = Path(pictures), Path(folder)
    run = _as_run(source)
    if source.resolve() == target.resolve():
        raise ScoringError([f"{target} is read and cannot be written: name another folder"])
    scoring = _planned(source, run, target.resolve().name, choice, manager)
    _check_target(target)
    _check_manager(manager, scoring)
    for note in scoring.notes:
        log.warning("%s", note)
    cancel = cancel or CancelToken()
    meter = ProgressMeter(len(scoring.plan.trials), progress)
    made = RunFolder.prepare(target, chunks=("workbench",))
    start = Start(made, scoring.study, scoring.plan, cancel)
    meter.phase("loading")
    with made.claim(), deterministic(), memory_errors("pictures were measured"):
        family = manager.family if manager else None
        steps = RunSteps(start, manager or load_manager(scoring.study, own_device(), family))
        _measure(steps, scoring, meter)
    return made


def _as_run(path: Path) -> RunFolder | None:
    try:
        return RunFolder.open(path)
    except StoreError:
        if (path / "study.yaml").is_file():
            raise
        return None


def _planned(
    source: Path, run: RunFolder | None, name: str, choice: Choice, manager: ModelManager | None
) -> Scoring:
    study = run.study() if run else None
    family = (
        manager.family
        if manager
        else get_family(choice.family or (study.family if study else "paperdoll"))
    )
    judges = chosen_judges(family, choice.judges)
    name = re.sub(r"[^\w .\-]", "-", name).lstrip(" .-")[:80] or "scored"
    if run is None or study is None:
        asked = Asked(name, family, judges, choice.vae)
        found = read_rows(source, choice.defaults)
        folder = source if source.is_dir() else source.parent
        kind = "the folder" if source.is_dir() else "the table"
        scoring = plan_rows(found.rows, f"{kind} {source.resolve().name}", folder, asked)
        if not found.unread:
            return scoring
        note = f"Columns that mean nothing here: {', '.join(found.unread[:12])}."
        return replace(scoring, notes=(note, *scoring.notes))
    if choice.defaults:
        raise ScoringError([f"{source} is a run, whose own words hold: leave the columns out"])
    if not choice.judges and family.name == study.family and choice.vae:
        raise ScoringError(
            [f"{source} is a run: name the judges that are to read it (--judge or --family)"]
        )
    kept = {} if family.name != study.family else dict(study.judges)
    return plan_run(run, Asked(name, family, {**kept, **judges}, choice.vae))


def chosen_judges(family: Family, names: Sequence[str]) -> dict[str, str]:
    """What is needed -> the choice, of texts such as "clip=vit-b-32" or "vit-b-32".

    ScoringError for a name that no need of the family has, or several have.
    """
    found = {}
    for text in names:
        need, _, name = text.rpartition("=")
        needs = [need] if need else [n for n, refs in family.judges.items() if name in refs]
        if len(needs) == 1 and name in family.judges.get(needs[0], {}):
            found[needs[0]] = name
            continue
        there = [f"{n}={ref}" for n, refs in family.judges.items() for ref in refs]
        what = f'"{text}" is {"a judge of several kinds" if len(needs) > 1 else "no judge"}'
        raise ScoringError(
            [f"{what} of the family {family.name}; there is: {', '.join(there) or 'none'}"]
        )
    return found


def _check_target(target: Path) -> None:
    """StoreError for the folder of a run whose pictures were made there."""
    if not (target / "study.yaml").is_file():
        return
    try:
        made_there = RunFolder.open(target).study().made_elsewhere is None
    except StudyError:
        made_there = True
    if made_there:
        raise StoreError(f"{target} holds a run with pictures of its own: name another folder")


def _check_manager(manager: ModelManager | None, scoring: Scoring) -> None:
    """FamilyError where loaded models are not the judges that were chosen."""
    if manager is None:
        return
    study, family = scoring.study, manager.family
    alone = study.made_elsewhere is not None and not study.made_elsewhere.vae
    same = family.name == study.family and family.with_judges(study.judges) == family
    if not same or alone != isinstance(manager, JudgesAlone):
        raise FamilyError("the models that are loaded are not the judges that were chosen")


def _measure(steps: RunSteps, scoring: Scoring, meter: ProgressMeter) -> None:
    run, plan, cancel = steps.run, scoring.plan, steps.cancel
    who = Executor(kind=IN_PROCESS, workers=[{"name": IN_PROCESS, "device": steps.manager.device}])
    manifest = steps.describe().model_copy(update={"executor": who})
    if cancel.cancelled:
        return
    run.begin(scoring.study, plan.sources, manifest, plan.cells)
    meter.phase("preparing")
    work = steps.find_work()
    meter.count_done(len(plan.trials) - len(work.trials))
    if work.trials or work.unmeasured:
        run.remove_table()
    meter.phase("measuring")
    if work.unmeasured:
        steps.measure(work.unmeasured)
    made_by = {
        "device": steps.manager.device,
        "dtype": steps.manager.dtype,
        "threads": torch.get_num_threads(),
        "batch_size": GROUP,
    }
    for place in range(0, len(work.trials), GROUP):
        if cancel.cancelled:
            break
        names = work.trials[place : place + GROUP]
        trials = [plan.trials_by_id[name] for name in names]
        images = [scoring.pictures[name]() for name in names]
        for trial, image in zip(trials, images, strict=True):
            if sha256_image(image) != trial.picture:
                raise ScoringError(["a picture has changed while it was measured: start again"])
        steps.store(
            [
                SampleResult(trial, image, "", {**scoring.files[trial.id], **made_by})
                for trial, image in zip(trials, images, strict=True)
            ]
        )
        meter.finished(trials, images[-1])
    if not cancel.cancelled:
        meter.phase("finishing")
        steps.finish()
    steps.save_references()
    records = sorted(steps.records.values(), key=lambda record: record.trial.id)
    run.write_table(build_table(records, frozenset(cell.id for cell in plan.cells)))
    meter.phase("done")
