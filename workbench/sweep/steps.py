"""The steps of a run, in the order in which they follow each other.

Whoever does them, does them through `RunSteps`: the runner in its own process, or a worker to which
the scheduler sends them one by one. A batch is made in `make` and stored in `store`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from workbench.controls import network_needs
from workbench.families import Family, ModelRef, get_family
from workbench.families.manager import JudgesAlone, ModelManager
from workbench.families.runtime import runtime_record
from workbench.generation import BatchSizer, CancelToken, SampleResult, generate
from workbench.generation.batching import BatchSize, kinds
from workbench.generation.events import StepCallback
from workbench.generation.recovery import FailureBudget, Kind
from workbench.generation.schedulers import make_scheduler
from workbench.generation.steering import controlnet_names, plan_controlnets
from workbench.images import ImageError
from workbench.measuring import Measured, Measurer, PlannedReadings, embedding_of, measure_safely
from workbench.measuring.across import (
    LOOKS,
    STRUCTURE,
    StructureDistances,
    diversity_rows,
    seed_groups,
)
from workbench.measuring.bases import (
    BASES_POSE,
    BASES_STRUCTURE,
    base_groups,
    base_rows,
    networks_read,
    pose_needs,
)
from workbench.measuring.judges import judge_hashes
from workbench.measuring.sourcemaps import map_warnings
from workbench.store import (
    Manifest,
    ModelsInUse,
    Record,
    RunFolder,
    Scan,
    StoreError,
    build_manifest,
    cell_facts,
    conditions_here,
    disk_errors,
    plain,
)
from workbench.study import Cell, Plan, Study, StudyError, Trial, choices_among, make_plan
from workbench.sweep.beside import beside, pays

IN_PROCESS = "in-process"
"""The worker's name where the process that was started does the work itself."""
REFERENCES = "references.json"
"""The file of chance and ceiling in a run folder."""
SAME_EVERYWHERE = ("dtype", "versions", "python", "git")
"""What a manifest says of a start and does not depend on the device or the worker."""
ACROSS = (LOOKS, STRUCTURE, BASES_STRUCTURE, BASES_POSE)
"""Metrics that are read off several pictures at once."""
Row = Mapping[str, Any]
CellGroup = tuple[Cell, ...]
Measure = Callable[
    [Measurer, Sequence[tuple[str, np.ndarray]], Mapping[str, Sequence[Cell]] | None],
    list[Measured],
]
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """One start of a run: its folder, its study, the study's plan, and what stops it."""

    run: RunFolder
    study: Study
    plan: Plan
    cancel: CancelToken


@dataclass(frozen=True)
class Work:
    """What a run folder lacks for a plan.

    trials: ids of those without a sample, in plan order.
    unmeasured: trial id -> ids of its cells whose readings are missing although the sample is
        there, or is known to fail.
    sound: what a picture of the plan is there of, see `workbench.generation.batching.kinds`.
    """

    trials: tuple[str, ...] = ()
    unmeasured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sound: frozenset[Kind] = field(default=frozenset(), compare=False)


def done_records(records: Mapping[str, Record], plan: Plan) -> dict[str, Record]:
    """Those of a plan's trials that need not be made again, by trial id.

    Failed trials are among them, as they would fail again, unless an error was the reason.
    """
    found = {trial.id: records[trial.id] for trial in plan.trials if trial.id in records}
    return {trial: record for trial, record in found.items() if not record.retry}


def work_left(
    records: Mapping[str, Record],
    plan: Plan,
    unmeasured: Callable[[str, Sequence[Row]], Sequence[Cell]],
) -> Work:
    """What a plan asks for and records lack; `unmeasured` is that of `Measurer`."""
    done = done_records(records, plan)
    cells = {trial: unmeasured(trial, record.rows) for trial, record in done.items()}
    return Work(
        tuple(trial.id for trial in plan.trials if trial.id not in done),
        {trial: tuple(cell.id for cell in lacking) for trial, lacking in cells.items() if lacking},
        frozenset(kinds(record.trial for record in done.values() if not record.failed)),
    )


def model_names(
    study: Study, plan: Plan, family: Family, networks: Iterable[str]
) -> dict[str, str]:
    """Part ("base/render", "controlnet/depth") -> id and revision, of the models of a plan.

    Of pictures made elsewhere no model is named but those that read them.
    """
    refs: dict[str, ModelRef | None] = {"clip": family.clip, "vae": family.vae}
    if study.made_elsewhere is None:
        refs |= {f"base/{name}": family.base_ref(name) for name in study.base}
        for name in plan_controlnets(plan, family):
            refs[f"controlnet/{name}"] = family.controlnet_ref(name)
    elif not study.made_elsewhere.vae:
        del refs["vae"]
    elif family.vae is None:
        refs["vae"] = family.base_ref(family.default_base)
    refs |= {f"network/{name}": family.networks.get(name) for name in networks}
    return {part: ref.title for part, ref in refs.items() if ref is not None}


def complete_scan(run: RunFolder, study: Study, plan: Plan, family: Family) -> Scan | None:
    """What a run holds if there is nothing left to do in it; None if there is, or in any doubt.

    Loads no model and writes nothing. All that decides readings and can be told without models must
    be as it was when the table was written, the last thing that a start does: study, sources, names
    of the models, this program and its packages. Every picture and reading must be there, and the
    table must be the one that the records give.
    """
    try:
        if not run.table_is_newest() or not _is_as_it_was(run, study, plan, family):
            return None
        scan = run.scan(strict=False)
        left = work_left(scan.records, plan, PlannedReadings(plan, family).unmeasured)
        if scan.damaged or left != Work():
            return None
        table = run.stored_table()
        same = table is not None and table.equals(run.build_table(scan))
    except (StoreError, StudyError, ImageError):  # the usual road says what is wrong
        return None
    return scan if same else None


def _is_as_it_was(run: RunFolder, study: Study, plan: Plan, family: Family) -> bool:
    """Whether the last start was of this study under the same conditions, and its inputs remain."""
    manifest, planned = run.read_manifest(), run.read_cells()
    if manifest is None or planned is None or run.study_text() != study.to_yaml():
        return False
    here = conditions_here("", study.dtype)
    needs = network_needs((cell.control, cell.control_settings) for cell in plan.cells)
    kept = {label: source.sha256 for label, source in run.read_sources().items()}
    return (
        manifest.study_hash == study.hash
        and planned.cells == {cell.id: cell.trial_id for cell in plan.cells}
        and manifest.sources == {name: source.sha256 for name, source in plan.sources.items()}
        and manifest.sources.items() <= kept.items()
        and all(manifest.as_json().get(name) == here[name] for name in SAME_EVERYWHERE)
        and model_names(study, plan, family, [*needs, *family.word_network]).items()
        <= (manifest.models or {}).items()
        and all(run.read_map(key) is not None for key in {cell.map_key for cell in plan.cells})
    )


def portions(unmeasured: Mapping[str, T], size: int) -> Iterator[dict[str, T]]:
    """What is to be measured, by trial, in parts of at most `size` trials."""
    items = iter(unmeasured.items())
    while part := dict(islice(items, size)):
        yield part


def planned(study: Study, family: Family, manager: ModelManager | None = None) -> Plan:
    """The plan of a start: the tokenizers that say what is read are those of the models at hand."""
    if manager is None:
        return make_plan(study, resolution=family.resolution)
    return make_plan(
        study,
        resolution=family.resolution,
        choices=choices_among([family]),
        models=manager.models_dir,
    )


def load_manager(
    study: Study,
    device: str = "cpu",
    family: Family | None = None,
    models_dir: str | Path | None = None,
) -> ModelManager:
    """The models of a study, on a device of this process; `family` is looked up by its name.

    Of a study of pictures made elsewhere the judges, with the VAE of the family's first base model
    or with none.
    """
    family = family or get_family(study.family).with_judges(study.judges)
    elsewhere = study.made_elsewhere
    kind = JudgesAlone if elsewhere and not elsewhere.vae else ModelManager
    return kind(
        family,
        family.default_base if elsewhere else study.base[0],
        device=device,
        dtype=study.dtype,
        runtime=study.runtime,
        checks_safety=study.safety_checker,
        models_dir=models_dir,
    )


class RunSteps:
    """The steps of one run with one set of loaded models. For one thread, as models are.

    records: trial id -> its record, of trials that these steps have seen or stored.
    sound: the kinds of pictures that they have made.
    """

    def __init__(self, start: Start, manager: ModelManager, worker: str = IN_PROCESS) -> None:
        self.run, self.study, self.plan = start.run, start.study, start.plan
        self.cancel, self.manager, self.worker = start.cancel, manager, worker
        self.records: dict[str, Record] = {}
        self.sound: set[Kind] = set()
        self._sizers: dict[BatchSize, BatchSizer] = {}

    @cached_property
    def measurer(self) -> Measurer:
        """The judges; made when they are first needed, as the sources' maps then are, too."""

        return Measurer(self.plan, self.manager, self.run.path / REFERENCES)

    def describe(self) -> Manifest:
        """Load what the plan needs and write down what it is."""

        study, manager, family = self.study, self.manager, self.manager.family
        networks = networks_read(self.plan, manager)
        hashes = judge_hashes(manager, networks)
        if study.made_elsewhere:
            return self._manifest(hashes, {})
        controlnets = plan_controlnets(self.plan, family)
        for name in study.base:
            base = manager.for_base(name)
            for control in (None, *controlnets):
                base.pipeline(control)
            if base.checks_safety:
                base.safety_checker()
            hashes |= base.weight_hashes()
        scheduler = make_scheduler(study.scheduler, manager.pipeline(None).scheduler.config)
        return self._manifest(hashes, dict(scheduler.config))

    def _manifest(self, hashes: Mapping[str, str], scheduler: Mapping[str, Any]) -> Manifest:
        study, manager, family = self.study, self.manager, self.manager.family
        planned = PlannedReadings(self.plan, family)
        used = ModelsInUse(
            device=manager.device,
            dtype=manager.dtype,
            names=model_names(study, self.plan, family, networks_read(self.plan, manager)),
            weight_hashes=hashes,
            scheduler_config=scheduler,
            runtime=runtime_record(manager.runtime, manager.in_force),
            safety_checker=manager.checks_safety,
            words=manager.word_facts(self.plan.alternatives, planned.words),
        )
        return build_manifest(study, self.plan.sources, used)

    def find_work(self) -> Work:
        """Look at every trial on the disk once; what is left to do.

        Also keeps the sources' control maps in the run, so that nobody has to make them again.
        """
        keys = dict.fromkeys(cell.map_key for cell in self.plan.cells)
        self.run.write_maps({key: self.measurer.source_maps[key].picture for key in keys})
        for warning in map_warnings(self.plan, self.measurer.source_maps):
            log.warning("%s", warning)
        self.records = dict(self.run.scan().records)
        return work_left(self.records, self.plan, self.measurer.unmeasured)

    def refer(self) -> None:
        """Chance and ceiling of all cells, in the order in which the plan asks for them."""

        self._refer_to(self.plan.cells)

    def _refer_to(self, asking: Sequence[Cell]) -> None:
        cells = {(c.map_key, c.variant, c.full_prompt): c for c in reversed(asking)}
        for cell in reversed(cells.values()):
            if self.cancel.cancelled:
                return
            self.measurer.nothing(cell.trial_id, [cell], "only chance and ceiling are wanted")
            for metric in (LOOKS, STRUCTURE):
                self.measurer.references.pairwise(cell, metric)

    def measure(self, unmeasured: Mapping[str, Collection[str]]) -> None:
        """Read what is missing off stored samples, without making them again; all at once.

        `unmeasured` is trial id -> ids of the cells to measure.
        """

        cells = {
            trial: [cell for cell in self.plan.cells_by_trial[trial] if cell.id in wanted]
            for trial, wanted in unmeasured.items()
        }
        samples = []
        measured = []
        size = 1
        for trial in unmeasured:
            record = self._record(trial)
            if record.failed:
                measured.append(self.measurer.failed(trial, record.failed))
            else:
                samples.append((trial, self.run.read_sample(trial)))
                size = max(size, int(record.made_by.get("batch_size") or 1))
        measured += self._read(samples, size, cells)
        for found in measured:
            rows = self.measurer.lacking(self._record(found.trial_id).rows, found.rows)
            self.records[found.trial_id] = self.run.add_rows(
                found.trial_id, rows, cells=found.cells, extra=found.extra
            )

    def make(
        self,
        trials: Sequence[Trial],
        batch_size: BatchSize,
        *,
        on_step: StepCallback | None = None,
        failures: FailureBudget | None = None,
    ) -> Iterator[list[SampleResult]]:
        """Make samples, and store each batch with its readings.

        Yields each batch once it is stored, before the next one is begun, or on a CUDA device while
        the next ones are drawn (see `beside`). What was learned in earlier calls with that batch
        size about the memory that batches take is kept. After a cancel the batch at work is given
        up.
        """

        if batch_size not in self._sizers:
            fill = self.study.fill_batches
            self._sizers[batch_size] = BatchSizer(batch_size, self.manager, fill=fill)
        batches = generate(
            trials,
            self.measurer.source_maps,
            self.manager,
            batch_size=self._sizers[batch_size],
            on_step=on_step,
            cancel=self.cancel,
            failures=failures,
        )
        if pays(self.manager) and self._is_ready(trials):
            yield from beside(batches, partial(self.store, measure=Measurer.measure), self.store)
            return
        for results in batches:
            self.store(results)
            yield results

    def _is_ready(self, trials: Sequence[Trial]) -> bool:
        """Load all that these trials need, so that they can be measured while others are drawn.

        False if that fails: the errors belong where the models are used.
        """
        manager = self.manager
        try:
            manager.clip()
            for name in networks_read(self.plan, manager):
                manager.networks().get(name)
            for trial in trials:
                base = manager.for_base(trial.base)
                base.pipeline(*controlnet_names(trial, manager.family))
            self._refer_to([c for trial in trials for c in self.plan.cells_by_trial[trial.id]])
        except Exception as error:
            log.warning("pictures are measured one batch after the other: %s", error)
            return False
        return True

    def store(self, results: Sequence[SampleResult], measure: Measure = measure_safely) -> None:
        """Measure and commit one batch."""

        pictures = {r.trial.id: r.image for r in results if r.image is not None}
        size = max((int(r.made_by.get("batch_size") or 1) for r in results), default=1)
        measured = {m.trial_id: m for m in self._read(list(pictures.items()), size, how=measure)}
        # Seeds made in one batch are compared at once: it spares `finish` a second writing.
        embeddings = _embeddings({trial: found.extra for trial, found in measured.items()})
        groups = self.measurer.seed_groups_within(embeddings)
        across = rows_across(self.measurer, embeddings, pictures.__getitem__, seeds=groups)
        for result in results:
            trial, reason = result.trial, result.failed_reason
            found = measured.get(trial.id) or self.measurer.failed(trial.id, reason)
            self.records[trial.id] = self.run.write_trial(
                trial,
                result.image,
                {**result.made_by, "worker": self.worker},
                found.rows + [row for cell in found.cells for row in across.get(cell.id, [])],
                cells=found.cells,
                failed=reason,
                extra=found.extra,
            )
        self.sound |= kinds(r.trial for r in results if r.image is not None)

    def _read(
        self,
        samples: Sequence[tuple[str, np.ndarray]],
        size: int,
        cells: Mapping[str, Sequence[Cell]] | None = None,
        how: Measure = measure_safely,
    ) -> list[Measured]:
        """The readings of pictures, each trial once.

        With `fill_batches` judges, too, get groups of one size, filled with copies, so that what is
        left of a batch after a stop is read as it would have been in the whole one.
        """
        filled = list(samples)
        if self.study.fill_batches:
            filled += filled[-1:] * (size - len(filled))
        return list({m.trial_id: m for m in how(self.measurer, filled, cells)}.values())

    def fail(self, trials: Iterable[str], reason: str) -> None:
        """Put trials that are not there on record as failed; the next start tries them again."""

        made_by = {"retry": True, "device": self.manager.device, "dtype": self.manager.dtype}
        missing = [self.plan.trials_by_id[trial] for trial in trials if not self.run.has(trial)]
        self.store([SampleResult(trial, None, reason, made_by) for trial in missing])

    def finish(self) -> None:
        """Bring every stored row of the plan up to date and add what is read across pictures.

        Needs all trials of the plan. Values that were read off the same pictures before are kept;
        chance, ceiling and adherence are looked up anew. Only records in which something changed
        are written. After a cancel the rest is left for the next start.
        """

        records = {trial.id: self._record(trial.id) for trial in self.plan.trials}
        embeddings = _embeddings({trial: record.extra for trial, record in records.items()})
        readings = {trial: record.rows for trial, record in records.items()}
        learn_text_only(self.measurer, embeddings, readings)
        across = rows_across(
            self.measurer,
            embeddings,
            self.run.read_sample,
            seeds=seed_groups(self.plan),
            bases=base_groups(self.plan),
            stored=(row for r in records.values() for row in r.rows if row["metric"] in ACROSS),
        )
        for trial, record in records.items():
            if self.cancel.cancelled:
                break
            cells = self.plan.cells_by_trial[trial]
            rows = self._current_rows(record, cells, across)
            if rows is not None:
                self.records[trial] = self.run.add_rows(trial, rows, cells=cells, only=True)
        self.save_references()

    def save_references(self) -> None:
        """Keep chance and ceiling, if any were looked up."""
        if "measurer" in vars(self):
            self.run.check_place()
            with disk_errors(self.run.path / REFERENCES):
                self.measurer.references.cache.save()

    def _record(self, trial: str) -> Record:
        return self.records.get(trial) or self.run.read_record(trial)

    def _current_rows(
        self, record: Record, cells: Sequence[Cell], across: Mapping[str, Sequence[Row]]
    ) -> list[Row] | None:
        """What the readings of a record are now; None if it has just these.

        Readings that the plan does not ask for go, such as those between base models of which one
        is left.
        """
        mine = {cell.id for cell in cells}
        old = [row for row in record.rows if row["cell"] in mine]
        new: list[Row] = []
        for cell in cells:
            expected = set(self.measurer.expected(cell))
            own = [row for row in old if row["cell"] == cell.id and row["metric"] in expected]
            new += own if record.failed else self.measurer.refreshed(cell, own)
            new += across.get(cell.id, [])
        told = all(record.cells.get(cell.id) == plain(cell_facts(cell)) for cell in cells)
        return None if told and _by_reading(old) == _by_reading(new) else new


def rows_across(
    measurer: Measurer,
    embeddings: Mapping[str, np.ndarray],
    picture: Callable[[str], np.ndarray],
    *,
    seeds: Iterable[CellGroup] = (),
    bases: Iterable[CellGroup] = (),
    stored: Iterable[Row] = (),
) -> dict[str, list[dict[str, Any]]]:
    """What is read off several pictures at once: cell id -> its rows.

    Args:
        embeddings: trial id -> CLIP embedding (D,), of all pictures that came out.
        picture: trial id -> its picture, uint8 H×W×3; asked for where a control map is not known.
        seeds: groups of cells that differ in the seed alone: their diversity is read.
        bases: groups of cells that differ in the base model alone: their differences are read.
        stored: rows of earlier starts; those that were read off the same pictures are kept.
    """

    known = {(row["cell"], row["metric"]): row for row in stored}
    distances = StructureDistances(measurer.maps_of(picture))
    refer = measurer.references.pairwise
    rows: list[dict[str, Any]] = []
    for group in seeds:
        rows += diversity_rows(group, embeddings, embeddings, known, distances, refer)
    pose = bool(pose_needs(measurer.plan, measurer.judges))
    for group in bases:
        rows += base_rows(group, embeddings, known, distances, refer, pose=pose)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["cell"], []).append(row)
    return found


def learn_text_only(
    measurer: Measurer,
    embeddings: Mapping[str, np.ndarray],
    readings: Mapping[str, Collection[Row]],
) -> None:
    """Give the measurer what text-only pictures show, where ceilings are taken from them.

    Args:
        embeddings: trial id -> CLIP embedding (D,), of all pictures that came out.
        readings: trial id -> what was read off its picture.
    """
    if not measurer.references.needs_text_only:
        return
    groups: dict[str, list[np.ndarray]] = {}
    words: dict[tuple[str, str], list[float]] = {}
    for trial in measurer.plan.trials:
        if trial.control is not None or trial.id not in embeddings:
            continue
        groups.setdefault(trial.prompt, []).append(embeddings[trial.id])
        # A picture that serves several cells has the same reading in each of them.
        read = {row["metric"]: row["value"] for row in readings.get(trial.id, ())}
        for metric, value in read.items():
            if metric.startswith(("tag:", "tag_obeyed:")) and value is not None:
                words.setdefault((trial.prompt, metric), []).append(float(value))
    measurer.references.learn_text_only(
        {prompt: np.stack(vectors) for prompt, vectors in groups.items()},
        {key: float(np.mean(values)) for key, values in words.items()},
    )


def _embeddings(extras: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The CLIP embeddings of the pictures that have one: others failed, or were not measured."""

    found = {trial: embedding_of(extra) for trial, extra in extras.items()}
    return {trial: vector for trial, vector in found.items() if vector is not None}


def _by_reading(rows: Iterable[Row]) -> dict[tuple[str, str], Any]:
    return {
        (row["cell"], row["metric"]): {k: v for k, v in plain(row).items() if k != "trial"}
        for row in rows
    }
