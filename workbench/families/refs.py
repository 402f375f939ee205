"""Where the models of a catalogue lie, as data: references to bases, ControlNets and networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictStr, model_validator

from workbench.families.annotators import LOADERS

FileName = Annotated[
    StrictStr, Field(pattern=r"^[\w\-][\w\-.]*(/[\w\-][\w\-.]*)*$", max_length=200)
]


class Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRef(Value):
    """One model: a folder below the models folder (`path`), or a hub id (`repo`) at a `revision`.

    A `revision` is a full commit hash. Without one the model's main branch is taken, or the commit
    that `workbench families pin` wrote down. `variant` names the files' variant to download
    ("fp16"); "" means the plain files; of a local folder the variant that is there is taken.
    `licence` is the model's own, "" where it is not known for certain; local folders and base
    models then have that of the family.
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
        if self.repo and self.repo.count("/") != 1:
            raise ValueError(f"{self.repo}: a hub id is owner/name")
        if self.path and (self.revision or self.subfolder):
            raise ValueError(f"{self.path}: revision and subfolder are for models on a hub")
        if self.path and (Path(self.path).is_absolute() or ".." in Path(self.path).parts):
            raise ValueError(f"{self.path}: must be a path below the models folder")
        return self

    @property
    def title(self) -> str:
        """A short name that tells two models apart: the path, or `repo@revision/subfolder`."""
        if self.path:
            return self.path
        pinned = f"@{self.revision}" if self.revision else ""
        return f"{self.repo}{pinned}" + (f"/{self.subfolder}" if self.subfolder else "")


class ControlNetRef(ModelRef):
    """A ControlNet. `union_mode` is the number of the control type in a union ControlNet.

    `pixels` says how a map's pixels p in [0, 1] reach the VAE of architectures that encode control
    maps: "plain" as 2p - 1, "sd35-canny" as 127.5p + 0.5, which the canny ControlNet of Stable
    Diffusion 3.5 Large was trained with (its model card's `SD3CannyImageProcessor`).
    """

    union_mode: Annotated[int, Field(ge=0, le=63)] | None = None
    pixels: Literal["plain", "sd35-canny"] = "plain"


class NetworkRef(ModelRef):
    """A network that reads pictures for a control. `loader` names the code that loads it.

    `files` are the weight files in the folder or repository, those that the loader is known for if
    it is empty; `side` is the shorter side in pixels to which annotators bring a picture.
    `classes` is the list of classes that a segmentation network was trained with, "" where nobody
    says. Several equal entries are loaded once.
    """

    loader: StrictStr = "judge"
    files: tuple[FileName, ...] = ()
    side: Annotated[int, Field(ge=64, le=4096, multiple_of=64)] = 512
    classes: Literal["", "paperdoll", "ade20k"] = ""

    @model_validator(mode="before")
    @classmethod
    def _as_the_loader_is_known(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        loader = LOADERS.get(values.get("loader", "judge"))
        if loader is None:
            return values
        return {"files": loader.files, "classes": loader.classes, **values}

    @model_validator(mode="after")
    def _known_loader(self) -> Self:
        loader = LOADERS.get(self.loader)
        if loader is None:
            raise ValueError(f"there is no loader {self.loader}; there is: {', '.join(LOADERS)}")
        if len(self.files) != len(loader.files):
            raise ValueError(f"the loader {self.loader} reads {len(loader.files)} files")
        return self

    @property
    def title(self) -> str:
        """The title of the folder or repository, and the files in it that are used."""
        return "/".join([super().title, *self.files])
