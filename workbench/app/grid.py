"""A run that grows: its study becomes the grid that holds what was there and what is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.study import Choices, Study, StudyError

AXES = ("source", "control", "length", "scale", "second_scale", "seed", "base")
"""What a sweep can vary. Lengths are numbers of tags that are kept, counted from the first."""
Axes = Mapping[str, Sequence[Any]]
_LISTS = {"base": "base", "sources": "source", "controls": "control", "lengths": "length",
          "scales": "scale", "seeds": "seed"}  # fmt: skip
_SORTED = ("lengths", "scales", "seeds")
_OWN = ("name", "extra_prompts", "source_sha256", "batch_size")


def extended(study: Study, wanted: Study, choices: Choices | None = None) -> Study | None:
    """The study with every value that another one asks for; None if no run can hold both.

    That is so where they differ in what a run holds fixed, such as the prompt or the steps. The
    grid may have more cells than the two together.
    """
    old, new = study.model_dump(mode="json"), wanted.model_dump(mode="json")
    if any(old[name] != new[name] for name in new if name not in (*_LISTS, *_OWN)):
        return None
    extra = {**new["extra_prompts"], **old["extra_prompts"]}
    if any(extra[name] != prompt for name, prompt in new["extra_prompts"].items()):
        return None
    for values in (old, new):
        values["lengths"] = values["lengths"] or [len(study.tags)]
    grown = {name: old[name] + [v for v in new[name] if v not in old[name]] for name in _LISTS}
    grown |= {name: sorted(grown[name]) for name in _SORTED}
    grown["controls"] = _joined(grown["controls"], grown["scales"])
    try:
        return Study.from_dict(
            old | grown | {"extra_prompts": extra}, folder=study.folder, choices=choices
        )
    except StudyError:
        return None


def _joined(controls: Sequence[dict[str, Any]], scales: Sequence[float]) -> list[dict[str, Any]]:
    """Controls with each pair once, which has all scales that were asked for."""
    found: list[dict[str, Any]] = []
    for use in controls:
        same = [one for one in found if "pair" in use and one.get("pair") == use["pair"]]
        if not same:
            found.append({**use})
            continue
        for name in same[0]["scales"].keys() | use["scales"].keys():
            axes = (one["scales"].get(name, scales) for one in (same[0], use))
            axis = sorted({scale for axis in axes for scale in axis})
            same[0]["scales"] = same[0]["scales"] | {name: axis}
    return found


def python_lines(study: Study, folder: str) -> str:
    """Python that runs a study into a folder and shows it, without what goes without saying."""
    usual = {name: field.get_default(call_default_factory=True)
             for name, field in Study.model_fields.items()}  # fmt: skip
    values = study.model_dump(mode="json")
    said = {
        name: value
        for name, value in values.items()
        if name in ("name", "sources", "controls", "prompt") or getattr(study, name) != usual[name]
    }
    said["controls"] = [
        use if use.get("settings") or "pair" in use else use["type"] for use in said["controls"]
    ]
    fields = "\n".join(f"    {name}={value!r}," for name, value in said.items())
    return (
        f"import workbench as wb\n\nstudy = wb.Study(\n{fields}\n)\n"
        f"run = wb.run(study, {folder!r})\nwb.explore(run)\n"
    )
