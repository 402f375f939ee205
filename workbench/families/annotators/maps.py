"""Networks of controlnet-aux that answer each picture with one map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from workbench.families.annotators.onemodule import aux_module
from workbench.families.annotators.pictures import imagenet, read_in_batches
from workbench.families.annotators.weights import Weights, without_prefix
from workbench.families.loaders import Network

Maps = Mapping[str, Network]

_STEP = 256  # the network for anime halves its picture eight times
_NORMALBAE = SimpleNamespace(
    mode="client",
    architecture="BN",
    pretrained="scannet",
    sampling_ratio=0.4,
    importance_ratio=0.7,
)


def hed(weights: Weights, device: str) -> Maps:
    """HED (Xie and Tu 2015) as ControlNet 1.1 trained it anew: soft edges.

    The network "edges": the sigmoid of the mean of five scales, 1 on a sure edge.
    """
    model = weights.fill(aux_module("hed").ControlNetHED_Apache2, weights.tensors(), device)

    def read(pixels: Tensor) -> Tensor:
        size = pixels.shape[-2:]
        scales = [interpolate(part, size=size, mode="bilinear") for part in model(pixels)]
        return torch.sigmoid(torch.stack(scales).mean(dim=0))[:, 0]

    return _network("edges", weights, device, read)


def pidinet(weights: Weights, device: str) -> Maps:
    """PiDiNet (Su et al. 2021): soft edges, thinner than HED's.

    The network "edges": the last of its five outputs, 1 on a sure edge.
    """
    state = without_prefix(_inner(weights.tensors(), "state_dict"))
    model = weights.fill(aux_module("pidi.model").pidinet, state, device)

    def read(pixels: Tensor) -> Tensor:
        return model(pixels.flip(1) / 255)[-1][:, 0]  # it was trained on BGR

    return _network("edges", weights, device, read)


def midas(weights: Weights, device: str) -> Maps:
    """MiDaS 3, DPT-Hybrid (Ranftl et al. 2021), ControlNet's own annotator of depth.

    The network "depth": inverse depth in a unit of its own, larger is nearer.
    """
    tensors = weights.tensors()
    state = tensors["model"] if "optimizer" in tensors else tensors
    make = partial(
        aux_module("midas.midas.dpt_depth").DPTDepthModel,
        path=None,
        backbone="vitb_rn50_384",
        non_negative=True,
    )
    model = weights.fill(make, state, device)
    return _network("depth", weights, device, lambda pixels: model(pixels / 127.5 - 1))


def normalbae(weights: Weights, device: str) -> Maps:
    """NormalBae (Bae, Budvytis and Cipolla 2021, trained on ScanNet): surface normals.

    The network "normal": unit vectors, x right, y up, z towards the viewer. NormalBae's own x
    points to the left (its pictures are red to the left), so it is turned here.
    """
    state = without_prefix(_inner(weights.tensors(), "model"))
    make = partial(aux_module("normalbae.nets.NNET").NNET, _NORMALBAE)
    model = weights.fill(make, state, device)

    def read(pixels: Tensor) -> Tensor:
        vectors = model(imagenet(pixels))[0][-1][:, :3]
        turned = vectors * vectors.new_tensor([-1.0, 1.0, 1.0]).view(1, 3, 1, 1)
        return normalize(turned, dim=1).permute(0, 2, 3, 1)

    return _network("normal", weights, device, read)


def lineart(weights: Weights, device: str) -> Maps:
    """Line drawings of photographs (Chan, Durand and Isola 2022, "informative drawings").

    The network "lineart": 1 on a line. `sk_model.pth` draws fine lines, `sk_model2.pth` bold ones.
    """
    make = partial(aux_module("lineart").Generator, 3, 1, 3)
    model = weights.fill(make, weights.tensors(), device)

    def read(pixels: Tensor) -> Tensor:
        return 1 - model(pixels / 255)[:, 0].clamp(0, 1)

    return _network("lineart", weights, device, read)


def lineart_anime(weights: Weights, device: str) -> Maps:
    """Line drawings of anime pictures (Anime2Sketch, Xiang et al. 2021).

    The network "lineart_anime": 1 on a line.
    """
    norm = partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
    make = partial(
        aux_module("lineart_anime").UnetGenerator, 3, 1, 8, 64, norm_layer=norm, use_dropout=False
    )
    model = weights.fill(make, without_prefix(weights.tensors()), device)

    def read(pixels: Tensor) -> Tensor:
        size = pixels.shape[-2:]
        whole = [-(-length // _STEP) * _STEP for length in size]
        grown = interpolate(pixels, size=whole, mode="bicubic").round().clamp(0, 255)
        paper = interpolate(model(grown / 127.5 - 1) * 0.5 + 0.5, size=size, mode="bicubic")
        return 1 - paper[:, 0].clamp(0, 1)

    return _network("lineart_anime", weights, device, read)


def _network(name: str, weights: Weights, device: str, read: Callable[[Tensor], Tensor]) -> Maps:
    """One network by name; `read` is given RGB from 0 to 255, n×3×h×w, see `read_in_batches`."""

    def network(rgb: np.ndarray) -> np.ndarray:
        return read_in_batches(rgb, weights.side, device, read)

    return {name: network}


def _inner(tensors: dict[str, Any], key: str) -> dict[str, Any]:
    """The weights in a file that may keep them under a key beside other things."""
    inner: dict[str, Any] = tensors.get(key, tensors)
    return inner
