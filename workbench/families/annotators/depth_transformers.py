"""Depth by any model of `AutoModelForDepthEstimation`: DPT, Depth Anything (V2), ZoeDepth, …"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from workbench.families.annotators import Network
from workbench.families.annotators._models import load_model
from workbench.families.annotators.pictures import BATCH
from workbench.families.annotators.weights import Weights

_METRIC = frozenset({"zoedepth", "glpn", "depth_pro", "prompt_depth_anything"})
_NEAREST = 1e-3


def load(weights: Weights, device: str) -> Mapping[str, Network]:
    """The network "depth": inverse depth, larger is nearer, at the size the model gives.

    DPT and Depth Anything give inverse depth up to scale and shift. Models that give metres
    (`depth_estimation_type: metric`, ZoeDepth, Depth Pro, GLPN) are turned into 1 / metres.
    """
    from transformers import AutoModelForDepthEstimation

    model, processor = load_model(weights, AutoModelForDepthEstimation, device)
    metric = gives_metres(model.config)

    def depth(rgb: np.ndarray) -> np.ndarray:
        parts = [np.zeros((0, *rgb.shape[1:3]), np.float32)] if not len(rgb) else []
        for start in range(0, len(rgb), BATCH):
            fed = processor(images=list(rgb[start : start + BATCH]), return_tensors="pt")
            with torch.inference_mode():
                found = model(pixel_values=fed["pixel_values"].to(device)).predicted_depth
            found = found.float()
            parts.append((1 / found.clamp_min(_NEAREST) if metric else found).cpu().numpy())
        return np.concatenate(parts)

    return {"depth": depth}


def gives_metres(config: Any) -> bool:
    """Whether a model's answers grow with the distance."""
    kind = getattr(config, "depth_estimation_type", "relative")
    return kind == "metric" or config.model_type in _METRIC
