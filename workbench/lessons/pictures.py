"""Pictures for lessons: one request, one picture, with any ControlNet in the place of the family's.

Measured runs are made by `workbench.generation`; here the parts of a ControlNet are changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from workbench.families import get_family
from workbench.families.manager import ModelManager
from workbench.generation.encoding import prompt_arguments
from workbench.lessons.block import noise
from workbench.pictures import extract
from workbench.study.sources import SourceImage, load_source

UNPROMPTED = ("controlled", "left out", "empty map")


@dataclass(frozen=True)
class Request:
    """What one picture of a lesson is made from.

    source: a picture file, or a scene of the embedded world. scale: the conditioning scale.
    guidance: classifier-free guidance by the prompt; 1 is none.
    """

    prompt: str = "a girl, long hair, blond hair, black eyes, black coat, winter, snow"
    source: str = "paperdoll:900001"
    control: str = "depth"
    scale: float = 1.0
    seed: int = 1
    steps: int = 10
    guidance: float = 2.0


@cache
def models() -> ModelManager:
    """The embedded family, loaded once."""
    return ModelManager("paperdoll")


def source_picture(request: Request) -> np.ndarray:
    """The source of a request, uint8 H×W×3 at the size of the family's pictures."""
    return _source(request.source).image


def source_words(source: str) -> tuple[str, ...]:
    """What a scene of the embedded world ("paperdoll:900001") shows, as tags; () for a file."""
    return _source(source).tags


def _source(source: str) -> SourceImage:
    return load_source(source, Path.cwd(), get_family("paperdoll").resolution)


def control_map(request: Request) -> np.ndarray:
    """What the ControlNet sees of the source, uint8 H×W×3."""
    return extract(source_picture(request), request.control).picture


def picture(
    request: Request,
    controlnet: nn.Module | None = None,
    *,
    guess_mode: bool = False,
) -> np.ndarray:
    """Make a picture with the embedded model, uint8 H×W×3.

    controlnet: in the place of the family's own for `request.control`.
    guess_mode: that of diffusers' pipeline.
    """
    manager = models()
    net = manager.controlnet(request.control) if controlnet is None else controlnet
    seen = torch.from_numpy(control_map(request).copy()).permute(2, 0, 1)[None].float() / 255
    more = {
        "image": seen,
        "controlnet_conditioning_scale": request.scale,
        "guess_mode": guess_mode,
    }
    return _made(request, _pipeline(net), more)


def text_picture(request: Request) -> np.ndarray:
    """The picture of the prompt alone, without any ControlNet, uint8 H×W×3."""
    return _made(request, models().pipeline(None), {})


def untrained(std: float = 0.0, *, seed: int = 0) -> Any:
    """A ControlNet before any training: a copy of the embedded model's encoder, which has learnt,
    and convolutions that start from N(0, std), where `std` 0 makes them zero convolutions.

    These are the last layer of its condition encoder and one convolution for each residual.
    """
    from workbench.training.controlnet import new_controlnet

    with torch.random.fork_rng(devices=()):
        net = new_controlnet(models().pipeline(None).unet).eval()
    for place, layer in enumerate(zero_convolutions(net)):
        with torch.no_grad():
            layer.weight.copy_(std * noise(*layer.weight.shape, seed=1000 * seed + place))
    return net


def zero_convolutions(controlnet: Any) -> list[nn.Conv2d]:
    """The convolutions of diffusers' ControlNet that start at zero, in the order of the way."""
    ends = [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]
    return [controlnet.controlnet_cond_embedding.conv_out, *ends]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean square of the difference of two pictures, both uint8 H×W×3.

    0 is equal, 1 black against white.
    """
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)) / 255)


@contextmanager
def weighted(
    controlnet: Any, weights: Sequence[float], *, unprompted: str = "controlled"
) -> Iterator[None]:
    """Multiply each residual of a ControlNet by a weight of its own, as long as the context lasts.

    weights: one for each residual, the middle block last.
    unprompted: what becomes of the half of the batch that is predicted without the prompt, for
        classifier-free guidance: "controlled" as the other; "left out", so that guidance
        strengthens the control as it does the prompt; "empty map", controlled by a black one.

    Raises ValueError for another count of weights, or another word.
    """
    count = len(controlnet.controlnet_down_blocks) + 1
    if len(weights) != count:
        raise ValueError(f"this ControlNet has {count} residuals, not {len(weights)}")
    if unprompted not in UNPROMPTED:
        raise ValueError(f'unprompted is one of {", ".join(UNPROMPTED)}, not "{unprompted}"')

    def blacken(_: nn.Module, given: Any, keywords: dict[str, Any]) -> Any:
        seen = keywords["controlnet_cond"].clone()
        seen[: len(seen) // 2] = 0
        return given, keywords | {"controlnet_cond": seen}

    def change(_: nn.Module, __: Any, output: Any) -> Any:
        down, middle = output
        both = [part * weight for part, weight in zip([*down, middle], weights, strict=True)]
        if unprompted == "left out":
            for part in both:
                part[: len(part) // 2] = 0
        return both[:-1], both[-1]

    with ExitStack() as stack:
        if unprompted == "empty map":
            hook = controlnet.register_forward_pre_hook(blacken, with_kwargs=True)
            stack.callback(hook.remove)
        stack.callback(controlnet.register_forward_hook(change).remove)
        yield


def _pipeline(controlnet: nn.Module) -> Any:
    from diffusers import StableDiffusionControlNetPipeline

    made = StableDiffusionControlNetPipeline(
        **models().pipeline(None).components, controlnet=controlnet, requires_safety_checker=False
    )
    made.set_progress_bar_config(disable=True)
    return made


def _made(request: Request, pipeline: Any, more: dict[str, Any]) -> np.ndarray:
    texts = prompt_arguments([request.prompt], models())
    if request.guidance > 1:
        texts |= prompt_arguments([""], models(), negative=True)
    with torch.inference_mode():
        pixels = pipeline(
            **texts,
            **more,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            output_type="np",
        ).images[0]
    return np.rint(pixels * 255).astype(np.uint8)
