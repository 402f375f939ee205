"""The control maps of a plan's sources: extracted from pictures, or drawn already and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from workbench.controls import ControlMap, MapKey, map_warning, resolve
from workbench.study import Plan

Extract = Callable[[str, str, Sequence[np.ndarray]], list[ControlMap]]


def make_source_maps(plan: Plan, extract: Extract) -> dict[MapKey, ControlMap]:
    """Maps by (source hash, control, settings as JSON), for every cell and every trial.

    Args:
        extract: gives the maps of pictures for a control type and its settings; called once for
            each of these, with all pictures.
    """
    trials = plan.trials_by_id
    wanted: dict[MapKey, list[MapKey]] = {}
    for cell in plan.cells:
        same = wanted.setdefault(cell.map_key, [])
        for trial_key in trials[cell.trial_id].map_keys:
            if trial_key[1] == cell.control and trial_key not in same:
                same.append(trial_key)
    kinds: dict[tuple[str, str], list[str]] = {}
    for source, name, settings in wanted:
        kinds.setdefault((name, settings), []).append(source)
    found: dict[MapKey, ControlMap] = {}
    for (name, settings), shas in kinds.items():
        for sha, made in _maps(plan, name, settings, shas, extract).items():
            key = MapKey(sha, name, settings)
            found |= dict.fromkeys([key, *wanted[key]], made)
    return found


def map_warnings(plan: Plan, maps: Mapping[MapKey, ControlMap]) -> list[str]:
    """A sentence for each of the sources' maps that cannot steer (`controls.map_warning`)."""
    labels = {source.sha256: label for label, source in plan.sources.items()}
    said = []
    for key in dict.fromkeys(cell.map_key for cell in plan.cells if cell.map_key in maps):
        control, settings = resolve(key.control, key.settings)
        said.append(map_warning(control, settings, maps[key], labels[key.picture]))
    return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in said if sentence]


def _maps(
    plan: Plan, name: str, settings_json: str, shas: Sequence[str], extract: Extract
) -> dict[str, ControlMap]:
    """One map for each source, by its hash."""
    sources = {source.sha256: source for source in plan.sources.values()}
    pictures = [sha for sha in shas if not sources[sha].is_map]
    maps: dict[str, ControlMap] = {}
    if pictures:
        made = extract(name, settings_json, [sources[sha].image for sha in pictures])
        maps |= zip(pictures, made, strict=True)
    control, settings = resolve(name, settings_json)
    for sha in shas:
        if sha not in maps:
            maps[sha] = control.from_picture_for(sources[sha].image, settings)
    return maps
