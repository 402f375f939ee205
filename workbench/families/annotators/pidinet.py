"""PiDiNet (Su et al. 2021): soft edges, thinner than HED's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from workbench.families.annotators import Network
from workbench.families.annotators.onemodule import aux_module
from workbench.families.annotators.pictures import read_in_batches
from workbench.families.annotators.weights import Weights, without_prefix


def load(weights: Weights, device: str) -> Mapping[str, Network]:
    """The network "edges": the last of its five outputs, 1 on a sure edge."""
    tensors = weights.tensors()
    state = without_prefix(tensors.get("state_dict", tensors))
    model = weights.fill(aux_module("pidi.model").pidinet, state, device)

    def read(pixels: Tensor) -> Tensor:
        return model(pixels.flip(1) / 255)[-1][:, 0]  # it was trained on BGR

    def edges(rgb: np.ndarray) -> np.ndarray:
        return read_in_batches(rgb, weights.side, device, read)

    return {"edges": edges}
