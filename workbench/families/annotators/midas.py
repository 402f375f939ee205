"""MiDaS 3, DPT-Hybrid (Ranftl et al. 2021): inverse depth, as ControlNet's own annotator."""

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
    """The network "depth": inverse depth in a unit of its own, larger is nearer."""
    tensors = weights.tensors()
    state = tensors["model"] if "optimizer" in tensors else tensors
    dpt = partial(
        aux_module("midas.midas.dpt_depth").DPTDepthModel,
        path=None,
        backbone="vitb_rn50_384",
        non_negative=True,
    )
    model = weights.fill(dpt, state, device)

    def read(pixels: Tensor) -> Tensor:
        return model(pixels / 127.5 - 1)

    def depth(rgb: np.ndarray) -> np.ndarray:
        return read_in_batches(rgb, weights.side, device, read)

    return {"depth": depth}
