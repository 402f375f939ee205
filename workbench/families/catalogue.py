"""Model families as data: which base models, ControlNets and judges belong together."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, StrictStr, ValidationError, model_validator

from workbench.controls import get_control
from workbench.dtypes import DtypeName
from workbench.families.entries import EXTENDS, Entries, EntryError, extended, reasons
from workbench.families.loaders import LOADERS, WORDS
from workbench.families.refs import (
    ARCHITECTURES,
    Architecture,
    ArchitectureName,
    ControlNetRef,
    ModelRef,
    NetworkRef,
    Value,
)
from workbench.paths import models_dir
from workbench.samplers import SamplerName
from workbench.yamltext import MAX_BYTES

EXTRA_CATALOGUE = "families.yaml"
"""A file of this name in the models folder adds families, or replaces or extends those of the
package."""

SEGMENTATION = "segmentation"
CLIP = "clip"
"""What the judge of prompts is called where judges are chosen."""

_named_folders: list[Path] = []
T = TypeVar("T")
Name = Annotated[StrictStr, Field(pattern=r"^[a-z0-9][a-z0-9_\-.]*$", max_length=60)]


class FamilyError(ValueError):
    """There is no such family, base model or control, or a catalogue cannot be read."""


class FamilyDefaults(Value):
    """What a study gets when it does not say: steps, guidance, sampler, dtype, negative prompt."""

    steps: Annotated[int, Field(ge=1, le=1000)] = 20
    guidance_scale: Annotated[float, Field(ge=1, le=30)] = 5.0
    scheduler: SamplerName = "unipc"
    negative_prompt: str = ""
    dtype: DtypeName = "float32"


class Family(Value):
    """Models that belong together.

    `architecture` decides which classes load them. `resolution` is the side of the pictures in
    pixels, `latent_scale` how many pixels one latent covers, `text_limit` the number of tokens read
    by the text encoder that reads the most (start and end included). `base` maps names of base
    models to complete pipeline folders; `vae` replaces the VAE of all of them. `controlnets` maps
    control types to ControlNets; "lineart.anime" is that of one method of a control type.
    `networks` maps what a control needs ("depth") to the network that reads it, and "words" to the
    judge of words, if the family has one; `judges` maps such a name, or "clip", to what a study may
    choose instead, by name. `control_settings` are what a
    control type gets where a study does not say, other than its own defaults. `memory` is a rough
    need in GB of device memory for batches of one, by dtype. `world` names the procedural world
    that the family draws, if any.
    """

    name: Name
    label: str
    architecture: ArchitectureName = "stable-diffusion"
    resolution: Annotated[int, Field(ge=8, multiple_of=8)]
    latent_scale: Annotated[int, Field(ge=1)] = 8
    text_limit: Annotated[int, Field(ge=3)] = 77
    licence: str
    memory: dict[DtypeName, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    base: Annotated[dict[Name, ModelRef], Field(min_length=1)]
    vae: ModelRef | None = None
    controlnets: dict[Name, ControlNetRef] = Field(default_factory=dict)
    clip: ModelRef
    networks: dict[Name, NetworkRef] = Field(default_factory=dict)
    judges: dict[Name, dict[Name, NetworkRef]] = Field(default_factory=dict)
    defaults: FamilyDefaults = FamilyDefaults()
    control_settings: dict[Name, dict[StrictStr, Any]] = Field(default_factory=dict)
    world: Literal["", "paperdoll"] = ""

    @model_validator(mode="after")
    def _fits_architecture(self) -> Self:
        if self.defaults.scheduler not in self.schedulers:
            raise ValueError(
                f"the architecture {self.architecture} has no scheduler {self.defaults.scheduler}; "
                f"it has: {', '.join(self.schedulers)}"
            )
        if not self.parts_of.union:
            wrong = [name for name, ref in self.controlnets.items() if ref.union_mode is not None]
            if wrong:
                raise ValueError(
                    f"there are no union ControlNets for {self.architecture}: {', '.join(wrong)}"
                )
        return self

    @property
    def parts_of(self) -> Architecture:
        """What the code knows about the family's architecture."""
        return ARCHITECTURES[self.architecture]

    @property
    def schedulers(self) -> tuple[str, ...]:
        """The samplers that work on the family."""
        return self.parts_of.schedulers

    @property
    def controls(self) -> tuple[str, ...]:
        """The control types it has a ControlNet for, each once."""
        return tuple(dict.fromkeys(name.partition(".")[0] for name in self.controlnets))

    @model_validator(mode="after")
    def _settings_are_known(self) -> Self:
        for control, settings in self.control_settings.items():
            try:
                get_control(control).settings(settings)
            except ValueError as error:
                first = str(error).replace("\n", " ")
                raise ValueError(f"control_settings.{control}: {first}") from error
        return self

    @model_validator(mode="after")
    def _networks_can_be_read(self) -> Self:
        offered = [(need, ref) for need, refs in self.judges.items() for ref in refs.values()]
        for name, ref in [*self.networks.items(), *offered]:
            gives = LOADERS[ref.loader].gives
            if name != CLIP and name not in gives:
                raise ValueError(f"{name}: the loader {ref.loader} gives {', '.join(gives)}")
            if ref.bins and name != CLIP and not LOADERS[ref.loader].processor:
                raise ValueError(f"{name}: the loader {ref.loader} reads no pytorch_model.bin")
        vaes = [self.vae] if self.vae is not None else []
        for model in (*self.base.values(), *self.controlnets.values(), *vaes):
            if model.bins:
                raise ValueError(
                    f"{model.title}: weights: bin is for CLIP and judges; base models, ControlNets "
                    "and VAEs are read from safetensors: save them with save_pretrained"
                )
        return self

    def with_judges(self, chosen: Mapping[str, str]) -> Family:
        """The family as a study chose it: what is needed ("depth", "clip") -> name in `judges`.

        FamilyError names what can be chosen.
        """
        networks, clip = dict(self.networks), self.clip
        for need, name in chosen.items():
            refs = _pick(self.judges, need, f"choice of judges in the family {self.name}")
            ref = _pick(refs, name, f"{need} judge in the family {self.name}")
            if need == CLIP:
                clip = ModelRef.model_validate(ref.model_dump(include=set(ModelRef.model_fields)))
            else:
                networks[need] = ref
        return self.model_copy(update={"networks": networks, "clip": clip})

    def fixed_settings(self, control: str) -> dict[str, Any]:
        """Settings of a control type which the family's network decides; "" where nobody says."""
        ref = self.networks.get(SEGMENTATION) if control == SEGMENTATION else None
        return {} if ref is None else {"classes": ref.classes}

    def settings_for(self, control: str) -> dict[str, Any]:
        """What a control type's extractor gets where a study, or a user, does not say."""
        fixed = {key: value for key, value in self.fixed_settings(control).items() if value}
        return {**self.control_settings.get(control, {}), **fixed}

    @property
    def from_hub(self) -> bool:
        """Whether any of the models that a study gets without choosing comes from a hub."""
        refs = (*self.base.values(), *self.controlnets.values(), *self.networks.values())
        return any(ref.repo for ref in (*refs, self.clip))

    @property
    def default_base(self) -> str:
        """The base model that comes first in the catalogue."""
        return next(iter(self.base))

    def base_ref(self, base: str) -> ModelRef:
        """The base model of that name; FamilyError names those that exist."""
        return _pick(self.base, base, f"base model in the family {self.name}")

    def controlnet_ref(self, name: str) -> ControlNetRef:
        """The ControlNet of that name; FamilyError names those that exist."""
        return _pick(self.controlnets, name, f"ControlNet in the family {self.name}")

    def controlnet_name(self, control: str, settings: str = "") -> str:
        """The name of the ControlNet for a control type under its settings (JSON).

        That of the method ("lineart.anime") comes before that of the type; FamilyError if there is
        neither.
        """
        method = (json.loads(settings) if settings else {}).get("method", "")
        special = f"{control}.{method}"
        name = special if method and special in self.controlnets else control
        self.controlnet_ref(name)
        return name

    def pair_problem(self, first: str, second: str) -> str:
        """Why two ControlNets (by name) cannot steer together, in one sentence, else ""."""
        unions = [self.controlnet_ref(name).union_mode is not None for name in (first, second)]
        if unions[0] != unions[1]:
            alone, union = (second, first) if unions[0] else (first, second)
            return (
                f"the ControlNet for {union} is a union model and that for {alone} is not, and "
                "diffusers cannot run the two together: study them one at a time"
            )
        return ""

    def tag_groups(self) -> Mapping[str, tuple[str, ...]]:
        """Groups of tags that exclude each other; empty where the family has no world."""
        if self.world == "paperdoll":
            from workbench.paperdoll import TAG_GROUPS

            return TAG_GROUPS
        return {}

    @property
    def word_network(self) -> tuple[str, ...]:
        """("words",) if the family has a judge of words, else ()."""
        return (WORDS,) if WORDS in self.networks else ()

    def alternatives(self, own: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        """Word -> the words that may be seen in its place: `own`, else the others of its group."""
        groups = self.tag_groups().values()
        known = {tag: tuple(t for t in group if t != tag) for group in groups for tag in group}
        return known | {word: tuple(others) for word, others in own.items()}


def load_catalogue(path: str | Path | None = None) -> dict[str, Family]:
    """Read a catalogue (YAML); without a path, the one that comes with the package.

    The families of `families.yaml` in the models folder, and in those that were named to
    `know_families`, are added to it, or replace those of the same name. An entry may extend
    a family of the file or of the package (`extends: sd15`, see
    `workbench.families.entries.extended`). Raises FamilyError with every problem of a file, each
    with the line, the family and the field.
    """
    if path is None:
        found = dict(_own_catalogue())
        for folder in dict.fromkeys([models_dir(), *_named_folders]):
            if os.path.isfile(extra := folder / EXTRA_CATALOGUE):  # is_file() may raise
                found |= load_catalogue(extra)
        return found
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FamilyError(f"{path}: cannot be read: {error}") from error
    return _families(_read(text, str(path)))


def know_families(models: str | Path | None) -> None:
    """From now on the families of this models folder count in this process, too; None is none."""
    if models is not None and (folder := Path(models).resolve()) not in _named_folders:
        _named_folders.append(folder)


def get_family(name: str) -> Family:
    """The family of that name in the catalogue; FamilyError names what exists."""
    return _pick(load_catalogue(), name, "model family")


@cache
def _own_entries() -> Entries:
    text = resources.files("workbench.families").joinpath("catalogue.yaml").read_text("utf-8")
    return _read(text, "catalogue.yaml")


@cache
def _own_catalogue() -> dict[str, Family]:
    return _families(_own_entries())


def _read(text: str, where: str) -> Entries:
    try:
        return Entries(text, where)
    except EntryError as error:
        raise FamilyError(str(error)) from error


def _families(entries: Entries) -> dict[str, Family]:
    known = {**_own_entries().families, **entries.families}
    families: dict[str, Family] = {}
    problems: list[str] = []
    for name, entry in entries.families.items():
        try:
            whole = extended(name, entry, known) if isinstance(entry, dict) else entry
            families[name] = Family.model_validate(_named(name, whole))
        except ValidationError as error:
            problems += [
                f"{entries.place(name, *path)}: {'.'.join(map(str, (name, *path)))}: {told}"
                for path, told in reasons(error.errors(include_url=False))
            ]
        except ValueError as error:
            problems.append(f"{entries.place(name, EXTENDS)}: {name}.{EXTENDS}: {error}")
    if problems:
        raise FamilyError("\n".join(problems))
    return families


def _named(name: Any, entry: Any) -> Any:
    return {"name": name, **entry} if isinstance(entry, dict) else entry


def _pick(choices: Mapping[str, T], name: str, noun: str) -> T:
    if name in choices:
        return choices[name]
    near = difflib.get_close_matches(name, choices, n=1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    have = ", ".join(choices) or "none"
    raise FamilyError(f'there is no {noun} called "{name}"; there is: {have}.{hint}')
