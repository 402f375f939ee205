"""Expanding a study into cells, and cells into the distinct pictures that fill them."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import NamedTuple

from workbench.prompts import PromptVariant, join_tags, leave_one_out, shortened_variant
from workbench.study.canonical import short_hash
from workbench.study.checks import (
    Choices,
    ControlKey,
    control_key,
    installed_choices,
    name_problems,
)
from workbench.study.errors import StudyError
from workbench.study.sources import load_sources
from workbench.study.spec import Study
from workbench.study.trials import Cell, Plan, SourceImage, Trial


def active_steps(steps: int, start: float, end: float) -> tuple[int, ...]:
    """The denoising steps (0 … steps-1) at which the control acts, by diffusers' own rule."""
    return tuple(i for i in range(steps) if i / steps >= start and (i + 1) / steps <= end)


def prompt_variants(study: Study) -> tuple[PromptVariant, ...]:
    """All forms of the study's prompt, in the order of the study file.

    Leave-one-out gives the full prompt and one variant for each tag, whatever the lengths are.
    """
    tags, method = study.prompt, study.shortening.method
    if method == "leave-one-out":
        variants = [shortened_variant(tags, len(tags)), *leave_one_out(tags)]
    else:
        variants = [
            shortened_variant(tags, length, method, study.shortening.seed)
            for length in study.lengths or (len(tags),)
        ]
    for setting, extra in study.extra_prompts.items():
        dropped = tuple(tag for tag in tags if tag not in extra)
        variants.append(PromptVariant(setting, extra, len(extra), dropped, setting))
    return tuple(variants)


def make_plan(
    study: Study, *, resolution: int, folder: Path | None = None, choices: Choices | None = None
) -> Plan:
    """Expand a study for pictures of resolution×resolution pixels.

    Cells come in the order base, source, control, prompt, scale, seed; trials in the order of
    their first cell. Seeds are shared by all cells, so cells are paired by source and seed.
    Source paths are relative to `folder` (default: the folder of the study file).
    Raises StudyError with every name that does not exist, or every source that cannot be used.
    """
    choices = choices or installed_choices()
    problems = name_problems(study, choices)
    if problems:
        raise StudyError(problems)
    sources = load_sources(study.sources, study.folder if folder is None else folder, resolution)
    controls = [(c.type, control_key(c.type, c.settings, choices)) for c in study.controls]
    trials: dict[str, Trial] = {}
    cells: dict[str, Cell] = {}
    grid = product(
        study.base, sources.values(), controls, prompt_variants(study), study.scales, study.seeds
    )
    for base, source, (control, key), variant, scale, seed in grid:
        point = _Point(base, source, control, key, variant, scale, seed)
        trial = _trial(study, point, resolution)
        trials.setdefault(trial.id, trial)
        cell = _cell(study, point, trial.id)
        cells.setdefault(cell.id, cell)
    return Plan(cells=tuple(cells.values()), trials=tuple(trials.values()), sources=sources)


class _Point(NamedTuple):
    """One place in the grid."""

    base: str
    source: SourceImage
    control: str
    key: ControlKey
    variant: PromptVariant
    scale: float
    seed: int


def _trial(study: Study, point: _Point, size: int) -> Trial:
    """The picture of one cell; what cannot change the picture is set to one fixed value."""
    acts = bool(active_steps(study.steps, study.control_start, study.control_end))
    steered = acts and point.scale > 0
    return Trial(
        family=study.family,
        base=point.base,
        control=point.control if steered else None,
        control_settings=point.key.map_settings if steered else "",
        source_sha256=point.source.sha256 if steered else None,
        prompt=point.variant.text,
        # Without guidance the negative prompt is never read.
        negative_prompt=study.negative_prompt if study.guidance_scale > 1 else "",
        seed=point.seed,
        steps=study.steps,
        guidance_scale=study.guidance_scale,
        scheduler=study.scheduler,
        scale=point.scale if steered else 0.0,
        control_start=study.control_start if steered else 0.0,
        control_end=study.control_end if steered else 1.0,
        size=size,
    )


def _cell(study: Study, point: _Point, trial_id: str) -> Cell:
    variant, full_prompt = point.variant, join_tags(study.prompt)
    identity = {
        "trial": trial_id,
        "source": point.source.sha256,
        "control": point.control,
        "control_settings": point.key.settings,
        "variant": [variant.setting, variant.label, variant.tags],
        "full_prompt": full_prompt,
        "scale": point.scale,
        "control_start": study.control_start,
        "control_end": study.control_end,
    }
    return Cell(
        id=short_hash(identity),
        trial_id=trial_id,
        source=point.source.label,
        source_sha256=point.source.sha256,
        control=point.control,
        control_settings=point.key.settings,
        variant=variant,
        full_prompt=full_prompt,
        scale=point.scale,
        seed=point.seed,
        base=point.base,
    )
