"""Published evaluations, which fix most of a study so that its figures can be held against theirs.

`protocol: controlnet-plus-plus` is that of ControlNet++ (Li et al. 2024, "ControlNet++: Improving
Conditional Controls with Efficient Consistency Feedback") as its `eval/` folder does it
(liming-ai/ControlNet_Plus_Plus). docs/protocols.md says where ours still differs from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from workbench.samplers import sampler_name
from workbench.study.errors import problem, short
from workbench.study.ranges import expand_seeds

CAPTIONED = "caption"
"""Stands for the prompt of a study whose sources have captions."""


@dataclass(frozen=True)
class Protocol:
    """What a protocol fixes.

    fields: values of the study's fields; absent ones are filled in, others must be equal.
    family: used where the study names none; any of this `resolution` (pixels a side) will do.
    controls: its control types and their settings.
    judges: its judges by what is needed, for the controls of `needs` and for every study ("").
    pictures: how many seeds, that is pictures for each prompt.
    """

    fields: Mapping[str, Any]
    family: str
    resolution: int
    controls: Mapping[str, Mapping[str, Any]]
    judges: Mapping[str, Mapping[str, str]]
    pictures: int


PROTOCOLS: dict[str, Protocol] = {
    "controlnet-plus-plus": Protocol(
        fields={
            "scales": [1.0],
            "steps": 20,
            "guidance_scale": 7.5,
            "scheduler": "unipc",
            "negative_prompt": "worst quality, low quality",
            "control_start": 0.0,
            "control_end": 1.0,
            "lengths": [],
            "extra_prompts": {},
            "shortening": {"method": "prefix", "seed": 0},
        },
        family="sd15",
        resolution=512,
        controls={
            "canny": {"low": 100.0, "high": 200.0, "blur": 0.0, "tolerance": 0.0},
            "hed": {},
            "lineart": {"method": "realistic"},
            "depth": {},
            "segmentation": {"classes": "ade20k"},
        },
        judges={
            "": {"clip": "vit-b-16"},
            "hed": {"edges": "hed"},
            "lineart": {"lineart": "fine"},
            "depth": {"depth": "dpt-large"},
            "segmentation": {"segmentation": "mask2former"},
        },
        pictures=4,
    )
}


def follow(data: Any) -> tuple[Any, list[str]]:
    """A study's plain values with what its protocol fixes filled in, and what contradicts it.

    Contradicting values are replaced, so that the rest can be checked. A study with captions or
    forms may leave out `prompt`, as may one of pictures made elsewhere. Anything else comes back as
    it is, for others to judge.
    """
    if not isinstance(data, Mapping):
        return data, []
    filled = dict(data)
    promptless = filled.get("captions") or filled.get("made_elsewhere")
    if promptless and "prompt" not in filled:
        filled["prompt"] = [CAPTIONED]
    forms = filled.get("forms")
    if isinstance(forms, Mapping) and forms and "prompt" not in filled:
        filled["prompt"] = [*forms.values()][-1]
    name = filled.get("protocol")
    protocol = PROTOCOLS.get(name) if isinstance(name, str) else None
    if protocol is None:
        return filled, []
    lines: list[str] = []
    filled.setdefault("family", protocol.family)
    for field, wanted in protocol.fields.items():
        filled[field] = _fixed(field, filled.get(field, wanted), wanted, str(name), lines)
    with suppress(ValueError):  # the field says what is wrong
        filled["seeds"] = expand_seeds(filled.get("seeds", protocol.pictures))
    seeds = _plain(filled.setdefault("seeds", list(range(1, protocol.pictures + 1))))
    if isinstance(seeds, list) and len(seeds) != protocol.pictures:
        what = f"{len(seeds)} seeds contradict the protocol {name}"
        lines.append(problem("seeds", what, f"{protocol.pictures} seeds"))
    types = _controls(filled, protocol, str(name), lines)
    _judges(filled, protocol, types, str(name), lines)
    return filled, lines


def resolution_problems(protocol: str, family: str, resolution: int) -> list[str]:
    """The sentence for a family whose pictures have not the protocol's size, if it is known."""
    known = PROTOCOLS.get(protocol)
    if known is None or resolution in (0, known.resolution):
        return []
    what = f"{family} draws pictures of {resolution} pixels, the protocol {protocol} wants others"
    return [problem("family", what, f"a family of {known.resolution} pixels")]


def _controls(filled: dict[str, Any], protocol: Protocol, name: str, lines: list[str]) -> list[str]:
    """Fill in the settings of each control; gives the types that the protocol knows."""
    entries = _plain(filled.get("controls"))
    if not isinstance(entries, list):
        return []
    types: list[str] = []
    for index, entry in enumerate(entries):
        field = f"controls[{index}]"
        choice = {"type": entry} if isinstance(entry, str) else entry
        kind = choice.get("type") if isinstance(choice, Mapping) else None
        if not isinstance(kind, str) or kind not in protocol.controls:
            shown = short(kind if isinstance(kind, str) else "a pair")
            what = f"{shown} is not part of the protocol {name}"
            lines.append(problem(field, what, ", ".join(protocol.controls)))
            continue
        types.append(kind)
        given = choice.get("settings") or {}
        if isinstance(given, Mapping):
            settings = dict(given)
            for key, wanted in protocol.controls[kind].items():
                value = settings.get(key, wanted)
                settings[key] = _fixed(f"{field}.settings.{key}", value, wanted, name, lines)
            entries[index] = {**choice, "settings": settings}
    filled["controls"] = entries
    return types


def _judges(
    filled: dict[str, Any], protocol: Protocol, types: list[str], name: str, lines: list[str]
) -> None:
    judges = filled.get("judges") or {}
    if not isinstance(judges, Mapping):
        return
    chosen = dict(judges)
    for kind in ("", *types):
        for need, wanted in protocol.judges.get(kind, {}).items():
            value = chosen.get(need, wanted)
            chosen[need] = _fixed(f"judges.{need}", value, wanted, name, lines)
    filled["judges"] = chosen


def _fixed(field: str, value: Any, wanted: Any, name: str, lines: list[str]) -> Any:
    """The protocol's value; a sentence is added if the study says another."""
    value = sampler_name(_plain(value)) if field == "scheduler" else _plain(value)
    if field == "shortening" and isinstance(value, str):
        value = {**wanted, "method": value}
    if value != wanted and not (value is None and not wanted):
        shown = "nothing" if wanted in ([], {}) else short(wanted)
        lines.append(problem(field, f"{short(value)} contradicts the protocol {name}", shown))
    return wanted


def _plain(value: Any) -> Any:
    """Lists for tuples and mappings for models, as in a study file."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
