"""Reading everything off samples: control, prompt, tags, likeness to the source; cell by cell."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import LRUCache

from workbench.controls import ControlMap, MapKey, get_control, resolve
from workbench.families import WORDS, Family
from workbench.measuring.across import MapOf, seed_groups
from workbench.measuring.adherence import Reference, adherence, unknown
from workbench.measuring.bases import pose_map, pose_needs
from workbench.measuring.cache import ReferenceCache
from workbench.measuring.judges import Judges, clip_score, logit_scale, word_judge
from workbench.measuring.per_tag import (
    TagQuestion,
    questions,
    tag_scores,
    words_beyond_chance,
)
from workbench.measuring.references import NO_PICTURE, References
from workbench.measuring.sourcemaps import make_source_maps
from workbench.measuring.specs import WORDS_OBEYED, metric_spec
from workbench.measuring.threads import at_once
from workbench.metrics.spec import MetricSpec, Reading
from workbench.prompts import parse_tags
from workbench.study import Cell, Plan
from workbench.study.canonical import short_hash

Row = dict[str, Any]
EMBEDDING = "clip_embedding"
EMPTY_PROMPT = "the prompt is empty"
NO_WORDS = "the judge of words knows none of the prompt's words"
CAPTION = "a sentence is no list of words"
SHOWN = "it says what the source shows, so it has no chance and no ceiling"
CLIP_SCORES = ("clip_used", "clip_full", "clip_source")
TAG_KINDS = ("tag", "tag_obeyed", "tag_source")
UNCLAMPED = "cosine"
"""What tells CLIP scores that are not cut off at 0 from older ones."""
NOT_MEASURED = "could not be measured"
"""How the reason of a reading begins whose measuring failed by an error."""
MAP_BYTES = 256 * 2**20
"""How much memory the maps of samples may take that are kept for comparisons between pictures."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """What was read off one sample.

    rows: one dict per cell and metric with cell, trial, metric, value, chance, ceiling, adherence,
        reason; NaN always has a reason.
    cells: the cells that were measured.
    extra: what later analysis needs ("clip_embedding", base64 of float16), for the record.
    """

    trial_id: str
    rows: list[Row]
    cells: tuple[Cell, ...]
    extra: dict[str, str]


class PlannedReadings:
    """The readings that a plan asks for, which can be told before any model is loaded."""

    def __init__(self, plan: Plan, family: Family) -> None:
        self.plan = plan
        self._alternatives = family.alternatives(plan.alternatives)
        words = family.networks.get(WORDS)
        self._word_judge = words.title if words else ""
        self._questions: dict[tuple[str, tuple[str, ...]], tuple[TagQuestion, ...]] = {}

    def expected(self, cell: Cell) -> tuple[str, ...]:
        """Names of the metrics that `measure` gives for a cell (diversity comes with `finish`)."""
        control = [spec.name for spec in get_control(cell.control).metrics]
        tags = [
            f"{kind}:{question.tag}" for question in self._questions_of(cell) for kind in TAG_KINDS
        ]
        words = (WORDS_OBEYED.name,) if self._word_judge else ()
        return (*control, *words, *CLIP_SCORES, *tags)

    @property
    def words(self) -> tuple[str, ...]:
        """Every word that the plan asks about, each once."""
        cells = {(cell.full_prompt, cell.variant.tags): cell for cell in self.plan.cells}
        found = (q.tag for cell in cells.values() for q in self._questions_of(cell))
        return tuple(dict.fromkeys(found))

    def unmeasured(self, trial_id: str, rows: Collection[Mapping[str, Any]]) -> tuple[Cell, ...]:
        """Cells of a trial for which a reading is missing among stored rows, or failed."""
        have = _readings(rows)
        return tuple(
            cell
            for cell in self.plan.cells_by_trial.get(trial_id, ())
            if any((cell.id, m, self.asked(cell, m)) not in have for m in self.expected(cell))
        )

    def lacking(self, stored: Collection[Mapping[str, Any]], new: Sequence[Row]) -> list[Row]:
        """Those of new readings that stored rows lack, or that failed there; values stay."""
        have = _readings(stored)
        return [row for row in new if _reading(row) not in have]

    def asked(self, cell: Cell, metric: str) -> str | None:
        """What tells the question that a reading answers; None where there is but one."""
        if metric in CLIP_SCORES:
            return UNCLAMPED
        if metric == WORDS_OBEYED.name:
            return short_hash([question.asked for question in self._questions_of(cell)])
        question = self._question(cell, metric)
        return question.asked if question else get_control(cell.control).asked.get(metric)

    def _question(self, cell: Cell, metric: str) -> TagQuestion | None:
        kind, _, tag = metric.partition(":")
        if kind not in TAG_KINDS:
            return None
        return next(q for q in self._questions_of(cell) if q.tag == tag)

    def _questions_of(self, cell: Cell) -> tuple[TagQuestion, ...]:
        if cell.variant.is_caption:  # a sentence is not a list of tags
            return ()
        key = (cell.full_prompt, cell.variant.tags)
        if key not in self._questions:
            self._questions[key] = questions(
                parse_tags(cell.full_prompt),
                cell.variant.tags,
                self._alternatives,
                self._word_judge,
            )
        return self._questions[key]


class Measurer(PlannedReadings):
    """Judges applied to the samples of one plan. For one thread, as the models are.

    Source maps, embeddings, chance and ceiling are made once; chance and ceiling are cached in
    `cache_path` by content.
    """

    def __init__(self, plan: Plan, judges: Judges, cache_path: Path | None = None) -> None:
        super().__init__(plan, judges.family)
        self.judges = judges
        self._sources = {source.sha256: source for source in plan.sources.values()}
        self._specs: dict[str, MetricSpec] = {}
        self._shown: dict[tuple[str, str], Reading] = {}
        self._sample_map_cache: LRUCache[MapKey, ControlMap] = LRUCache(
            MAP_BYTES, getsizeof=lambda made: made.picture.nbytes + made.data.nbytes
        )
        self.references = References(
            plan.sources, self.source_maps, judges, ReferenceCache(cache_path)
        )

    @cached_property
    def source_maps(self) -> dict[MapKey, ControlMap]:
        """Control maps of the sources, under the key of every cell and of every trial.

        This is also what generation takes its control pictures from.
        """
        return make_source_maps(self.plan, self.extract)

    def extract(
        self, name: str, settings_json: str, images: Sequence[np.ndarray]
    ) -> list[ControlMap]:
        """Control maps of pictures (uint8 H×W×3), with the networks of the family."""
        control, settings = resolve(name, settings_json)
        if control.needs_for(settings) or not images:
            return control.extract(images, settings, self.judges.networks())
        pixels = max(image[..., 0].size for image in images)
        made = at_once(lambda image: control.extract([image], settings, {}), images, pixels)
        return [found for (found,) in made]

    def measure(
        self,
        samples: Sequence[tuple[str, np.ndarray]],
        cells: Mapping[str, Sequence[Cell]] | None = None,
    ) -> list[Measured]:
        """Read all metrics off samples.

        Args:
            samples: (trial id, uint8 H×W×3) pairs.
            cells: trial id -> the cells to measure; without it all cells of each trial.
        """
        if not samples:
            return []
        of_trial = self.plan.cells_by_trial if cells is None else cells
        work = {trial: tuple(of_trial.get(trial, ())) for trial, _ in samples}
        images = [image for _, image in samples]
        embeds = self.judges.clip().embed_images(images)
        told = self._told(images, [cell for cells in work.values() for cell in cells])
        controls = iter(self._control_readings(samples, work))
        result = []
        for (trial, _), embed, words in zip(samples, embeds, told, strict=True):
            rows: list[Row] = []
            for cell in work[trial]:
                tags = self._tag_readings(cell, embed, words)
                readings = next(controls) | self._clip_readings(cell, embed)
                if self._word_judge:
                    readings[WORDS_OBEYED.name] = self._words_reading(cell, tags)
                readings |= tags
                rows += [self.row(cell, name, reading) for name, reading in readings.items()]
            result.append(Measured(trial, rows, work[trial], {EMBEDDING: pack(embed)}))
        return result

    def failed(self, trial_id: str, reason: str) -> Measured:
        """Readings of a trial without a sample: NaN everywhere, with the reason."""
        cells = self.plan.cells_by_trial.get(trial_id, ())
        return self.nothing(trial_id, cells, f"the sample failed: {reason}")

    def nothing(self, trial_id: str, cells: Sequence[Cell], reason: str) -> Measured:
        """NaN for every metric of these cells, for one reason."""
        reading = Reading.nothing(" ".join(reason.split())[:300])
        rows = [self.row(cell, name, reading) for cell in cells for name in self.expected(cell)]
        return Measured(trial_id, rows, tuple(cells), {})

    def row(self, cell: Cell, metric: str, reading: Reading) -> Row:
        """One reading as a row of the long table, with chance, ceiling and adherence."""
        reference = self._reference(cell, metric)
        value, reason = adherence(reading.value, reference, self._spec(metric))
        asked = self.asked(cell, metric)
        return ({} if asked is None else {"asked": asked}) | {
            "cell": cell.id,
            "trial": cell.trial_id,
            "metric": metric,
            "value": reading.value,
            "chance": reference.chance,
            "ceiling": reference.ceiling,
            "adherence": value,
            "reason": reading.reason or reason,
        }

    def refreshed(self, cell: Cell, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Stored rows of one cell with chance, ceiling and adherence as they are now.

        They change when sources are added, or when text-only pictures become known. Values stay,
        but for what is obeyed beyond chance.
        """
        readings = {
            str(row["metric"]): Reading.nothing(row["reason"])
            if row["value"] is None
            else Reading(float(row["value"]))
            for row in rows
        }
        if WORDS_OBEYED.name in readings and not readings[WORDS_OBEYED.name].is_nan:
            readings[WORDS_OBEYED.name] = self._words_reading(cell, readings)
        return [self.row(cell, metric, reading) for metric, reading in readings.items()]

    def maps_of(self, picture: Callable[[str], np.ndarray]) -> MapOf:
        """Looks up control maps of samples: remembered ones, or extracted from `picture(trial)`."""

        def map_of(trial_id: str, control: str, settings_json: str) -> ControlMap:
            key = MapKey(trial_id, control, settings_json)
            made = self._sample_map_cache.get(key)
            if made is None:
                made = self.extract(control, settings_json, [picture(trial_id)])[0]
                self._remember(key, made)
            return made

        return map_of

    def seed_groups_within(self, trials: Collection[str]) -> list[tuple[Cell, ...]]:
        """Groups of cells that differ in the seed alone and whose trials are all among these."""
        groups = {self._group_of[c.id] for t in trials for c in self.plan.cells_by_trial[t]}
        found = [self._groups_of_seeds[index] for index in sorted(groups)]
        return [group for group in found if all(cell.trial_id in trials for cell in group)]

    @cached_property
    def _wants_pose(self) -> bool:
        return bool(pose_needs(self.plan, self.judges))

    @cached_property
    def _groups_of_seeds(self) -> list[tuple[Cell, ...]]:
        return seed_groups(self.plan)

    @cached_property
    def _group_of(self) -> dict[str, int]:
        groups = enumerate(self._groups_of_seeds)
        return {cell.id: index for index, group in groups for cell in group}

    def _sample_maps(
        self, samples: Sequence[tuple[str, np.ndarray]], work: Mapping[str, Sequence[Cell]]
    ) -> dict[MapKey, ControlMap]:
        """(trial, control, settings) -> map, every extractor run once over all samples it reads."""
        kinds: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        for trial, image in samples:
            for cell in work[trial]:
                kinds.setdefault((cell.control, cell.control_settings), {})[trial] = image
            if self._wants_pose:  # for the comparison between bases, cheaper here than one by one
                kinds.setdefault(pose_map(), {})[trial] = image
        found: dict[MapKey, ControlMap] = {}
        for (name, settings), images in kinds.items():
            maps = self.extract(name, settings, list(images.values()))
            for trial, made in zip(images, maps, strict=True):
                key = MapKey(trial, name, settings)
                found[key] = made
                self._remember(key, made)
        return found

    def _remember(self, key: MapKey, made: ControlMap) -> None:
        with suppress(ValueError):  # it alone is larger than all that may be kept
            self._sample_map_cache[key] = made

    def _control_readings(
        self, samples: Sequence[tuple[str, np.ndarray]], work: Mapping[str, Sequence[Cell]]
    ) -> list[dict[str, Reading]]:
        """Those of every cell of every sample, in order."""
        maps, wanted = self._sample_maps(samples, work), self.source_maps

        def compare(pair: tuple[str, Cell]) -> dict[str, Reading]:
            trial, cell = pair
            got = maps[MapKey(trial, cell.control, cell.control_settings)]
            control, settings = resolve(cell.control, cell.control_settings)
            return control.compare(got, wanted[cell.map_key], settings)

        pairs = [(trial, cell) for trial, _ in samples for cell in work[trial]]
        sizes = [wanted[cell.map_key].picture[..., 0].size for _, cell in pairs]
        return at_once(compare, pairs, max(sizes, default=0))

    def _told(
        self, images: Sequence[np.ndarray], cells: Sequence[Cell]
    ) -> list[dict[str, tuple[float, bool]]]:
        """What the judge of words, if there is one, says of each picture: word -> (sure, seen)."""
        judge = word_judge(self.judges)
        if judge is None:
            return [{} for _ in images]
        tags = dict.fromkeys(q.tag for cell in cells for q in self._questions_of(cell))
        words = [tag for tag in tags if judge.knows(tag)]
        found = judge.read(images, words)
        pairs = zip(found.probability, found.seen, strict=True)
        return [dict(zip(words, zip(*pair, strict=True), strict=True)) for pair in pairs]

    def _clip_readings(self, cell: Cell, embed: np.ndarray) -> dict[str, Reading]:
        clip = self.judges.clip()
        found: dict[str, Reading] = {}
        for name, text in (("clip_used", cell.variant.text), ("clip_full", cell.full_prompt)):
            if text:
                score = clip_score(embed[None], clip.embed_texts([text]))
                found[name] = Reading(float(score[0, 0]))
            else:
                found[name] = Reading.nothing(EMPTY_PROMPT)
        source = self._source_embeds.get(cell.source_sha256)
        found["clip_source"] = (
            Reading.nothing(NO_PICTURE)
            if source is None
            else Reading(float(clip_score(embed[None], source[None])[0, 0]))
        )
        return found

    def _tag_readings(
        self, cell: Cell, embed: np.ndarray, told: Mapping[str, tuple[float, bool]]
    ) -> dict[str, Reading]:
        found: dict[str, Reading] = {}
        for question in self._questions_of(cell):
            sure, seen = told.get(question.tag) or self._by_clip(question, embed)
            found[f"tag:{question.tag}"] = Reading(float(sure))
            found[f"tag_obeyed:{question.tag}"] = Reading(float(seen))
            found[f"tag_source:{question.tag}"] = self._source_shows(cell.source_sha256, question)
        return found

    def _by_clip(self, question: TagQuestion, embed: np.ndarray) -> tuple[float, bool]:
        clip = self.judges.clip()
        texts = clip.embed_texts(list(question.texts))
        scores, obeyed = tag_scores(embed[None], texts, logit_scale(clip))
        return float(scores[0]), bool(obeyed[0])

    def _source_shows(self, source: str, question: TagQuestion) -> Reading:
        """Whether a source picture shows a tag anyway, whatever a prompt says."""
        key = (source, question.asked)
        if key not in self._shown:
            embed = self._source_embeds.get(source)
            judge = word_judge(self.judges)
            if embed is None:
                self._shown[key] = Reading.nothing(NO_PICTURE)
            elif judge is not None and judge.knows(question.tag):
                read = judge.read([self._sources[source].image], [question.tag])
                self._shown[key] = Reading(float(read.seen[0, 0]))
            else:
                self._shown[key] = Reading(float(self._by_clip(question, embed)[1]))
        return self._shown[key]

    def _words_reading(self, cell: Cell, tags: Mapping[str, Reading]) -> Reading:
        """The words read that are obeyed beyond chance, those which the judge of words knows."""
        judge = word_judge(self.judges)
        kept = [q for q in self._questions_of(cell) if q.tag in cell.variant.read]
        known = [q for q in kept if judge is not None and judge.knows(q.tag)]
        if cell.variant.is_caption or not known:
            text = cell.variant.text
            why = EMPTY_PROMPT if not text else CAPTION if cell.variant.is_caption else NO_WORDS
            return Reading.nothing(why)
        references = [self.references.tag(q, cell.source_sha256)["tag_obeyed"] for q in known]
        chance = [reference.chance for reference in references]
        seen = [tags[f"tag_obeyed:{q.tag}"] for q in known]
        for reading, share, reference in zip(seen, chance, references, strict=True):
            if reading.is_nan:
                return reading
            if not share < 1:  # NaN, too
                return Reading.nothing(reference.reason or "unrelated pictures always show a word")
        return Reading(words_beyond_chance([reading.value for reading in seen], chance))

    @cached_property
    def _source_embeds(self) -> dict[str, np.ndarray]:
        shas = [sha for sha, source in self._sources.items() if not source.is_map]
        embeds = self.judges.clip().embed_images([self._sources[sha].image for sha in shas])
        return dict(zip(shas, embeds, strict=True))

    def _reference(self, cell: Cell, metric: str) -> Reference:
        if metric == WORDS_OBEYED.name:
            return Reference(0.0, 1.0)
        if question := self._question(cell, metric):
            if metric.startswith("tag_source:"):
                return unknown(SHOWN)
            return self.references.tag(question, cell.source_sha256)[metric.partition(":")[0]]
        if metric == "clip_source":
            return self.references.clip_source(cell.source_sha256)
        if metric in ("clip_used", "clip_full"):
            prompt = cell.variant.text if metric == "clip_used" else cell.full_prompt
            if not prompt:
                return unknown(EMPTY_PROMPT)
            return self.references.clip(prompt, cell.source_sha256)
        return self.references.control(cell.map_key)[metric]

    def _spec(self, metric: str) -> MetricSpec:
        if metric not in self._specs:
            self._specs[metric] = metric_spec(metric)
        return self._specs[metric]


def _readings(rows: Collection[Mapping[str, Any]]) -> set[tuple[str, str, str | None]]:
    """Cell, metric and question of every reading that did not fail."""
    good = (row for row in rows if not str(row.get("reason", "")).startswith(NOT_MEASURED))
    return {_reading(row) for row in good}


def _reading(row: Mapping[str, Any]) -> tuple[str, str, str | None]:
    return row["cell"], row["metric"], row.get("asked")


def measure_safely(
    measurer: Measurer,
    samples: Sequence[tuple[str, np.ndarray]],
    cells: Mapping[str, Sequence[Cell]] | None = None,
) -> list[Measured]:
    """As `Measurer.measure`; where it fails, sample by sample.

    A sample on which it fails alone gets NaN with the error as the reason, which begins with
    `NOT_MEASURED`. `Measurer.unmeasured` counts such readings as missing, so that the next start
    tries again: the picture itself is sound and is kept.
    """
    try:
        return measurer.measure(samples, cells)
    except Exception as error:
        log.warning("%d pictures could not be measured together: %s", len(samples), error)
    of_trial = measurer.plan.cells_by_trial if cells is None else cells
    found: list[Measured] = []
    for trial_id, image in samples:
        try:
            found += measurer.measure([(trial_id, image)], cells)
        except Exception as error:
            log.warning("trial %s could not be measured", trial_id, exc_info=True)
            reason = f"{NOT_MEASURED}: {type(error).__name__}: {error}"
            found.append(measurer.nothing(trial_id, of_trial.get(trial_id, ()), reason))
    return found


def embedding_of(extra: Mapping[str, Any]) -> np.ndarray | None:
    """The CLIP embedding kept in a record's `extra`, float32 (D,), or None."""
    text = extra.get(EMBEDDING)
    return unpack(text) if isinstance(text, str) else None


def pack(embedding: np.ndarray) -> str:
    """A vector (D,) as base64 of little-endian float16, small enough for every record."""
    return base64.b64encode(np.asarray(embedding, dtype="<f2").tobytes()).decode("ascii")


def unpack(text: str) -> np.ndarray:
    """The inverse of `pack`: float32 (D,), brought back to unit norm. ValueError if malformed."""
    vector = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f2").astype(np.float32)
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm > 0 else vector
