"""The fields of a study, and what each of them may hold.

The entries of `controls` are single controls, or pairs that steer at once:

    controls:
      - depth                                    # a name: default settings, the study's scales
      - {type: canny, settings: {low: 50}}
      - pair: [depth, canny]                     # two ControlNets on every picture
        scales: {depth: [0, 0.5, 1], canny: [0, 1]}

A pair takes the study's scales on both axes unless it says otherwise, and the grid holds every
combination of them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    StrictStr,
    Tag,
    model_serializer,
)

from workbench.dtypes import DTYPE_BYTES, DtypeName
from workbench.families.runtime import VALUE_TAG, AutoWord, Runtime, auto_or_value
from workbench.prompts import Prompt, Unit, parse_tags
from workbench.samplers import SAMPLER_NAMES, SamplerName, sampler_name
from workbench.study.canonical import tidy_float
from workbench.study.labels import SCENE_SOURCE, SOURCES_ALLOWED, is_map, path_of
from workbench.study.ranges import RANGE_ALLOWED, expand_seeds, list_numbers

# In brackets, so that the paths of problems leave them out.
SINGLE, PAIR = "[single]", "[pair]"

Number = Annotated[float, Field(strict=True, allow_inf_nan=False), AfterValidator(tidy_float)]
Scale = Annotated[Number, Field(ge=0, le=10)]
Scales = Annotated[tuple[Scale, ...], Field(min_length=1), BeforeValidator(list_numbers)]


def as_mapping(key: str) -> BeforeValidator:
    """Let a bare word stand for a mapping: `canny` for `{type: canny}`."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


class Value(BaseModel):
    """What all parts of a study are: unchangeable, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ControlChoice(Value):
    """A control type and the settings of its extractor (empty: the defaults)."""

    type: StrictStr
    settings: dict[StrictStr, Any] = Field(default_factory=dict)


def _two(controls: tuple[ControlChoice, ...]) -> tuple[ControlChoice, ...]:
    if len(controls) != 2:
        raise ValueError(f"needs two control types, not {len(controls)}")
    return controls


class PairChoice(Value):
    """Two control types that steer a picture together, each with a scale axis of its own.

    `scales` maps a type of the pair to its axis; a type it does not name takes the study's scales.
    The grid holds every combination of the two axes, and the source gives both maps.
    """

    pair: Annotated[tuple[Annotated[ControlChoice, as_mapping("type")], ...], AfterValidator(_two)]
    scales: dict[StrictStr, Scales] = Field(default_factory=dict)

    def axes(self, scales: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
        """The scales of each of the two controls; `scales` are the study's."""
        return tuple(self.scales.get(choice.type, scales) for choice in self.pair)


def _case(value: Any) -> str:
    paired = isinstance(value, PairChoice) or (isinstance(value, Mapping) and "pair" in value)
    return PAIR if paired else SINGLE


ControlEntry = Annotated[
    Annotated[ControlChoice, Tag(SINGLE)] | Annotated[PairChoice, Tag(PAIR)],
    Discriminator(_case),
    as_mapping("type"),
]


MAX_PROMPT_LENGTH = 20_000
"""Characters of a whole prompt; a single tag of it may be a long sentence."""
MANY, FEW = 10_000, 1_000
"""How many entries a list may have: sources and seeds, and all others."""


def plain_text(text: str) -> str:
    """Text on one line, without blanks around it; ValueError otherwise."""
    text = text.strip()
    if any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c == "\ufeff" for c in text):
        raise ValueError("has a control character or a line break in it")
    return text


def _written(text: str) -> str:
    """A prompt as somebody wrote it, line ends included; ValueError if it is none."""
    if not text.strip():
        raise ValueError("is empty")
    plain_text(text.translate(_WHITE))
    return text


_WHITE = dict.fromkeys(map(ord, "\n\r\t"), " ")


def _one_tag(text: str) -> str:
    text = " ".join(plain_text(text).split())
    if not text:
        raise ValueError("is an empty tag")
    if parse_tags(text) != (text,):
        raise ValueError(f'"{text[:60]}" has a comma in it: make it two tags')
    return text


def _listed_tag(text: str) -> str:
    """A tag of a prompt, as it is written."""
    _one_tag(text)
    return text


def _not_too_long(prompt: tuple[str, ...] | str) -> tuple[str, ...] | str:
    if sum(map(len, prompt)) > MAX_PROMPT_LENGTH:
        raise ValueError(f"has more than {MAX_PROMPT_LENGTH:,} characters")
    return prompt


def _split_tags(value: Any) -> Any:
    if value is None:
        return ()
    return parse_tags(value) if isinstance(value, str) else value


def _one_source(text: str) -> str:
    text = plain_text(text)
    if not text:
        raise ValueError("is empty")
    if text.startswith("paperdoll:"):
        if not SCENE_SOURCE.fullmatch(text):
            raise ValueError(f'"{text[:60]}" has no seed: write paperdoll:<whole number>')
        return f"paperdoll:{int(text.partition(':')[2])}"
    if is_map(text) and not path_of(text).strip():
        raise ValueError(f'"{text[:60]}" has no path: write map:<path of an image file>')
    return text


Word = Annotated[StrictStr, AfterValidator(_one_tag)]
Tags = Annotated[
    tuple[Word, ...],
    Field(max_length=FEW),
    BeforeValidator(_split_tags),
    AfterValidator(_not_too_long),
]
TEXT, LIST = "[text]", "[list]"
Written = Annotated[
    Annotated[StrictStr, AfterValidator(_written), AfterValidator(_not_too_long), Tag(TEXT)]
    | Annotated[
        tuple[Annotated[StrictStr, AfterValidator(_listed_tag)], ...],
        Field(max_length=FEW),
        AfterValidator(_not_too_long),
        Tag(LIST),
    ],
    Discriminator(lambda value: TEXT if isinstance(value, str) else LIST),
]
"""A prompt: one text, which is used as it is written, or a list of tags, joined by ", "."""


def _plain_prompt(value: Any) -> Any:
    """The list of tags for a text that says no more than that; blanks around it do not count."""
    if value is None:
        return ()
    if not isinstance(value, str):
        return value
    found = Prompt.of(value.strip())
    if found.text and not found.spans:
        raise ValueError("has no tags, only commas")
    return found.value or ()


def _not_empty(prompt: tuple[str, ...] | str) -> tuple[str, ...] | str:
    if not prompt:
        raise ValueError("is empty")
    return prompt


FormName = Annotated[StrictStr, Field(min_length=1, max_length=40, pattern=r"^[^\W\d][\w \-]*$")]
Forms = dict[FormName, Annotated[Written, AfterValidator(_not_empty)]]
"""A prompt's own short and long forms, in the order of the axis of length."""
FORMS = "[forms]"
Caption = Annotated[
    Annotated[Written, AfterValidator(_not_empty), Tag(TEXT)]
    | Annotated[Forms, Field(min_length=2, max_length=FEW), Tag(FORMS)],
    Discriminator(lambda value: FORMS if isinstance(value, Mapping) else TEXT),
]
OptionalPrompt = Annotated[Written, BeforeValidator(_plain_prompt)]
PromptText = Annotated[OptionalPrompt, AfterValidator(_not_empty)]
Source = Annotated[StrictStr, AfterValidator(_one_source)]

MAX_SEED = 2**32 - 1
Seed = Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)]


class Shortening(Value):
    """How a prompt is cut: `prefix` keeps first the tags in `keep`; `random` draws by `seed`."""

    method: Literal["prefix", "random", "leave-one-out"] = "prefix"
    seed: Seed = 0
    keep: Tags = ()

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `keep` where it is empty: studies older than it keep their hash."""
        return {key: value for key, value in handler(self).items() if key != "keep" or value}


MAX_BATCH = 1024
BatchSize = Annotated[
    AutoWord | Annotated[int, Field(strict=True, ge=1, le=MAX_BATCH), Tag(VALUE_TAG)], auto_or_value
]
"""How many pictures are made at once; "auto" finds it while the study runs, from the memory that
the first batches take."""


class MadeElsewhere(Value):
    """Where the pictures of a run come from that were not made by it, but only measured.

    origin: what was read, in words. programs: what made how many of them, as far as the files say.
    size: side of the square pictures in pixels. vae: whether ceilings come from sources pushed
    through the family's VAE; without it from the sources themselves, read again.
    """

    origin: Annotated[StrictStr, Field(max_length=1000)]
    programs: dict[StrictStr, int] = Field(default_factory=dict, max_length=100)
    size: Annotated[int, Field(strict=True, ge=1, le=8192)]
    vae: bool = Field(default=True, strict=True)

    @property
    def sentence(self) -> str:
        """Says so to whoever reads the run."""
        told = ", ".join(f"{count} by {name}" for name, count in self.programs.items())
        text = (
            f"The pictures of this run were not made by it: they were read from {self.origin}"
            f"{f' ({told})' if told else ''} and only measured here, so they cannot be made again."
        )
        if self.vae:
            return text
        return (
            f"{text} No VAE was named: the ceiling of a reading is the source itself, read again, "
            "which no picture out of a VAE quite reaches."
        )


RUNTIME_ALLOWED = (
    "attention (auto, flash, efficient, math, eager), vae_slicing (auto, true, false), "
    "vae_tiling (true, false), offload (none, model, sequential), channels_last (true, false), "
    "compile (none, regional), determinism (strict, usual)"
)

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
    "lengths": "a list of whole numbers from 0 to the length of the prompt, or a range (1..4)",
    "unit": "tags, words, sentences, tokens",
    "forms": "two forms of the prompt or more, each with a name: {short: a text, long: a text}",
    "shortening": "{method: prefix | random | leave-one-out, seed: a whole number from 0, "
    "keep: tags that are kept before all others}",
    "extra_prompts": "empty, insufficient, conflicting, full, each with a list of tags",
    "scales": f"a list of numbers from 0 to 10, or {RANGE_ALLOWED}",
    "seeds": f"a list of whole numbers from 0 to {MAX_SEED}, or how many there are",
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
    "captions": "for each source its own prompt, a text or a list of tags, or its forms by name",
    "literal": "true or false",
    "alternatives": "for each word of a prompt the words that may be seen in its place: "
    "{long hair: [short hair]}",
    "judges": "what is needed (clip, depth, ...) and the name of a judge that the family offers",
    "protocol": "controlnet-plus-plus",
    "made_elsewhere": "where pictures come from that were only measured (workbench score)",
    "source_sha256": "for each source, the 64 hexadecimal digits of its fitted pixels' SHA-256",
}
QUIET = frozenset(
    {
        *("alternatives", "captions", "fill_batches", "judges", "protocol", "runtime"),
        *("forms", "literal", "made_elsewhere", "safety_checker", "source_sha256"),
    }
)
"""Fields that a study file does not mention where they are empty or off."""
MEASURED = (
    *("name", "family", "base", "sources", "controls"),
    *("alternatives", "judges", "source_sha256", "made_elsewhere"),
)
"""The only fields that mean anything where pictures were made elsewhere."""


class StudyFields(Value):
    """The fields of a `Study`, each right by itself; whether they go together is not checked."""

    name: Name
    family: StrictStr = "paperdoll"
    base: tuple[StrictStr, ...] = Field(default=("render",), min_length=1, max_length=FEW)
    sources: tuple[Source, ...] = Field(min_length=1, max_length=MANY)
    controls: tuple[ControlEntry, ...] = Field(min_length=1, max_length=FEW)
    prompt: PromptText
    lengths: Annotated[
        tuple[Length, ...], Field(max_length=FEW), BeforeValidator(list_numbers)
    ] = ()
    unit: Unit = "tags"
    forms: Forms = Field(default_factory=dict, max_length=FEW)
    shortening: Annotated[Shortening, as_mapping("method")] = Shortening()
    extra_prompts: dict[Setting, OptionalPrompt] = Field(default_factory=dict)
    scales: Annotated[Scales, Field(max_length=FEW)] = (1.0,)
    seeds: Annotated[
        tuple[Seed, ...], Field(min_length=1, max_length=MANY), BeforeValidator(expand_seeds)
    ] = (1,)
    steps: int = Field(default=20, strict=True, ge=1, le=1000)
    guidance_scale: Annotated[Number, Field(ge=1, le=30)] = 5.0
    scheduler: Annotated[SamplerName, BeforeValidator(sampler_name)] = "unipc"
    negative_prompt: Annotated[StrictStr, Field(max_length=2000), AfterValidator(plain_text)] = ""
    control_start: Fraction = 0.0
    control_end: Fraction = 1.0
    batch_size: BatchSize = 16
    fill_batches: bool = Field(default=False, strict=True)
    dtype: DtypeName = "float32"
    runtime: Runtime = Runtime()
    safety_checker: bool = Field(default=False, strict=True)
    literal: bool = Field(default=False, strict=True)
    captions: dict[Source, Caption] = Field(default_factory=dict)
    alternatives: dict[Word, Tags] = Field(default_factory=dict)
    judges: dict[StrictStr, StrictStr] = Field(default_factory=dict)
    protocol: Literal["", "controlnet-plus-plus"] = ""
    source_sha256: dict[Source, Digest] = Field(default_factory=dict)
    made_elsewhere: MadeElsewhere | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the prompt, in order."""
        return Prompt.of(self.prompt).names

    @property
    def form_names(self) -> tuple[str, ...]:
        """The names of the forms of the prompt, or of every caption, in order; () without forms."""
        every = (self.forms, *self.captions.values())
        return next((tuple(forms) for forms in every if forms and isinstance(forms, dict)), ())

    def whole_prompt(self, source: str = "") -> Prompt:
        """The full prompt, or the caption of a source; of forms the last one."""
        written = self.captions.get(source, self.prompt)
        if isinstance(written, dict):
            written = [*written.values()][-1]
        return Prompt.of(written)

    @property
    def cell_count(self) -> int:
        """Number of cells of the grid, computed without building it.

        A point of a pair's grid is two cells: its one picture is measured by both controls.
        """
        if self.shortening.method == "leave-one-out":
            variants = 1 + len(set(self.tags))
        else:
            variants = max(1, len(self.lengths), len(self.form_names))
        steered = 0
        for entry in self.controls:
            if isinstance(entry, PairChoice):
                first, second = entry.axes(self.scales)
                steered += 2 * len(first) * len(second)
            else:
                steered += len(self.scales)
        others = len(self.base) * len(self.sources) * len(self.seeds)
        return others * steered * (variants + len(self.extra_prompts))
