"""The architectures that can be loaded: which diffusers classes, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.samplers import FLOW_SAMPLERS, SAMPLER_NAMES

ArchitectureName = Literal["stable-diffusion", "stable-diffusion-xl", "stable-diffusion-3"]


@dataclass(frozen=True)
class Architecture:
    """Everything the code must know about one kind of model.

    text, control, union: names of the diffusers pipelines without a ControlNet, with one (or
        several, added up), and with a union ControlNet ("" where there is none).
    controlnet, union_controlnet: names of the ControlNet classes.
    parts: components which every base model must have.
    absent: components which tell another architecture.
    denoiser: folder of the network that predicts the noise.
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
    absent: tuple[str, ...] = ()
    union: str = ""
    union_controlnet: str = ""
    image: str = "image"
    encodes_maps: bool = False
    upcasts_vae: bool = False
    schedulers: tuple[str, ...] = SAMPLER_NAMES
    checks_safety: bool = False


ARCHITECTURES: dict[str, Architecture] = {
    "stable-diffusion": Architecture(
        text="StableDiffusionPipeline",
        control="StableDiffusionControlNetPipeline",
        controlnet="ControlNetModel",
        parts=("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
        absent=("text_encoder_2", "transformer"),
        denoiser="unet",
        checks_safety=True,
    ),
    "stable-diffusion-xl": Architecture(
        text="StableDiffusionXLPipeline",
        control="StableDiffusionXLControlNetPipeline",
        controlnet="ControlNetModel",
        union="StableDiffusionXLControlNetUnionPipeline",
        union_controlnet="ControlNetUnionModel",
        upcasts_vae=True,
        parts=(
            *("unet", "vae", "text_encoder", "text_encoder_2"),
            *("tokenizer", "tokenizer_2", "scheduler"),
        ),
        absent=("transformer",),
        denoiser="unet",
    ),
    "stable-diffusion-3": Architecture(
        text="StableDiffusion3Pipeline",
        control="StableDiffusion3ControlNetPipeline",
        controlnet="SD3ControlNetModel",
        parts=(
            *("transformer", "vae", "text_encoder", "text_encoder_2"),
            *("tokenizer", "tokenizer_2", "scheduler"),
        ),
        absent=("unet",),
        denoiser="transformer",
        image="control_image",
        encodes_maps=True,
        schedulers=FLOW_SAMPLERS,
    ),
}
