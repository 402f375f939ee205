"""The manifest of a start: how it is made here and now, and how it continues that of a run."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.families import determinism
from workbench.families.files import is_setting
from workbench.families.hardware import hardware
from workbench.store.errors import StoreError
from workbench.store.schema import SCHEMA, Manifest, plain
from workbench.study import SourceImage, Study
from workbench.versions import git_state, package_versions

_MAX_EARLIER = 20


@dataclass(frozen=True)
class ModelsInUse:
    """The models of a start.

    names: part ("base/render", "controlnet/depth") -> id and revision that it came from.
    weight_hashes: weight file -> SHA-256. scheduler_config: the scheduler's own. runtime: what was
    asked for and what is in force (`workbench.families.runtime.runtime_record`). words: as in the
    manifest.
    """

    device: str
    dtype: str
    names: Mapping[str, str]
    weight_hashes: Mapping[str, str]
    scheduler_config: Mapping[str, Any]
    runtime: Mapping[str, Any] = field(default_factory=dict)
    safety_checker: bool = False
    words: Mapping[str, str] = field(default_factory=dict)


def conditions_here(device: str, dtype: str) -> dict[str, Any]:
    """What a manifest made here and now says of its surroundings, as plain JSON."""
    return {
        "device": device,
        "dtype": dtype,
        "hardware": hardware(device),
        "deterministic": determinism.flags(),
        "versions": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "git": git_state(Path(__file__).resolve().parents[1]),
    }


def build_manifest(
    study: Study, sources: Mapping[str, SourceImage], models: ModelsInUse
) -> Manifest:
    """The manifest of a start with these models."""
    values = {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "study": study.name,
        "study_hash": study.hash,
        "runtime": models.runtime,
        "safety_checker": models.safety_checker,
        "models": models.names,
        "words": models.words,
        "weight_hashes": models.weight_hashes,
        "scheduler": "" if study.made_elsewhere else study.scheduler,
        "scheduler_config": models.scheduler_config,
        "sources": {label: source.sha256 for label, source in sources.items()},
        **conditions_here(models.device, models.dtype),
    }
    return Manifest.model_validate(plain(values))


def merge_manifests(old: Manifest | None, new: Manifest) -> Manifest:
    """The manifest of a run that is continued.

    Earlier manifests which differ in more than the time are kept under `earlier`, newest first.
    Other weights for the same part, another dtype, tiles of the VAE, or a safety checker turned on
    or off, raise StoreError: the pictures that are there and the new ones could not be compared.
    """
    if old is None:
        return new
    mine, theirs = new.weight_hashes or {}, old.weight_hashes or {}
    changed = sorted(part for part in mine if part in theirs and mine[part] != theirs[part])
    if changed:
        what = "settings or tokenizers of models" if all(map(is_setting, changed)) else "weights"
        raise StoreError(
            f"the pictures in this run folder were made with other {what} ({', '.join(changed)}): "
            "use another folder"
        )
    check_conditions(old, new.dtype, bool(new.safety_checker), tiling=_tiling(new))
    merged = new.model_copy(
        update={
            "weight_hashes": {**theirs, **mine},
            "models": {**(old.models or {}), **(new.models or {})},
        }
    )
    earlier = list(old.earlier or [])
    if old.essence != merged.essence:
        alone = {name: value for name, value in old.as_json().items() if name != "earlier"}
        earlier.insert(0, Manifest.model_validate(alone))
    elif old.created is not None:
        merged = merged.model_copy(update={"created": old.created})
    return merged.model_copy(update={"earlier": earlier[:_MAX_EARLIER]}) if earlier else merged


def check_conditions(
    old: Manifest, dtype: str | None, safety_checker: bool, *, tiling: bool
) -> None:
    """StoreError if pictures made under these conditions cannot stand beside those of a run."""
    for was, now, words in (
        (old.dtype, dtype, "in {}, not in {}"),
        (
            _switch(old.safety_checker),
            _switch(safety_checker),
            "with the safety checker {}, not {}",
        ),
        (_switch(_tiling(old)), _switch(tiling), "with runtime.vae_tiling {}, not {}"),
    ):
        if was != now:
            raise StoreError(
                f"the pictures in this run folder were made {words.format(was, now)}: "
                "use another folder"
            )


def _switch(value: object) -> str:
    return "on" if value else "off"


def _tiling(manifest: Manifest) -> bool:
    asked = (manifest.runtime.asked if manifest.runtime else None) or {}
    return bool(asked.get("vae_tiling"))
