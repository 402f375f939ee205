"""From pictures and what is said of them to a plan that can be measured like any other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from pydantic import ValidationError

from workbench.controls import CONTROL_NAMES, ControlError, get_control, network_needs
from workbench.families import Family
from workbench.images import ImageError, read_image
from workbench.prompts import Prompt, PromptVariant, caption_variant, join_tags, webui_syntax
from workbench.scoring.metadata import OWN, control_named
from workbench.scoring.tables import Row, ScoringError
from workbench.store import RunFolder, StoreError, plan_of
from workbench.study import (
    Cell,
    ControlUse,
    Plan,
    SourceImage,
    Study,
    Trial,
    choices_among,
    load_source,
)
from workbench.study.labels import MAP, is_map, is_scene, path_of
from workbench.study.plan import judges_of, named

MAX_TAG_WORDS = 6
"""A prompt is a list of tags if no part of it between commas has more words."""
UNNAMED = "unknown"
"""The base model of pictures of which nobody says it."""
Read = Callable[[], np.ndarray]
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """How pictures are to be measured: by which judges of which family, with or without its VAE.

    judges: what is needed ("clip") -> the name of the choice. name: of the study.
    """

    name: str
    family: Family
    judges: Mapping[str, str]
    vae: bool = True


@dataclass(frozen=True)
class Scoring:
    """What is to be measured: the study and the plan of pictures that are there already.

    pictures: trial id -> reads its picture, uint8 size×size×3. files: trial id -> what it was read
    from and the program that made it. notes: sentences on what was made of the input.
    """

    study: Study
    plan: Plan
    pictures: Mapping[str, Read] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class _Control(NamedTuple):
    """A control type with all its settings, and those that shape its map, as canonical JSON."""

    name: str
    settings: str
    map_settings: str


class _Spot(NamedTuple):
    """What a picture is held against."""

    source: SourceImage
    control: _Control


def plan_rows(rows: Sequence[Row], origin: str, folder: Path, asked: Asked) -> Scoring:
    """The plan of pictures that a table or a folder describes.

    A picture of text alone (scale 0) whose row names no source and control is held against those of
    all other pictures of the same prompt and model, as in any study.

    Args:
        origin: what was read, in words.
        folder: what the paths of sources and maps are relative to. ComfyUI's own folder `input`
            beside it is looked at, too.

    Raises:
        ScoringError: with all that is wrong in the rows. StudyError: there are no such judges.
    """
    spots = _Spots(folder, asked.family, rows[0].side)
    own = _each(rows, spots.of)
    together: dict[tuple[str | None, str], dict[_Spot, None]] = {}
    for row, spot in zip(rows, own, strict=True):
        if spot is not None:
            together.setdefault((row.prompt, row.model), {})[spot] = None

    def held_against(row: Row) -> list[_Spot]:
        spot = spot_of[row.place]
        found = [spot] if spot else list(together.get((row.prompt, row.model), ()))
        if not found:
            raise ScoringError(
                [
                    "nothing is told to hold it against, and no picture of the same prompt and "
                    "model has it: fill the columns `control` and `source` (or `map`)"
                ]
            )
        return found

    spot_of = {row.place: spot for row, spot in zip(rows, own, strict=True)}
    each = _each(rows, held_against)
    variant_of, listed = _variants(rows)
    grid = _Grid(asked.family.name)
    for row, against in zip(rows, each, strict=True):
        grid.add(row, against, *variant_of(row))
    if grid.problems:
        raise ScoringError(grid.problems)
    plan = Plan(
        tuple(cell for cell, _ in grid.cells.values()),
        tuple(trial for trial, _ in grid.trials.values()),
        {spot.source.label: spot.source for against in each for spot in against},
    )
    programs = Counter(row.program for _, row in grid.trials.values())
    made = _settled(plan, asked, origin, programs)
    reads = {name: partial(_read, row) for name, (_, row) in grid.trials.items()}
    files = {
        name: {"file": row.file.name, "program": row.program}
        for name, (_, row) in grid.trials.items()
    }
    notes = [*spots.notes, *_notes(rows, listed, sum(grid.numbers.values()))]
    return replace(made, pictures=reads, files=files, notes=tuple(dict.fromkeys(notes)))


class _Grid:
    """Trials and cells of rows, each with its row; and what is said twice, as sentences."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.numbers: Counter[Any] = Counter()
        self.trials: dict[str, tuple[Trial, Row]] = {}
        self.cells: dict[tuple[Any, ...], tuple[Cell, Row]] = {}
        self.problems: list[str] = []
        self._pictures: dict[str, Row] = {}

    def add(
        self, row: Row, against: Sequence[_Spot], variant: PromptVariant, full_prompt: str
    ) -> None:
        """Take one more row in."""
        seed = self._seed(row, against)
        trial = _trial(row, against[0], variant.text, seed, self.family)
        first = self._pictures.setdefault(row.sha256, row)
        if first is not row and trial.id not in self.trials:
            self.problems.append(f"{row.place}: it is the same picture as {first.place}: each once")
            return
        self.trials.setdefault(trial.id, (trial, row))
        for spot in against:
            cell = _cell(spot, trial, variant, full_prompt)
            place = (cell.map_key, variant.text, full_prompt, cell.scale, seed, cell.base)
            known, before = self.cells.setdefault(place, (cell, row))
            if before is row:
                continue
            if known.trial_id == trial.id:
                what = f"it says the same as {before.place}: each once"
            else:
                what = (
                    f"prompt, source, control, scale, seed and model are those of {before.place}, "
                    "and the picture is another: tell them apart by the column `seed` or `model`"
                )
            self.problems.append(f"{row.place}: {what}")

    def _seed(self, row: Row, against: Sequence[_Spot]) -> int:
        """The seed, or the number of the picture among those that differ in nothing told."""
        if row.seed is not None:
            return row.seed
        key = (row.prompt, row.model, row.scale, *against)
        self.numbers[key] += 1
        return self.numbers[key]


def plan_run(run: RunFolder, asked: Asked) -> Scoring:
    """The plan of all pictures of a run, to be read by other judges; StoreError if it has none."""
    everything = list(run.records())
    records = [record for record in everything if not record.failed]
    failed = len(everything) - len(records)
    planned = run.read_cells()
    if planned is not None:
        records = [
            record.model_copy(
                update={"cells": {k: v for k, v in record.cells.items() if k in planned.cells}}
            )
            for record in records
        ]
    records = [record for record in records if record.cells]
    if not records:
        raise StoreError(f"{run.path} has no picture that was measured: finish the run first")
    study, sources = run.study(), run.read_sources()
    try:
        old = plan_of(records, sources, study)
    except (KeyError, TypeError, ValueError) as error:
        what = f"its records do not say what was measured ({type(error).__name__}: {error})"
        raise StoreError(f"{run.path} cannot be read by other judges: {what}") from error
    ids: dict[str, str] = {}
    trials, reads, files = [], {}, {}
    for record in records:
        picture = record.trial.picture or record.sample_sha256
        trial = replace(record.trial, family=asked.family.name, picture=picture)
        ids[record.trial.id] = trial.id
        trials.append(trial)
        reads[trial.id] = partial(run.read_sample, record.trial.id)
        told = {"file": f"trials/{record.trial.id}/sample.png", "program": OWN}
        files[trial.id] = {k: str(record.made_by.get(k, before)) for k, before in told.items()}
    cells = tuple(replace(cell, trial_id=ids[cell.trial_id]) for cell in old.cells)
    plan = Plan(cells, tuple(trials), old.sources, study.alternatives)
    before = study.made_elsewhere
    programs = before.programs if before else {OWN: len(trials)}
    origin = f"the run {run.path.resolve().name}"
    origin += f", which read them from {before.origin}" if before else ""
    notes = (f"{failed} pictures of the run failed and are left out.",) if failed else ()
    made = _settled(plan, asked, origin, programs)
    return replace(made, pictures=reads, files=files, notes=notes)


def _settled(plan: Plan, asked: Asked, origin: str, programs: Mapping[str, int]) -> Scoring:
    """The study of a plan, and the plan whose cells have their judges and ids."""
    size = plan.trials[0].size
    family = asked.family.with_judges(asked.judges)
    if family.world and size != family.resolution:
        raise ScoringError(
            [
                f"the pictures have {size} × {size} pixels, and the judges of the family "
                f"{family.name} know nothing but the embedded world at {family.resolution}: name "
                "another family (--family sd15)"
            ]
        )
    uses = dict.fromkeys((cell.control, cell.control_settings) for cell in plan.cells)
    if lacking := [need for need in network_needs(uses) if need not in family.networks]:
        raise ScoringError([f"the family {family.name} has no judge of {lacking[0]}: name another"])
    study = Study.from_dict(
        {
            "name": asked.name,
            "family": asked.family.name,
            "base": list(dict.fromkeys(trial.base for trial in plan.trials)),
            "sources": list(plan.sources),
            "controls": [{"type": name, "settings": json.loads(text)} for name, text in uses],
            "judges": dict(asked.judges),
            "alternatives": {word: list(others) for word, others in plan.alternatives.items()},
            "made_elsewhere": {
                "origin": origin, "programs": dict(programs), "size": size, "vae": asked.vae
            },
        },
        choices=choices_among([asked.family]),
    )  # fmt: skip
    windows = {trial.id: (trial.control_start, trial.control_end) for trial in plan.trials}
    cells = []
    for cell in plan.cells:
        both = [ControlUse(cell.control, cell.control_settings, cell.scale)]
        both += [cell.partner] if cell.partner else []
        chosen = replace(cell, judges=judges_of(study, both))
        cells.append(named(chosen, *windows[cell.trial_id]))
    return Scoring(study, replace(plan, cells=tuple(cells)))


def _each(rows: Sequence[Row], work: Callable[[Row], T]) -> list[T]:
    """What `work` makes of each row; ScoringError with all that it refused."""
    found, problems = [], []
    for row in rows:
        try:
            found.append(work(row))
        except (ScoringError, ControlError, ImageError, ValidationError) as error:
            what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            problems.append(f"{row.place}: {what}")
    if problems:
        raise ScoringError(problems)
    return found


def _read(row: Row) -> np.ndarray:
    return row.picture


class _Spots:
    """Reads what pictures are held against: control types with their settings, and sources."""

    def __init__(self, folder: Path, family: Family, size: int) -> None:
        self.folder, self.family, self.size = folder, family, size
        self.notes: list[str] = []
        self._sources: dict[tuple[str, str], SourceImage] = {}
        self._by_hash: dict[str, SourceImage] = {}
        self._by_label: dict[str, SourceImage] = {}

    def of(self, row: Row) -> _Spot | None:
        """What a row's own words hold its picture against; None for a picture of text alone.

        ScoringError, ControlError, ImageError or pydantic's ValidationError where it is wrong.
        """
        control = self._control(row) if row.control else None
        place = f"{MAP}{row.map}" if row.map else row.source
        steered = row.scale is None or row.scale > 0
        wrong = (
            (row.prompt is None, "no prompt is told: fill the column `prompt`"),
            (
                row.side != self.size,
                f"it has {row.side} pixels a side, and the first one {self.size}: score pictures "
                "of one size at a time",
            ),
            (row.source and row.map, "it has a source and a map of it: leave one of them out"),
            (row.scale is None, "no scale is told: fill the column `scale` (0 for text alone)"),
            (
                steered and not control,
                "no control type is told: fill the column `control`, or give it the scale 0",
            ),
            (
                steered and not place,
                "neither source nor map is told: fill the column `source` or `map`",
            ),
        )
        if problem := next((what for is_so, what in wrong if is_so), ""):
            raise ScoringError([problem])
        return _Spot(self._source(row, place, control), control) if control and place else None

    def _control(self, row: Row) -> _Control:
        told = str(row.control)
        name, settings = (told not in CONTROL_NAMES and control_named(told)) or (told, {})
        kind = get_control(name)
        values = {**self.family.settings_for(name), **settings, **row.settings}
        known = kind.settings(values)
        return _Control(name, known.canonical(), known.map_canonical())

    def _source(self, row: Row, place: str, control: _Control) -> SourceImage:
        key = (place, control.settings if is_map(place) else "")
        if key not in self._sources:
            folder = self._folder_of(place)
            drawer = get_control(control.name)
            settings = drawer.settings_type.model_validate_json(control.settings)
            found = load_source(place, folder, self.size, (drawer, settings))
            found = self._by_hash.setdefault(found.sha256, found)  # one picture, two names
            if self._by_label.setdefault(found.label, found) is not found:
                raise ScoringError([f"{path_of(place)} is told to be the map of two control types"])
            self.notes += [found.note] if found.note else []
            self._sources[key] = found
        if abs(row.aspect - 1) > 0.01 and not is_scene(place):
            self._same_shape(row, place)
        return self._sources[key]

    def _folder_of(self, place: str) -> Path:
        beside = self.folder.parent / "input"
        there = (self.folder / path_of(place)).is_file()
        return beside if not there and (beside / path_of(place)).is_file() else self.folder

    def _same_shape(self, row: Row, place: str) -> None:
        """ScoringError where the middle squares of a picture and its source differ in content."""
        height, width = read_image(self._folder_of(place) / path_of(place)).shape[:2]
        if abs(width / height / row.aspect - 1) > 0.02:
            raise ScoringError(
                [
                    f"it is {row.aspect:.2f} times as wide as high and {path_of(place)} "
                    f"{width / height:.2f} times, so their middles do not show the same: cut "
                    "both alike"
                ]
            )


def _variants(
    rows: Iterable[Row],
) -> tuple[Callable[[Row], tuple[PromptVariant, str]], bool]:
    """What gives the form of a row's prompt and the full one; and whether they are lists of tags.

    All prompts are, or none: then each counts as a text that is used whole. A list whose tags are
    all among those of a longer one is a shorter form of it.
    """
    texts = dict.fromkeys(
        text for row in rows for text in (row.prompt, row.full_prompt) if text is not None
    )
    if not all(map(_is_list, texts)):
        return lambda row: (caption_variant(row.prompt or ""), row.prompt or ""), False
    longest = sorted(map(Prompt.of, texts), key=lambda prompt: len(prompt.spans), reverse=True)

    def of(row: Row) -> tuple[PromptVariant, str]:
        prompt = Prompt.of(row.prompt or "")
        tags = prompt.names
        told = None if row.full_prompt is None else Prompt.of(row.full_prompt)
        full = told or next(other for other in longest if set(tags) <= set(other.names))
        dropped = tuple(tag for tag in dict.fromkeys(full.names) if tag not in tags)
        written = None if prompt.text == join_tags(tags) else prompt.text
        label = f"{len(tags)} {'tag' if len(tags) == 1 else 'tags'}"
        return PromptVariant(label, tags, len(tags), dropped, "length", written), full.text

    return of, True


def _is_list(text: str) -> bool:
    """Whether a prompt reads as a list of tags, not as sentences, and has none of the web UI's
    signs, which stand across tags."""
    return not webui_syntax(text) and all(
        len(tag.split()) <= MAX_TAG_WORDS and not tag.endswith((".", "!", "?"))
        for tag in Prompt.of(text).names
    )


def _trial(row: Row, spot: _Spot, prompt: str, seed: int, family: str) -> Trial:
    steered = bool(row.scale)
    return Trial(
        family=family,
        base=row.model or UNNAMED,
        control=spot.control.name if steered else None,
        control_settings=spot.control.map_settings if steered else "",
        source_sha256=spot.source.sha256 if steered else None,
        prompt=prompt,
        negative_prompt=row.negative_prompt,
        seed=seed,
        steps=row.steps,
        guidance_scale=row.guidance_scale,
        scheduler=row.sampler,
        scale=row.scale or 0.0,
        control_start=row.start if steered else 0.0,
        control_end=row.end if steered else 1.0,
        size=row.side,
        picture=row.sha256,
    )


def _cell(spot: _Spot, trial: Trial, variant: PromptVariant, full: str) -> Cell:
    return Cell(
        id="",
        trial_id=trial.id,
        source=spot.source.label,
        source_sha256=spot.source.sha256,
        control=spot.control.name,
        control_settings=spot.control.settings,
        variant=variant,
        full_prompt=full,
        scale=trial.scale,
        seed=trial.seed,
        base=trial.base,
    )


def _notes(rows: Sequence[Row], listed: bool, numbered: int) -> Iterator[str]:
    cut = sum(abs(row.aspect - 1) > 0.01 for row in rows)
    if cut:
        yield f"{cut} of {len(rows)} pictures are not square: their centred squares are measured."
    if numbered:
        yield f"{numbered} of {len(rows)} pictures have no seed and are numbered instead."
    signs = [found for row in rows if (found := webui_syntax(row.prompt or ""))]
    if signs:
        yield (
            f"{len(signs)} of {len(rows)} prompts have signs of the web UI, as {signs[0]}: they "
            "are kept, and judges read them as they stand."
        )
    if not listed and any("," in (row.prompt or "") for row in rows):
        yield (
            "Not every prompt is a plain list of tags, so each is used whole: no word is judged "
            "alone, and there is no axis of prompt length."
        )
