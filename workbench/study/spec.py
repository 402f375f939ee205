"""The study: what to vary and what to hold fixed, as one typed value and one YAML file."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    StrictStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from workbench.prompts import parse_tags
from workbench.study.canonical import settings_hash
from workbench.study.checks import (
    SCENE_SOURCE,
    SOURCES_ALLOWED,
    Choices,
    cross_problems,
    installed_choices,
    name_problems,
    source_problems,
)
from workbench.study.entries import (
    PAIR,
    ControlChoice,
    ControlEntry,
    Number,
    PairChoice,
    Scale,
    Value,
    as_mapping,
)
from workbench.study.errors import StudyError, structure_problems
from workbench.study.trials import Cell, ControlCount, Plan, PlanSummary, SourceImage, Trial
from workbench.study.yamlfile import dump_yaml, parse_yaml, read_text

__all__ = [
    "Cell",
    "ControlChoice",
    "ControlCount",
    "PairChoice",
    "Plan",
    "PlanSummary",
    "Shortening",
    "SourceImage",
    "Study",
    "StudyError",
    "Trial",
]

MAX_TAG_LENGTH = 200
MANY, FEW = 10_000, 1_000
"""How many entries a list may have: sources and seeds, and all others."""
MAX_SEED = 2**32 - 1
TAGS_ALLOWED = 'a list of tags, or one text of tags with commas ("a girl, long hair")'


def _plain_text(text: str) -> str:
    text = text.strip()
    if any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c == "\ufeff" for c in text):
        raise ValueError("has a control character or a line break in it")
    return text


def _one_tag(text: str) -> str:
    text = " ".join(_plain_text(text).split())
    if not text:
        raise ValueError("is an empty tag")
    if parse_tags(text) != (text,):
        raise ValueError(f'"{text[:60]}" has a comma in it: make it two tags')
    if len(text) > MAX_TAG_LENGTH:
        raise ValueError(f"is a tag of more than {MAX_TAG_LENGTH} characters")
    return text


def _split_tags(value: Any) -> Any:
    if value is None:
        return ()
    return parse_tags(value) if isinstance(value, str) else value


def _one_source(text: str) -> str:
    text = _plain_text(text)
    if not text:
        raise ValueError("is empty")
    if text.startswith("paperdoll:"):
        if not SCENE_SOURCE.fullmatch(text):
            raise ValueError(f'"{text[:60]}" has no seed: write paperdoll:<whole number>')
        return f"paperdoll:{int(text.partition(':')[2])}"
    return text


Tag = Annotated[StrictStr, AfterValidator(_one_tag)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=FEW), BeforeValidator(_split_tags)]
Name = Annotated[StrictStr, Field(min_length=1, max_length=80, pattern=r"^\w[\w .\-]*$")]
Source = Annotated[StrictStr, AfterValidator(_one_source)]
Length = Annotated[int, Field(strict=True, ge=0)]
Seed = Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
Setting = Literal["empty", "insufficient", "conflicting", "full"]
Digest = Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}$")]

ALLOWED = {
    "name": "letters, digits, spaces and - _ . (up to 80 characters)",
    "family": "the name of a model family",
    "base": "a list of names of base models",
    "sources": SOURCES_ALLOWED,
    "controls": "a list of controls, each a name, {type: name, settings: {...}}, or two at once: "
    "{pair: [name, name], scales: {name: [numbers]}}",
    "prompt": TAGS_ALLOWED,
    "lengths": "a list of whole numbers from 0 to the number of tags in the prompt",
    "shortening": "{method: prefix | random | leave-one-out, seed: a whole number from 0}",
    "extra_prompts": "empty, insufficient, conflicting, full, each with a list of tags",
    "scales": "a list of numbers from 0 to 10",
    "seeds": f"a list of whole numbers from 0 to {MAX_SEED}",
    "steps": "a whole number from 1 to 1000",
    "guidance_scale": "a number from 1 (off) to 30",
    "scheduler": "unipc, ddim, euler, dpm++",
    "negative_prompt": "text of up to 2000 characters on one line",
    "control_start": "a number from 0 to 1 (share of the steps)",
    "control_end": "a number from 0 to 1 (share of the steps)",
    "batch_size": "a whole number from 1 to 1024",
    "fill_batches": "true or false",
    "dtype": "float32, float16, bfloat16",
    "source_sha256": "for each source, the 64 hexadecimal digits of its fitted pixels' SHA-256",
}
QUIET = frozenset({"fill_batches", "source_sha256"})
"""Fields that a study file does not mention where they are empty or off."""
# Stand in for a missing or wrong required field while the other fields are checked.
_FILLERS: dict[str, Any] = {
    "name": "study",
    "sources": ["paperdoll:0"],
    "controls": ["canny"],
    "prompt": ["tag"],
}


class Shortening(Value):
    """How a prompt is cut to a length. `seed` matters for `random` only."""

    method: Literal["prefix", "random", "leave-one-out"] = "prefix"
    seed: Seed = 0


class Study(Value):
    """A declared experiment: the grid of everything in a list, under the settings held fixed.

    Wrong values raise StudyError with all problems at once, whether the study comes from a file
    or from keyword arguments. Names of families, base models and controls are checked by
    `from_yaml`, `from_dict` and `make_plan`, which know what exists.
    `lengths` may be empty: then only the full prompt is used. An entry of `controls` is one
    control, or a pair of them that steers at once.

    `fill_batches` makes a batch that is too small full with copies, which are thrown away: pixels
    depend on the size of the batch by a rounding, so this is how a single picture of a larger run
    is made again to the byte. `source_sha256` pins sources to their pixels, after fitting: a study
    that was taken out of a report or a picture refuses any other source. It says what was, not
    what to do, so it is no part of the `hash`.
    """

    name: Name
    family: StrictStr = "paperdoll"
    base: tuple[StrictStr, ...] = Field(default=("render",), min_length=1, max_length=FEW)
    sources: tuple[Source, ...] = Field(min_length=1, max_length=MANY)
    controls: tuple[ControlEntry, ...] = Field(min_length=1, max_length=FEW)
    prompt: Annotated[Tags, Field(min_length=1)]
    lengths: tuple[Length, ...] = Field(default=(), max_length=FEW)
    shortening: Annotated[Shortening, as_mapping("method")] = Shortening()
    extra_prompts: dict[Setting, Tags] = Field(default_factory=dict)
    scales: tuple[Scale, ...] = Field(default=(1.0,), min_length=1, max_length=FEW)
    seeds: tuple[Seed, ...] = Field(default=(1,), min_length=1, max_length=MANY)
    steps: int = Field(default=20, strict=True, ge=1, le=1000)
    guidance_scale: Annotated[Number, Field(ge=1, le=30)] = 5.0
    scheduler: Literal["unipc", "ddim", "euler", "dpm++"] = "unipc"
    negative_prompt: Annotated[StrictStr, Field(max_length=2000), AfterValidator(_plain_text)] = ""
    control_start: Fraction = 0.0
    control_end: Fraction = 1.0
    batch_size: int = Field(default=16, strict=True, ge=1, le=1024)
    fill_batches: bool = Field(default=False, strict=True)
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    source_sha256: dict[Source, Digest] = Field(default_factory=dict)

    _folder: Path = PrivateAttr(default_factory=Path)

    @model_validator(mode="wrap")
    @classmethod
    def _all_at_once(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        context = info.context or {}
        lines: list[str] = []
        skip: set[str] = set()
        try:
            study = handler(data)
        except ValidationError as error:
            keys = {
                "": list(cls.model_fields),
                "controls": list(ControlChoice.model_fields),
                PAIR: list(PairChoice.model_fields),
                "shortening": list(Shortening.model_fields),
            }
            lines = structure_problems(error, keys=keys, allowed=ALLOWED)
            if not isinstance(data, Mapping):
                raise StudyError(lines) from None
            skip = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
            good = {k: v for k, v in data.items() if k in cls.model_fields and k not in skip}
            study = handler({**_FILLERS, **good})
        lines += cross_problems(study, skip)
        if "choices" in context:
            lines += name_problems(study, context["choices"], skip)
        if "folder" in context:
            lines += source_problems(study, context["folder"], skip)
        if lines:
            raise StudyError(lines)
        return study

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], *, folder: Path | None = None, choices: Choices | None = None
    ) -> Study:
        """Check plain data against what exists (`choices`, else what is installed).

        With a `folder`, source paths are relative to it and must exist.
        """
        context: dict[str, Any] = {"choices": choices or installed_choices()}
        if folder is not None:
            context["folder"] = folder
        study = cls.model_validate(dict(data), context=context)
        study._folder = folder or Path()
        return study

    @classmethod
    def from_yaml(cls, path: str | Path, *, choices: Choices | None = None) -> Study:
        """Read a study file. Source paths are relative to the file's folder."""
        path = Path(path)
        data = parse_yaml(read_text(path), name=str(path))
        return cls.from_dict(data, folder=path.parent, choices=choices)

    def to_yaml(self) -> str:
        """YAML text which `from_yaml` reads back as an equal study; every setting is written."""
        values = self.model_dump(mode="json")
        return dump_yaml({k: v for k, v in values.items() if k not in QUIET or v})

    @property
    def folder(self) -> Path:
        """Source paths are relative to this folder."""
        return self._folder

    @property
    def hash(self) -> str:
        """SHA-256 over all settings, 64 hexadecimal digits."""
        return settings_hash(self.model_dump(mode="json"))

    @property
    def cell_count(self) -> int:
        """Number of cells of the grid, computed without building it.

        A point of a pair's grid is two cells: its one picture is measured by both controls.
        """
        if self.shortening.method == "leave-one-out":
            variants = 1 + len(self.prompt)
        else:
            variants = max(1, len(self.lengths))
        steered = 0
        for entry in self.controls:
            if isinstance(entry, PairChoice):
                first, second = entry.axes(self.scales)
                steered += 2 * len(first) * len(second)
            else:
                steered += len(self.scales)
        others = len(self.base) * len(self.sources) * len(self.seeds)
        return others * steered * (variants + len(self.extra_prompts))

    def __eq__(self, other: object) -> bool:
        """Equal settings; the folder the file lies in does not matter."""
        if not isinstance(other, Study):
            return NotImplemented
        return self.model_dump() == other.model_dump()
