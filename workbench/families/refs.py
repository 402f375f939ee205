"""What a catalogue says of one model, as data: where it lies, and of which architecture it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictStr, model_validator

from workbench.families.loaders import LOADERS
from workbench.samplers import FLOW_SAMPLERS, SAMPLER_NAMES

FileName = Annotated[
    StrictStr, Field(pattern=r"^[\w\-][\w\-.]*(/[\w\-][\w\-.]*)*$", max_length=200)
]


class Value(BaseModel):
    """An entry of the catalogue: it cannot be changed, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRef(Value):
    """One model: a folder below the models folder (`path`), or a hub id (`repo`) at a `revision`.

    A `revision` is a full commit hash. Without one the model's main branch is taken, or the commit
    that `workbench families pin` wrote down. `variant` names the files' variant to download
    ("fp16"); "" means the plain files; of a local folder the variant that is there is taken.
    `weights: bin` allows a `pytorch_model.bin` where there are no safetensors: it is read as
    weights only, so that no code in it is run. `licence` is the model's own, "" where it is not
    known for certain; local folders and base models then have that of the family.
    """

    path: str = ""
    repo: str = ""
    revision: str = ""
    subfolder: str = ""
    variant: str = ""
    weights: Literal["safetensors", "bin"] = "safetensors"
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
    def bins(self) -> bool:
        """Whether a `pytorch_model.bin` may be read where there are no safetensors."""
        return self.weights == "bin"

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
    it is empty; `side` is the shorter side in pixels to which annotators bring a picture, else
    what the loader is known for (`Loader.side`).
    `classes` is the list of classes that a segmentation network was trained with, "" where nobody
    says. Several equal entries are loaded once.
    """

    loader: StrictStr = "judge"
    files: tuple[FileName, ...] = ()
    side: Annotated[int, Field(ge=64, le=4096, multiple_of=64)] | None = None
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
    def source(self) -> str:
        """ " of <repository>" that publishes its files, to end a sentence; "" if nobody knows."""
        repo = self.repo or LOADERS[self.loader].origin
        return f" of {repo}" if repo else ""

    @property
    def title(self) -> str:
        """The title of the folder or repository, and the files in it that are used."""
        return "/".join([super().title, *self.files])


ArchitectureName = Literal["stable-diffusion", "stable-diffusion-xl", "stable-diffusion-3"]


@dataclass(frozen=True)
class Architecture:
    """Everything the code must know about one kind of model.

    text, control, union: names of the diffusers pipelines without a ControlNet, with one (or
        several, added up), and with a union ControlNet ("" where there is none).
    controlnet, union_controlnet: names of the ControlNet classes.
    parts: components which every base model must have.
    optional: components which a base model may be saved without, and is then loaded without.
    absent: components which tell another architecture.
    denoiser, denoiser_class: folder of the network that predicts the noise, and its class.
    image: name of the pipelines' argument for control maps.
    encodes_maps: whether control maps go through the VAE, as latents.
    upcasts_vae: whether the stock pipelines decode in float32 where a VAE in half precision asks
        for it (`force_upcast`). Others pay no heed to that setting, which is on by default.
    schedulers: samplers that work.
    checks_safety: whether its base models may come with diffusers' safety checker.
    """

    text: str
    control: str
    controlnet: str
    parts: tuple[str, ...]
    denoiser: str
    denoiser_class: str
    optional: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    union: str = ""
    union_controlnet: str = ""
    image: str = "image"
    encodes_maps: bool = False
    upcasts_vae: bool = False
    schedulers: tuple[str, ...] = SAMPLER_NAMES
    checks_safety: bool = False


_ONE_ENCODER = ("vae", "text_encoder", "tokenizer", "scheduler")
_TWO_ENCODERS = (*_ONE_ENCODER, "text_encoder_2", "tokenizer_2")
ARCHITECTURES: dict[str, Architecture] = {
    "stable-diffusion": Architecture(
        text="StableDiffusionPipeline",
        control="StableDiffusionControlNetPipeline",
        controlnet="ControlNetModel",
        parts=("unet", *_ONE_ENCODER),
        absent=("text_encoder_2", "transformer"),
        denoiser="unet",
        denoiser_class="UNet2DConditionModel",
        checks_safety=True,
    ),
    "stable-diffusion-xl": Architecture(
        text="StableDiffusionXLPipeline",
        control="StableDiffusionXLControlNetPipeline",
        controlnet="ControlNetModel",
        union="StableDiffusionXLControlNetUnionPipeline",
        union_controlnet="ControlNetUnionModel",
        upcasts_vae=True,
        parts=("unet", *_TWO_ENCODERS),
        absent=("transformer",),
        denoiser="unet",
        denoiser_class="UNet2DConditionModel",
    ),
    "stable-diffusion-3": Architecture(
        text="StableDiffusion3Pipeline",
        control="StableDiffusion3ControlNetPipeline",
        controlnet="SD3ControlNetModel",
        parts=("transformer", *_TWO_ENCODERS),
        optional=("text_encoder_3", "tokenizer_3"),
        absent=("unet",),
        denoiser="transformer",
        denoiser_class="SD3Transformer2DModel",
        image="control_image",
        encodes_maps=True,
        schedulers=FLOW_SAMPLERS,
    ),
}
