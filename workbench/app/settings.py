"""Where on the screen each field of a study file is, and those that are found by search alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workbench.study import Study
from workbench.study.fields import ALLOWED, StudyFields

MORE = ("batch_size", "fill_batches", "dtype", "runtime", "safety_checker", "alternatives")
"""Fields of a study that a choice keeps in `Choice.more`: seldom changed, shown when looked for."""
_PICTURE, _SWEEP, _RUN = "in the tab Picture", "in the tab Sweep", "in the tab Run"
PLACES = {
    "name": f"Name, {_RUN}",
    "family": "Family, in the tab Settings",
    "base": f"Base model, {_PICTURE}; Bases, {_SWEEP}",
    "sources": f"Source, {_PICTURE}; Sources, {_SWEEP}",
    "controls": f"Control and + second, {_PICTURE}, with their settings here; Controls, {_SWEEP}",
    "prompt": f"Prompt, {_PICTURE}",
    "lengths": f"Length, {_PICTURE}; Lengths, {_SWEEP}",
    "extra_prompts": f"empty, insufficient, conflicting and full, below the prompt {_PICTURE}",
    "scales": f"Scale, {_PICTURE}; Scales, {_SWEEP}",
    "seeds": f"Seed, {_PICTURE}; Seeds, {_SWEEP}",
}
"""Field of a study -> where it is on the screen, if neither in `MORE` nor a setting of a picture
under its own name. All others are for study files, which `workbench run` takes."""
WORDS = {
    "dtype": "precision number format half float",
    "batch_size": "pictures at once memory",
    "runtime": "memory speed attention offload compile",
    "safety_checker": "nsfw blocked",
    "alternatives": "opposites words judge",
    "guidance_scale": "cfg",
    "scheduler": "sampler",
    "steps": "denoising",
    "control_start": "window",
    "control_end": "window",
    "scales": "conditioning weight strength",
    "sources": "own picture upload",
    "lengths": "prompt length tags",
}
"""Field of a study -> further words by which people look for it."""
ELSEWHERE = "in a study file, for workbench run"


def more_settings(given: str | Mapping[str, Any]) -> str:
    """Further fields of a study as JSON, without those that are as usual.

    ValueError for a field that is not in `MORE`, and for JSON that is no mapping.
    """
    values = json.loads(given or "{}") if isinstance(given, str) else dict(given)
    if not isinstance(values, Mapping):
        raise ValueError("further settings are a mapping from names to values")
    if odd := [name for name in values if name not in MORE]:
        raise ValueError(f"there is no further setting {odd[0]!r}; there are: {', '.join(MORE)}")
    usual = usual_settings()
    kept = {name: values[name] for name in MORE if name in values and values[name] != usual[name]}
    return json.dumps(kept) if kept else ""


def usual_settings() -> dict[str, Any]:
    """The fields of `MORE` with their usual values, as JSON has them."""
    fields = {name: StudyFields.model_fields[name] for name in MORE}
    default = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    return {
        name: value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        for name, value in default.items()
    }


def settings_of(study: Study) -> str:
    """The further settings of a study, as `Choice.more` keeps them."""
    values = study.model_dump(mode="json")
    return more_settings({name: values[name] for name in MORE})


def matches(query: str, name: str, *texts: str) -> bool:
    """Whether a field is found: every word of a query is in its name, its help or the texts."""
    told = (name, ALLOWED.get(name, ""), WORDS.get(name, ""), *texts)
    text = " ".join(told).replace("_", " ").casefold()
    return all(word in text for word in query.replace("_", " ").casefold().split())


def found_elsewhere(query: str, shown: Mapping[str, object]) -> list[tuple[str, str]]:
    """The fields that a query finds and that are not `shown` here, each with its place."""
    if not query.strip():
        return []
    return [
        (name, PLACES.get(name, ELSEWHERE))
        for name in StudyFields.model_fields
        if name not in shown and matches(query, name, PLACES.get(name, ""))
    ]
