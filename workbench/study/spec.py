"""The study: what to vary and what to hold fixed, as one typed value and one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    StrictStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from workbench.dtypes import DTYPE_BYTES, DtypeName
from workbench.samplers import SAMPLER_NAMES, SamplerName
from workbench.study.canonical import settings_hash
from workbench.study.checks import cross_problems, name_problems, source_problems
from workbench.study.choices import Choices, installed_choices
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
from workbench.study.labels import SOURCES_ALLOWED
from workbench.study.protocols import follow
from workbench.study.runtime import MAX_BATCH, RUNTIME_ALLOWED, BatchSize, Runtime
from workbench.study.shortening import MAX_SEED, Seed, Shortening
from workbench.study.texts import FEW, MANY, Source, Tags, plain_text
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

TAGS_ALLOWED = 'a list of tags, or one text of tags with commas ("a girl, long hair")'


Name = Annotated[StrictStr, Field(min_length=1, max_length=80, pattern=r"^\w[\w .\-]*$")]
Length = Annotated[int, Field(strict=True, ge=0)]
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
    "shortening": "{method: prefix | random | leave-one-out, seed: a whole number from 0, "
    "keep: tags that are kept before all others}",
    "extra_prompts": "empty, insufficient, conflicting, full, each with a list of tags",
    "scales": "a list of numbers from 0 to 10",
    "seeds": f"a list of whole numbers from 0 to {MAX_SEED}",
    "steps": "a whole number from 1 to 1000",
    "guidance_scale": "a number from 1 (off) to 30",
    "scheduler": ", ".join(SAMPLER_NAMES),
    "negative_prompt": "text of up to 2000 characters on one line",
    "control_start": "a number from 0 to 1 (share of the steps)",
    "control_end": "a number from 0 to 1 (share of the steps)",
    "batch_size": f"a whole number from 1 to {MAX_BATCH}, or auto",
    "fill_batches": "true or false",
    "dtype": ", ".join(DTYPE_BYTES),
    "runtime": RUNTIME_ALLOWED,
    "safety_checker": "true or false",
    "captions": "for each source its own prompt, a text or a list of tags",
    "judges": "what is needed (clip, depth, ...) and the name of a judge that the family offers",
    "protocol": "controlnet-plus-plus",
    "source_sha256": "for each source, the 64 hexadecimal digits of its fitted pixels' SHA-256",
}
QUIET = frozenset(
    {
        *("captions", "fill_batches", "judges", "protocol", "runtime", "safety_checker"),
        "source_sha256",
    }
)
"""Fields that a study file does not mention where they are empty or off."""
# Stand in for a missing or wrong required field while the other fields are checked.
_FILLERS: dict[str, Any] = {
    "name": "study",
    "sources": ["paperdoll:0"],
    "controls": ["canny"],
    "prompt": ["tag"],
}


class Study(Value):
    """A declared experiment: the grid of everything in a list, under the settings held fixed.

    Wrong values raise StudyError with all problems at once, whether the study comes from a file
    or from keyword arguments. Names of families, base models and controls are checked by
    `from_yaml`, `from_dict` and `make_plan`, which know what exists.
    `lengths` may be empty: then only the full prompt is used. An entry of `controls` is one
    control, or a pair of them that steers at once. A source `map:<path>` is no picture but already
    a map of the study's one control type, drawn by hand or made by another program.

    `fill_batches` makes a batch that is too small full with copies, which are thrown away: pixels
    depend on the size of the batch by a rounding, so this is how a single picture of a larger run
    is made again to the byte. `captions` give every source a prompt of its own, which is used
    whole; `prompt` may then be left out. `judges` chooses among the extractors and judges of the
    family, `protocol` a published evaluation (see `workbench.study.protocols`). `source_sha256`
    pins sources to their pixels, after fitting: a study that was taken out of a report or a picture
    refuses any other source. It says what was, not what to do, so it is no part of the `hash`.
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
    scheduler: SamplerName = "unipc"
    negative_prompt: Annotated[StrictStr, Field(max_length=2000), AfterValidator(plain_text)] = ""
    control_start: Fraction = 0.0
    control_end: Fraction = 1.0
    batch_size: BatchSize = 16
    fill_batches: bool = Field(default=False, strict=True)
    dtype: DtypeName = "float32"
    runtime: Runtime = Runtime()
    safety_checker: bool = Field(default=False, strict=True)
    captions: dict[Source, Annotated[Tags, Field(min_length=1)]] = Field(default_factory=dict)
    judges: dict[StrictStr, StrictStr] = Field(default_factory=dict)
    protocol: Literal["", "controlnet-plus-plus"] = ""
    source_sha256: dict[Source, Digest] = Field(default_factory=dict)

    _folder: Path = PrivateAttr(default_factory=Path)

    @model_validator(mode="wrap")
    @classmethod
    def _all_at_once(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        context = info.context or {}
        data, broken = follow(data)
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
                "runtime": list(Runtime.model_fields),
            }
            lines = structure_problems(error, keys=keys, allowed=ALLOWED)
            if not isinstance(data, Mapping):
                raise StudyError(lines) from None
            skip = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
            good = {k: v for k, v in data.items() if k in cls.model_fields and k not in skip}
            study = handler({**_FILLERS, **good})
        lines += broken + cross_problems(study, skip)
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

        Settings which the data does not name are the family's defaults. With a `folder`, source
        paths are relative to it and must exist.
        """
        choices = choices or installed_choices()
        context: dict[str, Any] = {"choices": choices}
        if folder is not None:
            context["folder"] = folder
        filled, _ = follow(data)
        family = filled.get("family", cls.model_fields["family"].default)
        offered = choices.families.get(family) if isinstance(family, str) else None
        defaults = offered.defaults if offered else {}
        silent = {k: v for k, v in defaults.items() if k not in filled}  # protocols come first
        study = cls.model_validate({**silent, **data}, context=context)
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
