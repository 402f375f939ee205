"""How a study computes: choices of memory and speed that change its pixels by a rounding at most.

The names are diffusers' own. `workbench.families.applying` puts them into force.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_serializer,
    model_validator,
)

from workbench.families.spec import FamilyError

Attention = Literal["auto", "flash", "efficient", "math", "eager"]
Offload = Literal["none", "model", "sequential"]
Compile = Literal["none", "regional"]


# In brackets, so that the paths of a study's problems leave them out.
AUTO_TAG, VALUE_TAG = "[auto]", "[value]"
auto_or_value = Discriminator(lambda value: AUTO_TAG if value == "auto" else VALUE_TAG)
AutoWord = Annotated[Literal["auto"], Tag(AUTO_TAG)]


def _none_is_a_word(value: Any) -> Any:
    return "none" if value is None else value


class Runtime(BaseModel):
    """Choices of memory and speed.

    attention: which kernel computes attention. `auto` leaves it to PyTorch; `flash`, `efficient`
        and `math` prefer that kernel of `scaled_dot_product_attention` (what it cannot do is done
        by `math`); `eager` uses diffusers' plain products without any fused kernel.
    vae_slicing: decode the pictures of a batch one by one; `auto` does so on a GPU.
    vae_tiling: decode large pictures in overlapping tiles. Pictures larger than the VAE's own size
        then differ by more than a rounding, so a run folder holds pictures of one kind only.
    offload: keep models in main memory and bring them to the GPU one model (`model`) or one layer
        (`sequential`, slow) at a time.
    channels_last: the order in which convolutions keep their weights.
    compile: `regional` compiles the repeated blocks of UNet and ControlNet by `torch.compile`: the
        first batch waits for it, every later one is faster.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attention: Attention = "auto"
    vae_slicing: Annotated[
        AutoWord | Annotated[bool, Field(strict=True), Tag(VALUE_TAG)], auto_or_value
    ] = "auto"
    vae_tiling: bool = Field(default=False, strict=True)
    offload: Annotated[Offload, BeforeValidator(_none_is_a_word)] = "none"
    channels_last: bool = Field(default=True, strict=True)
    compile: Annotated[Compile, BeforeValidator(_none_is_a_word)] = "none"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.offload == "sequential" and self.compile != "none":
            raise ValueError(
                "offload: sequential moves single layers, which compile: regional cannot follow; "
                "take offload: model, or compile: none"
            )
        return self

    @model_serializer
    def _what_was_chosen(self) -> dict[str, Any]:
        """Only what differs from the defaults, so that older study files keep their hash."""
        fields = type(self).model_fields.items()
        return {n: getattr(self, n) for n, field in fields if getattr(self, n) != field.default}

    @classmethod
    def of_pixels(cls, in_force: Mapping[str, Any]) -> Runtime:
        """The choices that made a picture's pixels, from what its record says was in force.

        Where its models waited does not matter, and nor does a default that was resolved.
        """
        names = cls.model_fields.keys() - {"offload"}
        kept = {name: value for name, value in in_force.items() if name in names}
        if not kept.get("vae_slicing"):
            kept.pop("vae_slicing", None)
        return cls(**kept)

    def everything(self) -> dict[str, Any]:
        """All choices as plain values, defaults too."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def sliced(self, device: str) -> bool:
        """Whether the VAE decodes pictures one by one on that device."""
        return device != "cpu" if self.vae_slicing == "auto" else self.vae_slicing

    def home(self, device: str) -> str:
        """Where models wait between two uses."""
        return device if self.offload == "none" else "cpu"

    def check(self, device: str) -> None:
        """Raise FamilyError for what that device cannot do."""
        if self.offload != "none" and device.partition(":")[0] == "cpu":
            raise FamilyError(
                f"runtime.offload: {self.offload} moves models between main memory and a GPU, and "
                "this run computes on the CPU: take offload: none"
            )
