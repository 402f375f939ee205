"""Line drawings of anime pictures (Anime2Sketch, Xiang et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from torch import Tensor, nn
from torch.nn.functional import interpolate

from workbench.families.annotators import Network
from workbench.families.annotators.onemodule import aux_module
from workbench.families.annotators.pictures import read_in_batches
from workbench.families.annotators.weights import Weights, without_prefix

_STEP = 256  # the network halves its picture eight times


def load(weights: Weights, device: str) -> Mapping[str, Network]:
    """The network "lineart_anime": 1 on a line."""
    norm = partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
    generator = partial(
        aux_module("lineart_anime").UnetGenerator, 3, 1, 8, 64, norm_layer=norm, use_dropout=False
    )
    model = weights.fill(generator, without_prefix(weights.tensors()), device)

    def read(pixels: Tensor) -> Tensor:
        size = pixels.shape[-2:]
        whole = [-(-length // _STEP) * _STEP for length in size]
        grown = interpolate(pixels, size=whole, mode="bicubic").round().clamp(0, 255)
        paper = interpolate(model(grown / 127.5 - 1) * 0.5 + 0.5, size=size, mode="bicubic")
        return 1 - paper[:, 0].clamp(0, 1)

    def lineart(rgb: np.ndarray) -> np.ndarray:
        return read_in_batches(rgb, weights.side, device, read)

    return {"lineart_anime": lineart}
