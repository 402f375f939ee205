"""Model families as data: which base models, ControlNets and judges belong together."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError, model_validator

SCHEDULERS: tuple[str, ...] = ("unipc", "ddim", "euler", "dpm++")
"""Names of the samplers a study may ask for."""

T = TypeVar("T")
SchedulerName = Literal["unipc", "ddim", "euler", "dpm++"]
Name = Annotated[StrictStr, Field(pattern=r"^[a-z0-9][a-z0-9_\-.]*$", max_length=60)]


class FamilyError(ValueError):
    """There is no such family, base model or control, or a catalogue cannot be read."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRef(_Value):
    """One model: a folder below the models folder (`path`), or a hub id at a pinned `revision`.

    `variant` names the files' variant ("fp16"); "" means the plain files. `licence` overrides that
    of the family.
    """

    path: str = ""
    repo: str = ""
    revision: str = ""
    subfolder: str = ""
    variant: str = ""
    licence: str = ""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.path) == bool(self.repo):
            raise ValueError("give either path (a local folder) or repo (a hub id)")
        if self.repo and not self.revision:
            raise ValueError(f"{self.repo}: pin a revision")
        if self.path and (self.revision or self.subfolder):
            raise ValueError(f"{self.path}: revision and subfolder are for models on a hub")
        if self.path and (Path(self.path).is_absolute() or ".." in Path(self.path).parts):
            raise ValueError(f"{self.path}: must be a path below the models folder")
        return self

    @property
    def title(self) -> str:
        """A short name that tells two models apart: the path, or repo@revision/subfolder."""
        if self.path:
            return self.path
        return f"{self.repo}@{self.revision}" + (f"/{self.subfolder}" if self.subfolder else "")


class NetworkRef(ModelRef):
    """A network that reads pictures for a control. `loader` names the code that loads it.

    Several entries may point to one folder: it is loaded once.
    """

    loader: Literal["judge"] = "judge"


class FamilyDefaults(_Value):
    """What a study gets when it does not say: steps, guidance, sampler, negative prompt."""

    steps: Annotated[int, Field(ge=1, le=1000)] = 20
    guidance_scale: Annotated[float, Field(ge=1, le=30)] = 5.0
    scheduler: SchedulerName = "unipc"
    negative_prompt: str = ""


class Family(_Value):
    """Models that belong together.

    `resolution` is the side of the pictures in pixels, `latent_scale` how many pixels one latent
    covers, `text_limit` the number of tokens the text encoder reads (start and end included).
    `base` maps names of base models to complete pipeline folders, `controlnets` maps control types
    to ControlNets, `networks` maps what a control needs ("depth") to the network that reads it.
    `world` names the procedural world that the family draws, if any.
    """

    name: Name
    label: str
    resolution: Annotated[int, Field(ge=8, multiple_of=8)]
    latent_scale: Annotated[int, Field(ge=1)] = 8
    text_limit: Annotated[int, Field(ge=3)] = 77
    licence: str
    base: Annotated[dict[Name, ModelRef], Field(min_length=1)]
    controlnets: dict[Name, ModelRef] = {}
    clip: ModelRef
    networks: dict[Name, NetworkRef] = {}
    defaults: FamilyDefaults = FamilyDefaults()
    world: Literal["", "paperdoll"] = ""

    @property
    def default_base(self) -> str:
        """The base model that comes first in the catalogue."""
        return next(iter(self.base))

    def base_ref(self, base: str) -> ModelRef:
        """The base model of that name; FamilyError names those that exist."""
        return _pick(self.base, base, f"base model in the family {self.name}")

    def controlnet_ref(self, control: str) -> ModelRef:
        """The ControlNet for that control type; FamilyError names those that exist."""
        return _pick(self.controlnets, control, f"ControlNet in the family {self.name}")

    def tag_groups(self) -> Mapping[str, tuple[str, ...]]:
        """Groups of tags that exclude each other; empty where the family has no world."""
        if self.world == "paperdoll":
            from workbench.paperdoll import TAG_GROUPS

            return TAG_GROUPS
        return {}


def load_catalogue(path: str | Path | None = None) -> dict[str, Family]:
    """Read a catalogue (YAML); without a path, the one that comes with the package.

    Raises FamilyError with every problem of the file, each with the family and field it is in.
    """
    if path is None:
        return dict(_own_catalogue())
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FamilyError(f"{path}: cannot be read: {error}") from error
    return _parse(text, str(path))


def get_family(name: str) -> Family:
    """The family of that name in the package's own catalogue; FamilyError names what exists."""
    return _pick(_own_catalogue(), name, "model family")


@cache
def _own_catalogue() -> dict[str, Family]:
    text = resources.files("workbench.families").joinpath("catalogue.yaml").read_text("utf-8")
    return _parse(text, "catalogue.yaml")


def _parse(text: str, where: str) -> dict[str, Family]:
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FamilyError(f"{where}: is not YAML: {error}") from error
    entries = document.get("families") if isinstance(document, dict) else None
    if not isinstance(entries, dict):
        raise FamilyError(f"{where}: needs a mapping called families")
    families: dict[str, Family] = {}
    problems: list[str] = []
    for name, entry in entries.items():
        try:
            families[str(name)] = Family.model_validate(_named(name, entry))
        except ValidationError as error:
            problems += [
                f"{where}: {'.'.join(str(part) for part in (name, *item['loc']))}: {item['msg']}"
                for item in error.errors(include_url=False)
            ]
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
