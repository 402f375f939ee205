"""Loading through diffusers: one way for every architecture."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from workbench.dtypes import DTYPE_BYTES
from workbench.families.locate import LocateError, Place
from workbench.families.quiet import quiet_loading
from workbench.families.spec import Family, FamilyError

Prepare = Callable[[Any], Any]
# Parts nobody asked for: filters, and encoders of reference pictures. A watermark changes pixels.
_LEFT_OUT: dict[str, Any] = {
    "safety_checker": None,
    "requires_safety_checker": False,
    "feature_extractor": None,
    "image_encoder": None,
    "add_watermarker": False,
}


def load_base(family: Family, place: Place, vae: Place | None, dtype: str, prepare: Prepare) -> Any:
    """The text-only pipeline of a base model; `prepare` takes each network to its place."""
    with quiet_loading():
        import diffusers

        kind = getattr(diffusers, family.parts_of.text)
        more = _accepted(kind, _LEFT_OUT)
        if vae is not None:
            more["vae"] = _load(diffusers.AutoencoderKL, vae, dtype)
        pipeline = _load(kind, place, dtype, more)
    if not family.parts_of.upcasts_vae:  # or our own calls of the VAE would differ from theirs
        pipeline.vae.register_to_config(force_upcast=False)
    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            prepare(part)
    return pipeline


def load_controlnet(
    family: Family, place: Place, dtype: str, prepare: Prepare, *, union: bool
) -> Any:
    """One ControlNet; `prepare` takes it to its place."""
    names = family.parts_of
    with quiet_loading():
        import diffusers

        kind = getattr(diffusers, names.union_controlnet if union else names.controlnet)
        return prepare(_load(kind, place, dtype))


def add_controls(family: Family, pipeline: Any, nets: Sequence[Any], *, union: bool) -> Any:
    """The pipeline with ControlNets around the same networks.

    Several are added up, each with its own scale (`MultiControlNetModel`). So are two types of one
    union model, which runs once for each: then a scale means the same alone and in a pair, and a
    pair in which one scale is 0 is the other control alone. The union model's joint mode, where
    scales weigh its inputs and not its outputs, has neither property.
    """
    with quiet_loading():
        import diffusers

        kind = getattr(diffusers, family.parts_of.union if union else family.parts_of.control)
        more = _accepted(kind, _LEFT_OUT | _own_settings(pipeline))
        given = {**more, **pipeline.components}
        made = kind(**given, controlnet=list(nets) if len(nets) > 1 else nets[0])
    made.controlnet.eval()  # several are wrapped in a module of their own
    return made


def own_view(net: Any) -> Any:
    """A ControlNet that shares all weights with `net`, but can be driven on its own.

    For union models, in which several control types live: what is changed in the `forward` of one
    must not reach the others.
    """
    view = copy.copy(net)
    view._modules = dict(net._modules)
    view._modules["controlnet_cond_embedding"] = copy.copy(net.controlnet_cond_embedding)
    return view


def dtype_keyword(dtype: str) -> dict[str, torch.dtype]:
    """The `from_pretrained` keyword for a dtype, which diffusers 0.42 renamed."""
    import diffusers

    major, minor = (int(part) for part in diffusers.__version__.split(".")[:2])
    return {"dtype" if (major, minor) >= (0, 42) else "torch_dtype": getattr(torch, dtype)}


def _load(kind: Any, place: Place, dtype: str, more: Mapping[str, Any] | None = None) -> Any:
    try:
        return kind.from_pretrained(
            place.name,
            use_safetensors=True,
            **dtype_keyword(dtype),
            **place.keywords,
            **(more or {}),
        )
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            raise
        reason = " ".join(str(error).split())[:300]
        raise LocateError(f"{place.name} cannot be loaded as {kind.__name__}: {reason}") from error


def _accepted(kind: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    known = inspect.signature(kind.__init__).parameters
    return {key: value for key, value in keywords.items() if key in known}


def _own_settings(pipeline: Any) -> dict[str, Any]:
    """Settings of a pipeline which are no component but decide pictures."""
    names = ("force_zeros_for_empty_prompt",)
    return {name: pipeline.config[name] for name in names if name in pipeline.config}


def check_dtype(dtype: str) -> None:
    """FamilyError for a dtype that nobody knows."""
    if dtype not in DTYPE_BYTES:
        raise FamilyError(f'there is no dtype "{dtype}"; there is: {", ".join(DTYPE_BYTES)}')
