"""Expanding a study into cells, and cells into the distinct pictures that fill them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from workbench.controls import network_needs, resolve
from workbench.families import CLIP, WORDS
from workbench.prompts import (
    Prompt,
    PromptVariant,
    caption_variant,
    form_variants,
    leave_one_out,
    setting_variant,
    shortened_variant,
    unit_variant,
    whole_length,
)
from workbench.study.canonical import short_hash
from workbench.study.checks import ControlKey, control_key, name_problems
from workbench.study.choices import Choices, installed_choices
from workbench.study.errors import StudyError, problem
from workbench.study.fields import ControlChoice, PairChoice
from workbench.study.labels import is_map
from workbench.study.readings import not_known, read_forms
from workbench.study.sources import Drawer, load_sources
from workbench.study.spec import Study
from workbench.study.trials import Cell, ControlUse, Plan, SourceImage, Trial

if TYPE_CHECKING:
    from workbench.families.reading import TextReader


@lru_cache(maxsize=64)
def active_steps(steps: int, start: float, end: float) -> tuple[int, ...]:
    """The denoising steps (0 … steps-1) at which the control acts, by diffusers' own rule.

    start, end: shares of the steps, in [0, 1].

    >>> active_steps(10, 0.0, 0.5)
    (0, 1, 2, 3, 4)
    """
    return tuple(i for i in range(steps) if i / steps >= start and (i + 1) / steps <= end)


def prompt_variants(
    study: Study, source: str = "", reader: TextReader | None = None
) -> tuple[PromptVariant, ...]:
    """All forms of the study's prompt, in the order of the study file.

    Leave-one-out gives the full prompt and one variant for each tag, whatever the lengths are.
    Where sources have captions, the forms are those of the caption of `source` (its label); a
    caption that is shorter than a length is whole there, and has no longer ones.
    Without a `reader` every byte counts as a token.
    Raises StudyError for lengths beyond the end of the prompt.
    """
    captioned = source in study.captions
    written, prompt = study.captions.get(source, study.forms), study.whole_prompt(source)
    unit, method = study.unit, study.shortening.method
    if written and isinstance(written, dict):
        variants = [*form_variants(written, prompt, caption=captioned)]
    elif captioned and not study.lengths:
        return (caption_variant(prompt.text),)
    elif captioned or unit != "tags":
        variants = _by_unit(study, prompt, reader, captioned)
    elif method == "leave-one-out":
        whole = len(prompt.spans)
        variants = [shortened_variant(prompt, whole), *leave_one_out(prompt)]
    else:
        seed, keep = study.shortening.seed, study.shortening.keep
        variants = [
            shortened_variant(prompt, length, method, seed, keep)
            for length in study.lengths or (len(prompt.spans),)
        ]
    variants += [
        setting_variant(setting, extra, prompt) for setting, extra in study.extra_prompts.items()
    ]
    return tuple(variants)


def _by_unit(
    study: Study, prompt: Prompt, reader: TextReader | None, captioned: bool
) -> list[PromptVariant]:
    """The lengths of a prompt in the study's unit."""
    count = _bytes if reader is None else partial(_counted, reader)
    whole = whole_length(prompt, study.unit, count)
    beyond = [length for length in study.lengths if length > whole]
    if beyond and not captioned:
        what = f"{beyond[0]} {study.unit} are more than the prompt has"
        raise StudyError([problem("lengths", what, f"0 to {whole}")])
    lengths = [length for length in study.lengths or (whole,) if length <= whole]
    variants = [
        unit_variant(prompt, length, study.unit, count, caption=captioned) for length in lengths
    ]
    if beyond and whole not in lengths:
        last = unit_variant(prompt, whole, study.unit, count, caption=True)
        label = f"{min(beyond)} {study.unit}"
        variants.append(replace(last, label=label, length=min(beyond)))
    return variants


def _bytes(text: str) -> int:
    """The most tokens that a text can have: a plan without a tokenizer is provisional."""
    return len(text.encode())


def _counted(reader: TextReader, text: str) -> int:
    return reader.tokens(text) - 2  # without start and end


def make_plan(
    study: Study,
    *,
    resolution: int,
    folder: Path | None = None,
    choices: Choices | None = None,
    sources: Mapping[str, SourceImage] | None = None,
    models: str | Path | None = None,
) -> Plan:
    """Expand a study for pictures of resolution×resolution pixels.

    Cells come in the order base, source, control, prompt, scale, seed; trials in the order of
    their first cell. Seeds are shared by all cells, so cells are paired by source and seed.

    A pair of controls has two scale axes and every combination of them. Each point is one picture
    and two cells, one measured by each control. A control at scale 0 does not steer, so a pair's
    picture at scales (0, s) is that of the other control alone at s, and is made once.
    Prompts that the text encoder reads alike give one picture, under the first of their texts; a
    prompt length that is read like one before is left out. The tokenizers for it are looked for in
    `models` (None: the usual models folder); without them nothing is merged (`Plan.knows_reading`).
    Source paths are relative to `folder` (default: the folder of the study file); with `sources`
    (fitted pictures by label) nothing is read or rendered.
    Raises StudyError with every name that does not exist, or every source that cannot be used.
    """
    choices = choices or installed_choices()
    problems = name_problems(study, choices)
    if study.made_elsewhere:
        problems = [study.made_elsewhere.sentence]
    if problems:
        raise StudyError(problems)
    if sources is None:
        sources = load_sources(
            study.sources,
            study.folder if folder is None else folder,
            resolution,
            study.source_sha256,
            _drawer(study, choices),
        )
    steerings = [_steerings(study, entry, choices) for entry in study.controls]
    family = choices.families[study.family]
    readers = {base: family.reader(base, models) for base in study.base}
    readings = {
        base: read_forms(
            {label: prompt_variants(study, label, reader) for label in sources},
            reader,
            family.text_limit,
        )
        for base, reader in readers.items()
    }
    told = dict.fromkeys(reading.told for reading in readings.values() if reading.told)
    reads = None not in readers.values()
    known = all(reading.known for reading in readings.values())
    known &= reads or study.unit != "tokens"
    whole = {label: study.whole_prompt(label).text for label in sources}
    trials: dict[str, Trial] = {}
    cells: dict[str, Cell] = {}
    grid = (
        _Point(
            base,
            source,
            whole[source.label],
            uses,
            variant,
            readings[base].same.get(variant.text, variant.text),
            seed,
        )
        for base, source, ways in product(study.base, sources.values(), steerings)
        for variant in readings[base].forms[source.label]
        for uses, seed in product(ways, study.seeds)
    )
    for point in grid:
        trial = _trial(study, point, resolution)
        trials.setdefault(trial.id, trial)
        for cell in _cells(study, point, trial.id):
            cells.setdefault(cell.id, cell)
    return Plan(
        cells=tuple(cells.values()),
        trials=tuple(trials.values()),
        sources=sources,
        alternatives=study.alternatives,
        told=tuple(told) if known else (*told, not_known(study.unit, family.text_limit)),
        reads=reads,
        knows_reading=known,
    )


def _drawer(study: Study, choices: Choices) -> Drawer | None:
    """The one control type of a study with drawn sources, which are its maps; else None."""
    entry = study.controls[0]
    if not any(map(is_map, study.sources)) or isinstance(entry, PairChoice):
        return None
    return resolve(entry.type, control_key(study, entry, choices).settings)


class _Use(NamedTuple):
    """One control at a point of the grid."""

    control: str
    key: ControlKey
    scale: float


class _Point(NamedTuple):
    """One place in the grid: `uses` are one control, or the two of a pair; `text` is the prompt
    that the picture is made with, which is read like that of `variant`, a form of `full_prompt`."""

    base: str
    source: SourceImage
    full_prompt: str
    uses: tuple[_Use, ...]
    variant: PromptVariant
    text: str
    seed: int


def _steerings(
    study: Study, entry: ControlChoice | PairChoice, choices: Choices
) -> list[tuple[_Use, ...]]:
    """Every combination of scales of one entry of the study's controls."""
    if isinstance(entry, PairChoice):
        members, axes = entry.pair, entry.axes(study.scales)
    else:
        members, axes = (entry,), (study.scales,)
    keys = [control_key(study, choice, choices) for choice in members]
    return [
        tuple(
            _Use(choice.type, key, scale)
            for choice, key, scale in zip(members, keys, scales, strict=True)
        )
        for scales in product(*axes)
    ]


def _trial(study: Study, point: _Point, size: int) -> Trial:
    """The picture of one cell; what cannot change the picture is set to one fixed value."""
    acts = bool(active_steps(study.steps, study.control_start, study.control_end))
    acting = [
        ControlUse(use.control, use.key.map_settings, use.scale)
        for use in sorted(point.uses, key=lambda use: use.control)
        if acts and use.scale > 0
    ]
    first = acting[0] if acting else None
    return Trial(
        family=study.family,
        base=point.base,
        control=first.control if first else None,
        control_settings=first.control_settings if first else "",
        source_sha256=point.source.sha256 if first else None,
        prompt=point.text,
        # Without guidance the negative prompt is never read.
        negative_prompt=study.negative_prompt if study.guidance_scale > 1 else "",
        seed=point.seed,
        steps=study.steps,
        guidance_scale=study.guidance_scale,
        scheduler=study.scheduler,
        scale=first.scale if first else 0.0,
        control_start=study.control_start if first else 0.0,
        control_end=study.control_end if first else 1.0,
        size=size,
        also=tuple(acting[1:]),
        networks=_chosen(study, acting),
    )


def _chosen(study: Study, uses: Iterable[ControlUse], *others: str) -> tuple[tuple[str, str], ...]:
    """The study's choices for the networks that these controls need, and for `others`."""
    if not study.judges:
        return ()
    needs = {*network_needs((use.control, use.control_settings) for use in uses), *others}
    return tuple((need, study.judges[need]) for need in sorted(needs) if need in study.judges)


def judges_of(study: Study, uses: Iterable[ControlUse]) -> tuple[tuple[str, str], ...]:
    """Those of the study's choices of judges that can change the readings of a cell.

    uses: the control or the two controls of the cell.
    """
    return _chosen(study, uses, CLIP, WORDS)


def _cells(study: Study, point: _Point, trial_id: str) -> list[Cell]:
    """The cells of one place: one for each of its controls."""
    partners: list[_Use | None] = [*point.uses[::-1]] if len(point.uses) > 1 else [None]
    pairs = zip(point.uses, partners, strict=True)
    return [_cell(study, point, use, partner, trial_id) for use, partner in pairs]


def _cell(study: Study, point: _Point, use: _Use, other: _Use | None, trial_id: str) -> Cell:
    uses = [ControlUse(each.control, each.key.settings, each.scale) for each in point.uses]
    judges = judges_of(study, uses)
    partner = ControlUse(other.control, other.key.settings, other.scale) if other else None
    cell = Cell(
        id="",
        trial_id=trial_id,
        source=point.source.label,
        source_sha256=point.source.sha256,
        control=use.control,
        control_settings=use.key.settings,
        variant=point.variant,
        full_prompt=point.full_prompt,
        scale=use.scale,
        seed=point.seed,
        base=point.base,
        partner=partner,
        judges=judges,
    )
    return named(cell, study.control_start, study.control_end)


def named(cell: Cell, start: float, end: float) -> Cell:
    """The cell with its id, which follows from all else and from the control's window."""
    variant = cell.variant
    identity = {
        "trial": cell.trial_id,
        "source": cell.source_sha256,
        "control": cell.control,
        "control_settings": cell.control_settings,
        "variant": [variant.setting, variant.label, variant.tags],
        "full_prompt": cell.full_prompt,
        "scale": cell.scale,
        "control_start": start,
        "control_end": end,
    }
    if cell.partner is not None:  # a cell of one control keeps the id it always had
        identity["partner"] = asdict(cell.partner)
    if cell.judges:
        identity["judges"] = [list(pair) for pair in cell.judges]
    return replace(cell, id=short_hash(identity))
