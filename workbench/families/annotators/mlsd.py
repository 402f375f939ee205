"""M-LSD (Gu et al. 2022): straight lines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from workbench.families.annotators.onemodule import aux_module
from workbench.families.annotators.pictures import BATCH, sized
from workbench.families.annotators.weights import Weights
from workbench.families.loaders import Network

_MOST = 200
_LEAST_SCORE = 0.1
_LEAST_LENGTH = 0.1
_NEIGHBOURS = 3


def load(weights: Weights, device: str) -> Mapping[str, Network]:
    """The network "lines": a list of N float32 arrays K×4, x1, y1, x2, y2 in pixels.

    Thresholds are those of ControlNet's annotator: score 0.1, length 0.1 in cells of the map.
    """
    make = aux_module("mlsd.models.mbv2_mlsd_large").MobileV2_MLSD_Large
    model = weights.fill(make, weights.tensors(), device)

    def lines(rgb: np.ndarray) -> list[NDArray[np.float32]]:
        found = []
        for start in range(0, len(rgb), BATCH):
            batch = sized(rgb[start : start + BATCH], weights.side)
            pixels = torch.from_numpy(batch).to(device).permute(0, 3, 1, 2).float()
            with torch.inference_mode():
                # The fourth channel is one everywhere, before the scaling.
                maps = model(pad(pixels, (0, 0, 0, 0, 0, 1), value=1.0) / 127.5 - 1)
            across, down = rgb.shape[2] / maps.shape[3], rgb.shape[1] / maps.shape[2]
            scale = np.array([across, down, across, down], np.float32)
            found += [segments(one) * scale for one in maps]
        return found

    return {"lines": lines}


def segments(maps: Tensor) -> NDArray[np.float32]:
    """Segments K×4 in cells of one answer of the network, the surest first.

    maps: 9×h×w; channel 0 is the logit of a segment's centre, 1 to 4 are the ways from there to
        its two ends. A centre must exceed its neighbours.
    """
    heat = torch.sigmoid(maps[0])
    top = max_pool2d(heat[None], _NEIGHBOURS, stride=1, padding=_NEIGHBOURS // 2)[0]
    heat = torch.where(heat == top, heat, torch.zeros_like(heat)).flatten()
    # A stable order, so that the choice among equals does not depend on the device.
    order = torch.sort(heat, descending=True, stable=True).indices[:_MOST]
    scores, ways = heat[order], maps[1:5].flatten(1)[:, order].T
    width = maps.shape[2]
    centres = torch.stack([order % width, order // width], dim=1).repeat(1, 2)
    length = (ways[:, :2] - ways[:, 2:]).norm(dim=1)
    kept = (scores > _LEAST_SCORE) & (length > _LEAST_LENGTH)
    found: NDArray[np.float32] = (centres + ways)[kept].float().cpu().numpy()
    return found
