"""How a study computes: choices of memory and speed that change its pixels by a rounding at most.

`Runtime` is the choice, in diffusers' own words and without PyTorch's import; `apply_runtime` puts
it into force on loaded models and tells what then is in force.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

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

from workbench.families.catalogue import FamilyError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Attention = Literal["auto", "flash", "efficient", "math", "eager"]
Offload = Literal["none", "model", "sequential"]
Compile = Literal["none", "regional"]
Determinism = Literal["strict", "usual"]

_KERNELS = ("flash", "efficient", "math")
_UNKNOWN = "unknown"
_DENOISERS = ("unet", "transformer")
_BLOCKS = ("BasicTransformerBlock",)  # of models that do not name their repeated blocks

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
    determinism: `strict` makes PyTorch repeat itself (see `workbench.families.determinism`);
        `usual` leaves it the algorithms it finds fastest, which on a GPU may round otherwise each
        time.
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
    determinism: Determinism = "strict"

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


def prepare(model: Any, runtime: Runtime, device: str) -> Any:
    """One model as it was loaded, frozen and in evaluation mode, where and how it is kept."""
    import torch

    model.eval().requires_grad_(False)
    order = torch.channels_last if runtime.channels_last else torch.preserve_format
    return model.to(device=runtime.home(device), memory_format=order)


def apply_runtime(
    pipeline: Any, runtime: Runtime, device: str, *, compile_backend: str = "inductor"
) -> dict[str, Any]:
    """Put the choices into force on a pipeline whose parts went through `prepare`.

    Pipelines may share parts: what is in force on a part already is left as it is.

    Args:
        device: where the pipeline computes ("cpu", "cuda:0").
        compile_backend: of `torch.compile`.

    Returns:
        What is in force, as plain values: the choices with "auto" resolved, the classes of the
        attention processors, for each part and size of its attention heads the kernel that runs,
        and the number of compiled blocks.

    Raises:
        FamilyError: the device or the models cannot do it.
    """
    runtime.check(device)
    parts = _parts(pipeline)
    if runtime.attention == "eager":
        _plain_attention(parts)
    slicing, tiling = _vae(pipeline.vae, runtime, device)
    blocks = _compile(parts, compile_backend) if runtime.compile == "regional" else 0
    kernels = _kernels(parts, runtime, device)
    if runtime.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif runtime.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    return {
        "attention": runtime.attention,
        "attention_processors": sorted(
            {type(m.processor).__name__ for part in parts for m in _attentions(part)}
        ),
        "attention_kernels": kernels,
        "vae_slicing": slicing,
        "vae_tiling": tiling,
        "offload": runtime.offload,
        "channels_last": _is_channels_last(parts),
        "compile": runtime.compile,
        "compiled_blocks": blocks,
        "determinism": runtime.determinism,
    }


def runtime_record(
    runtime: Runtime, in_force: Mapping[tuple[str, ...], Mapping[str, Any]]
) -> dict[str, Any]:
    """For the manifest: what was asked for, and what is in force, by the controls of a pipeline."""
    force = {" + ".join(controls) or "no control": dict(v) for controls, v in in_force.items()}
    return {"asked": runtime.everything(), "in_force": force}


@contextmanager
def attention_kernel(runtime: Runtime) -> Iterator[None]:
    """Inside, PyTorch computes attention by the chosen kernel where that can be."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if runtime.attention not in _KERNELS:
        yield
        return
    chosen = {
        "flash": SDPBackend.FLASH_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
        "math": SDPBackend.MATH,
    }[runtime.attention]
    with sdpa_kernel([chosen, SDPBackend.MATH]):
        yield


@contextmanager
def whole_range(vae: Any) -> Iterator[torch.dtype]:
    """The VAE in float32 where it overflows in half precision (`force_upcast`: SDXL's first one).

    The stock pipelines of SDXL do the same when they decode; this is for calls of the VAE itself.
    Where the stock pipelines do not, loading has taken `force_upcast` away. Yields the dtype which
    the VAE has inside.
    """
    import torch

    before = vae.dtype
    raised = before == torch.float16 and bool(vae.config.get("force_upcast", False))
    if raised:
        torch.nn.Module.to(vae, dtype=torch.float32)  # diffusers' own `to` warns every time
    try:
        yield vae.dtype
    finally:
        if raised:
            torch.nn.Module.to(vae, dtype=before)


def encode(vae: Any, signal: Tensor) -> Tensor:
    """Pictures (B×3×H×W in [-1, 1]) -> the mode of their latents, not scaled."""
    with whole_range(vae) as dtype:
        return vae.encode(signal.to(dtype)).latent_dist.mode()


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Latents as `encode` gives them -> pictures B×3×H×W, about [-1, 1]."""
    with whole_range(vae) as dtype:
        return vae.decode(latents.to(dtype), return_dict=False)[0]


def scaled(vae: Any, latents: Tensor) -> Tensor:
    """Latents of the VAE -> latents of a denoiser: with its scale, and its shift or mean."""
    shift, spread = _statistics(vae, latents)
    return (latents - shift) * vae.config.scaling_factor / spread


def unscaled(vae: Any, latents: Tensor) -> Tensor:
    """Latents of a denoiser -> latents of the VAE; undoes what `scaled` does."""
    shift, spread = _statistics(vae, latents)
    return latents * spread / vae.config.scaling_factor + shift


def _statistics(vae: Any, latents: Tensor) -> tuple[Any, Any]:
    """Mean (or shift) and spread of the VAE's latents, by channel where it knows them."""
    import torch

    config = vae.config
    means = getattr(config, "latents_mean", None)
    deviations = getattr(config, "latents_std", None)
    if means is None or deviations is None:
        return getattr(config, "shift_factor", None) or 0.0, 1.0
    mean, std = (
        torch.tensor(values, dtype=latents.dtype, device=latents.device).view(1, -1, 1, 1)
        for values in (means, deviations)
    )
    return mean, std


def _parts(pipeline: Any) -> list[Any]:
    """The models which a runtime is about: denoiser, ControlNets, VAE."""
    found = [getattr(pipeline, name, None) for name in (*_DENOISERS, "vae")]
    controlnet = getattr(pipeline, "controlnet", None)
    found += list(getattr(controlnet, "nets", [controlnet]))
    return [part for part in found if part is not None]


def _attentions(part: nn.Module) -> list[Any]:
    """Attention modules of diffusers, old and new classes alike."""
    return [
        module
        for module in part.modules()
        if hasattr(module, "processor") and hasattr(module, "heads") and hasattr(module, "to_q")
    ]


def _plain_attention(parts: list[Any]) -> None:
    for part in parts:
        try:
            part.set_default_attn_processor()
        except (AttributeError, ValueError) as error:
            raise FamilyError(
                f"runtime.attention: eager is not there for {type(part).__name__}: take math, "
                "which also computes without fused kernels"
            ) from error


def _vae(vae: Any, runtime: Runtime, device: str) -> tuple[bool, bool]:
    wanted = {"slicing": runtime.sliced(device), "tiling": runtime.vae_tiling}
    for name, on in wanted.items():
        if on and not hasattr(vae, f"enable_{name}"):
            raise FamilyError(
                f"runtime.vae_{name}: {type(vae).__name__} cannot do it: leave it out"
            )
        if on:
            getattr(vae, f"enable_{name}")()
    return wanted["slicing"], wanted["tiling"]


def _compile(parts: list[Any], backend: str) -> int:
    """Compile repeated blocks once; returns how many of these parts are compiled."""
    names = {name for part in parts for name in (getattr(part, "_repeated_blocks", None) or ())}
    names |= set(_BLOCKS)
    blocks = [m for part in parts for m in part.modules() if type(m).__name__ in names]
    if not blocks:
        raise FamilyError(
            "runtime.compile: these models have no repeated blocks to compile: take compile: none"
        )
    for block in blocks:
        if block._compiled_call_impl is None:
            block.compile(backend=backend)
    return len(blocks)


def _kernels(parts: list[Any], runtime: Runtime, device: str) -> dict[str, str]:
    """Part and head size ("UNet2DConditionModel 40") -> the kernel PyTorch chooses for it.

    Empty where no fused call is made, "unknown" on devices that do not tell. Raises FamilyError if
    the kernel that is wanted is known to run nowhere; `math` runs everywhere.
    """
    import torch
    from torch.nn.attention import SDPBackend

    if runtime.attention == "eager":
        return {}
    shapes = {
        (
            type(part).__name__,
            int(module.heads),
            int(module.inner_dim) // int(module.heads),
            part.dtype,
        )
        for part in parts
        for module in _attentions(part)
    }
    found: dict[str, str] = {}
    with torch.inference_mode(), attention_kernel(runtime):
        for part_name, heads, size, dtype in sorted(shapes, key=str):
            probe = torch.zeros(1, heads, 64, size, dtype=dtype, device=device)
            try:
                # The very question that scaled_dot_product_attention asks itself.
                choice = SDPBackend(torch._fused_sdp_choice(probe, probe, probe))
                found[f"{part_name} {size}"] = choice.name.removesuffix("_ATTENTION").lower()
            except (NotImplementedError, RuntimeError, ValueError):
                found[f"{part_name} {size}"] = _UNKNOWN
    wanted = runtime.attention
    others = set(_KERNELS) - {"math"}
    if wanted in others and found and not {wanted, _UNKNOWN} & set(found.values()):
        runs = ", ".join(sorted(set(found.values())))
        raise FamilyError(
            f"runtime.attention: {wanted} does not run on {device} with these models "
            f"({runs} would run instead): take auto"
        )
    return found


def _is_channels_last(parts: list[Any]) -> bool:
    import torch

    weights = [w for part in parts for w in part.parameters() if w.dim() == 4 and w.shape[-1] > 1]
    return bool(weights) and all(
        w.is_contiguous(memory_format=torch.channels_last) for w in weights
    )
