"""Line drawings of photographs (Chan, Durand and Isola 2022, "informative drawings")."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from torch import Tensor

from workbench.families.annotators import Network
from workbench.families.annotators.onemodule import aux_module
from workbench.families.annotators.pictures import read_in_batches
from workbench.families.annotators.weights import Weights


def load(weights: Weights, device: str) -> Mapping[str, Network]:
    """The network "lineart": 1 on a line. `sk_model.pth` draws fine lines, `sk_model2.pth` bold."""
    generator = partial(aux_module("lineart").Generator, 3, 1, 3)
    model = weights.fill(generator, weights.tensors(), device)

    def read(pixels: Tensor) -> Tensor:
        return 1 - model(pixels / 255)[:, 0].clamp(0, 1)

    def lineart(rgb: np.ndarray) -> np.ndarray:
        return read_in_batches(rgb, weights.side, device, read)

    return {"lineart": lineart}
