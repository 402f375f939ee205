"""OpenPose (Cao et al. 2017): people and their joints. Its licence forbids commercial use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from workbench.families.annotators._people import JOINTS, people
from workbench.families.annotators.onemodule import aux_module
from workbench.families.annotators.pictures import BATCH, sized
from workbench.families.annotators.weights import Weights
from workbench.families.loaders import Network

HEIGHT = 184
"""The network reads at half of the 368 pixels it was trained at, as ControlNet's annotator does."""

_STRIDE = 8
_GREY = 128


def load(weights: Weights, device: str) -> Mapping[str, Network]:
    """The network "pose": float32 N×P×18×3, x and y in pixels and a confidence in [0, 1]."""
    make = aux_module("open_pose.model").bodypose_model
    names = _names(make)
    state = {names.get(name, name): value for name, value in weights.tensors().items()}
    model = weights.fill(make, state, device)

    def pose(rgb: np.ndarray) -> np.ndarray:
        found: list[NDArray[np.float32]] = []
        for start in range(0, len(rgb), BATCH):
            batch = sized(rgb[start : start + BATCH], weights.side)
            scale = np.array([rgb.shape[2] / batch.shape[2], rgb.shape[1] / batch.shape[1], 1])
            found += [(joints * scale).astype(np.float32) for joints in _read(model, batch, device)]
        return together(found)

    return {"pose": pose}


def together(found: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """People of several pictures, P×18×3 each, as N×P×18×3, filled up with rows of zeros."""
    most = max((len(joints) for joints in found), default=0)
    out = np.zeros((len(found), most, JOINTS, 3), np.float32)
    for row, joints in zip(out, found, strict=True):
        row[: len(joints)] = joints
    return out


def _read(model: nn.Module, batch: NDArray[np.uint8], device: str) -> list[NDArray[np.float32]]:
    """People of pictures uint8 N×H×W×3, in pixels of these."""
    height, width = batch.shape[1:3]
    small = (max(round(width * HEIGHT / height), 1), HEIGHT)
    way = cv2.INTER_AREA if height > HEIGHT else cv2.INTER_LANCZOS4
    fed = np.stack([cv2.resize(picture[:, :, ::-1], small, interpolation=way) for picture in batch])
    gap = -small[0] % _STRIDE
    fed = np.pad(fed, ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=_GREY)
    pixels = torch.from_numpy(fed).to(device).permute(0, 3, 1, 2).float() / 256 - 0.5
    with torch.inference_mode():
        fields, heat = model(pixels)
        answers = torch.cat([heat[:, :JOINTS], fields], dim=1)
    found = []
    for answer in answers:
        full = _enlarged(answer[None], (HEIGHT, small[0]), (height, width))
        found.append(people(full[:, :, :JOINTS], full[:, :, JOINTS:]))
    return found


def _enlarged(answer: Tensor, inner: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float32]:
    """Maps 1×C×h×w of the padded picture as H×W×C of the picture itself."""
    fine = interpolate(answer, scale_factor=_STRIDE, mode="bicubic")[:, :, : inner[0], : inner[1]]
    full = interpolate(fine, size=size, mode="bicubic")[0]
    return np.ascontiguousarray(full.permute(1, 2, 0).float().cpu().numpy())


def _names(make: Callable[[], nn.Module]) -> dict[str, str]:
    """The published file's names of the weights ("conv1_1.weight") -> those of the module."""
    with torch.device("meta"):
        return {name.partition(".")[2]: name for name in make().state_dict()}
