"""Pictures on their way into a network: their size, in batches, and the map on its way out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.families.annotators.onemodule import aux_module

BATCH = 4
"""Pictures that are read at once, which bounds the memory."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def sized(rgb: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Pictures N×H×W×3 whose shorter side is about `side`, both sides multiples of 64.

    The rule of ControlNet's annotators (`resize_image` of controlnet-aux): areas are averaged
    where a picture shrinks, Lanczos where it grows.
    """
    resize = aux_module("util").resize_image
    return np.stack([resize(np.ascontiguousarray(picture), side) for picture in rgb])


def read_in_batches(
    rgb: NDArray[np.uint8], side: int, device: str, read: Callable[[Tensor], Tensor]
) -> NDArray[np.float32]:
    """What `read` says of pictures uint8 N×H×W×3, as float32 N×….

    read: takes float32 n×3×h×w RGB from 0 to 255 on the device, h and w by the rule of `sized`,
        and returns one map for each.
    """
    parts = []
    for start in range(0, len(rgb), BATCH):
        batch = sized(rgb[start : start + BATCH], side)
        pixels = torch.from_numpy(batch).to(device).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            parts.append(read(pixels).float().cpu().numpy())
    if not parts:
        return np.zeros((0, *rgb.shape[1:3]), np.float32)
    return np.concatenate(parts)


def imagenet(pixels: Tensor) -> Tensor:
    """RGB from 0 to 255 (n×3×h×w) with the mean and spread of ImageNet taken off."""
    mean, std = (pixels.new_tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels / 255 - mean) / std
