"""Putting a study's `Runtime` into force on loaded models, and telling what then is in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from workbench.families.runtime import Runtime
from workbench.families.spec import FamilyError

KERNELS = ("flash", "efficient", "math")
UNKNOWN = "unknown"
DENOISERS = ("unet", "transformer")
_BLOCKS = ("BasicTransformerBlock",)  # of models that do not name their repeated blocks


def prepare(model: Any, runtime: Runtime, device: str) -> Any:
    """One model as it was loaded, frozen and in evaluation mode, where and how it is kept."""
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

    if runtime.attention not in KERNELS:
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
    before = vae.dtype
    raised = before == torch.float16 and bool(vae.config.get("force_upcast", False))
    if raised:
        nn.Module.to(vae, dtype=torch.float32)  # diffusers' own `to` warns every time
    try:
        yield vae.dtype
    finally:
        if raised:
            nn.Module.to(vae, dtype=before)


def _parts(pipeline: Any) -> list[Any]:
    """The models which a runtime is about: denoiser, ControlNets, VAE."""
    found = [getattr(pipeline, name, None) for name in (*DENOISERS, "vae")]
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
                found[f"{part_name} {size}"] = UNKNOWN
    wanted = runtime.attention
    others = set(KERNELS) - {"math"}
    if wanted in others and found and not {wanted, UNKNOWN} & set(found.values()):
        runs = ", ".join(sorted(set(found.values())))
        raise FamilyError(
            f"runtime.attention: {wanted} does not run on {device} with these models "
            f"({runs} would run instead): take auto"
        )
    return found


def _is_channels_last(parts: list[Any]) -> bool:
    weights = [w for part in parts for w in part.parameters() if w.dim() == 4 and w.shape[-1] > 1]
    return bool(weights) and all(
        w.is_contiguous(memory_format=torch.channels_last) for w in weights
    )
