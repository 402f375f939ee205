"""Models of transformers that read pictures, from a folder or a hub, in float32."""

from __future__ import annotations

from typing import Any

import torch

from workbench.families.annotators.weights import Weights
from workbench.families.quiet import quiet_loading, told_plainly


def load_model(weights: Weights, automatic: Any, device: str) -> tuple[Any, Any]:
    """A model of one of transformers' `AutoModelFor…` classes and its picture processor.

    The processor is the one on Pillow, which gives the same pixels everywhere. Raises FamilyError
    if the folder holds no such model, or no safetensors weights.
    """
    from transformers import AutoImageProcessor

    place = weights.place
    with quiet_loading(), told_plainly(place.name, f"a model for {weights.ref.loader}"):
        processor = AutoImageProcessor.from_pretrained(
            place.name, use_fast=False, **place.plain_keywords
        )
        model = automatic.from_pretrained(
            place.name, use_safetensors=True, dtype=torch.float32, **place.keywords
        )
    return model.eval().requires_grad_(False).to(device), processor


def config_of(weights: Weights) -> Any:
    """The configuration alone, which tells the kind of model; FamilyError if it cannot be read."""
    from transformers import AutoConfig

    place = weights.place
    with told_plainly(place.name, f"a model for {weights.ref.loader}"):
        return AutoConfig.from_pretrained(place.name, **place.plain_keywords)
