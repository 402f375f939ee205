"""The condition encoder E, which brings a control map to the size of the latent.

Zhang, Rao and Agrawala (2023), section 3.2: four convolutions with kernels of 4×4 and strides of
2×2, ReLU, channels 16, 32, 64, 128, Gaussian weights. diffusers (and the authors' own code, which
it follows) has other layers under this description.
"""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import torch
from torch import Tensor, nn

from workbench.lessons.block import noise

CHANNELS = (16, 32, 64, 128)


def article_encoder(std: float = 0.02, *, seed: int = 0) -> nn.Sequential:
    """E as the article describes it, N×3×H×W -> N×128×(H/16)×(W/16).

    std: standard deviation of the weights, which the article does not state; biases are 0. Nor does
        it state the padding: 1, so that each layer halves the picture.
    """
    layers: list[nn.Module] = []
    for place, (inside, outside) in enumerate(pairwise((3, *CHANNELS))):
        layer = nn.Conv2d(inside, outside, kernel_size=4, stride=2, padding=1)
        with torch.no_grad():
            layer.weight.copy_(std * noise(*layer.weight.shape, seed=1000 * seed + place))
            layer.bias.zero_()  # type: ignore[union-attr]
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers)


def diffusers_encoder(channels: int = 320) -> nn.Module:
    """E as diffusers builds it for Stable Diffusion 1.5, N×3×H×W -> N×channels×(H/8)×(W/8)."""
    from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return ControlNetConditioningEmbedding(channels)  # type: ignore[no-any-return]


def convolutions(module: nn.Module, side: int = 512) -> pd.DataFrame:
    """The convolutions of a module in the order in which a picture of side×side goes through them.

    Returns:
        One row each: kernel, stride, channels in and out, side of what comes out, parameters, and
        whether all weights are 0.
    """
    rows = []

    def note(layer: nn.Module, _: object, output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        rows.append(
            {
                "kernel": "×".join(map(str, layer.kernel_size)),
                "stride": layer.stride[0],
                "channels in": layer.in_channels,
                "channels out": layer.out_channels,
                "side": output.shape[-1],
                "parameters": sum(p.numel() for p in layer.parameters()),
                "zero": not bool(layer.weight.detach().any()),
            }
        )

    hooks = [m.register_forward_hook(note) for m in module.modules() if isinstance(m, nn.Conv2d)]
    try:
        with torch.no_grad():
            module(torch.zeros(1, 3, side, side))
    finally:
        for hook in hooks:
            hook.remove()
    return pd.DataFrame(rows)
