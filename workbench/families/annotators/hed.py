"""HED (Xie and Tu 2015) as ControlNet 1.1 trained it anew: soft edges."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from workbench.families.annotators import Network
from workbench.families.annotators.onemodule import aux_module
from workbench.families.annotators.pictures import read_in_batches
from workbench.families.annotators.weights import Weights


def load(weights: Weights, device: str) -> Mapping[str, Network]:
    """The network "edges": the sigmoid of the mean of five scales, 1 on a sure edge."""
    model = weights.fill(aux_module("hed").ControlNetHED_Apache2, weights.tensors(), device)

    def read(pixels: Tensor) -> Tensor:
        size = pixels.shape[-2:]
        scales = [interpolate(part, size=size, mode="bilinear") for part in model(pixels)]
        return torch.sigmoid(torch.stack(scales).mean(dim=0))[:, 0]

    def edges(rgb: np.ndarray) -> np.ndarray:
        return read_in_batches(rgb, weights.side, device, read)

    return {"edges": edges}
