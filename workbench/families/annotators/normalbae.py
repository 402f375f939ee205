"""NormalBae (Bae, Budvytis and Cipolla 2021, trained on ScanNet): surface normals."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace

import numpy as np
from torch import Tensor
from torch.nn.functional import normalize

from workbench.families.annotators import Network
from workbench.families.annotators.onemodule import aux_module
from workbench.families.annotators.pictures import imagenet, read_in_batches
from workbench.families.annotators.weights import Weights, without_prefix

_ARGUMENTS = SimpleNamespace(
    mode="client",
    architecture="BN",
    pretrained="scannet",
    sampling_ratio=0.4,
    importance_ratio=0.7,
)


def load(weights: Weights, device: str) -> Mapping[str, Network]:
    """The network "normal": unit vectors, x right, y up, z towards the viewer.

    NormalBae's own x points to the left (its pictures are red to the left), so it is turned here.
    """
    tensors = weights.tensors()
    state = without_prefix(tensors.get("model", tensors))
    net = partial(aux_module("normalbae.nets.NNET").NNET, _ARGUMENTS)
    model = weights.fill(net, state, device)

    def read(pixels: Tensor) -> Tensor:
        finest = model(imagenet(pixels))[0][-1][:, :3]
        return to_ours(finest)

    def normal(rgb: np.ndarray) -> np.ndarray:
        return read_in_batches(rgb, weights.side, device, read)

    return {"normal": normal}


def to_ours(vectors: Tensor) -> Tensor:
    """NormalBae's vectors n×3×h×w (x left, y up, z to the viewer) as ours, n×h×w×3, of length 1."""
    turned = vectors * vectors.new_tensor([-1.0, 1.0, 1.0]).view(1, 3, 1, 1)
    return normalize(turned, dim=1).permute(0, 2, 3, 1)
