"""Studies to hand on: one that makes a single picture again, and any study tied to its sources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from workbench.families.runtime import Runtime
from workbench.prompts import Prompt, shortened_variant
from workbench.study.errors import StudyError
from workbench.study.labels import at_path, is_scene, path_of
from workbench.study.trials import Cell, Trial
from workbench.study.yamlfile import dump_entries, dump_yaml, parse_yaml

_QUIET = {"fill_batches", "judges", "runtime"}


def single_study(
    trial: Trial,
    cell: Cell,
    *,
    dtype: str,
    batch_size: int,
    runtime: Mapping[str, Any] | None = None,
) -> str:
    """YAML of the study that makes one picture again: the same trial id, and the same bytes where
    machine and environment are the same.

    The study has the full prompt and the length that was used, where the prompt was cut from its
    end; else the prompt that was used. Of a source that is a file it carries the name without
    folders, and the SHA-256 of its fitted pixels, so that another picture is refused.

    Args:
        trial: what was made.
        cell: one of the cells it fills; it knows the source, the control and the full prompt.
        dtype, batch_size: how it was made.
        runtime: what was in force then, as the trial's record has it.
    """
    label = cell.source
    if not is_scene(label):
        label = at_path(label, PurePath(path_of(label)).name)
    if cell.variant.is_caption:
        asked: dict[str, Any] = {"captions": {label: trial.prompt}}
    else:
        asked = _prompt(trial, cell)
    controls, scales = _controls(trial, cell)
    steered = bool(trial.controls)
    values: dict[str, Any] = {
        "name": f"trial-{trial.id}",
        "family": trial.family,
        "base": [trial.base],
        "sources": [label],
        "controls": controls,
        **asked,
        "scales": scales,
        "seeds": [trial.seed],
        "steps": trial.steps,
        "guidance_scale": trial.guidance_scale,
        "scheduler": trial.scheduler,
        "negative_prompt": trial.negative_prompt,
        "control_start": trial.control_start if steered else 0.0,
        "control_end": trial.control_end if steered else 1.0,
        "batch_size": batch_size,
        "fill_batches": batch_size > 1,
        "dtype": dtype,
        "runtime": Runtime.of_pixels(runtime or {}).model_dump(),
        "judges": dict(cell.judges),
        "source_sha256": {label: cell.source_sha256},
    }
    return dump_entries({k: v for k, v in values.items() if v or k not in _QUIET})


def _prompt(trial: Trial, cell: Cell) -> dict[str, Any]:
    """The prompt and the length that give the text that was used."""
    full, used = Prompt.of(cell.full_prompt), Prompt.of(trial.prompt)
    length = len(used.spans)
    cut = cell.variant.setting == "length" and length <= len(full.spans)
    if cut:
        same = shortened_variant(full, length)
        cut = (same.label, same.text) == (cell.variant.label, trial.prompt)
    value = full.value if cut or not length else used.value
    return {"prompt": value if isinstance(value, str) else list(value), "lengths": [length]}


def _controls(trial: Trial, cell: Cell) -> tuple[list[Any], list[float]]:
    """The study's controls and scales: what steers the trial, else what would at scale 0.

    The cell has the whole settings, the trial only those that shape the map.
    """
    settings = {cell.control: cell.control_settings}
    if cell.partner is not None:
        settings[cell.partner.control] = cell.partner.control_settings
    names = [use.control for use in trial.controls] or [cell.control]
    entries = [{"type": name, "settings": json.loads(settings[name])} for name in names]
    if len(entries) == 1:
        return entries, [trial.scale]
    axes = {use.control: [use.scale] for use in trial.controls}
    return [{"pair": entries, "scales": axes}], [trial.scale]


def pin_sources(text: str, hashes: Mapping[str, str]) -> str:
    """A study file's text with the SHA-256 of the fitted pixels of each of its sources added.

    Text that is no study comes back as it is.
    """
    try:
        values = parse_yaml(text)
    except StudyError:
        return text
    labels = values.get("sources")
    known = labels if isinstance(labels, list) else []
    pins = {label: hashes[label] for label in known if label in hashes}
    if not pins:
        return text
    return dump_yaml({**values, "source_sha256": pins})
