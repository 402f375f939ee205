"""The safety checker which a base model brought with it. It is off unless a study asks for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from workbench.families.catalogue import FamilyError
from workbench.families.files import SAFETY_PARTS, lacks_checker, pick_variant
from workbench.families.locate import Place
from workbench.families.quiet import quiet_libraries

BLOCKED = "the safety checker of the model family blocked the picture"


class SafetyChecker:
    """diffusers' `StableDiffusionSafetyChecker` with its image processor, in float32.

    It only tells which pictures it would black out: the pictures themselves stay as they are.
    """

    def __init__(self, model: Any, processor: Any, device: str = "cpu") -> None:
        self.model = model.eval().requires_grad_(False).to(device)
        self.processor = processor
        self.device = device

    def blocked(self, pictures: Sequence[np.ndarray]) -> list[bool]:
        """For each picture (uint8 H×W×3) whether the checker blocks it."""
        read = self.processor(list(pictures), return_tensors="pt").pixel_values
        with torch.inference_mode():
            _, found = self.model(
                clip_input=read.to(self.device, torch.float32),
                images=[np.zeros((1, 1, 3), np.float32)] * len(pictures),
            )
        return [bool(one) for one in found]


def load_safety_checker(place: Place, title: str, device: str) -> SafetyChecker:
    """Load the checker from a base model's folder; `workbench.families.hub` brings it there.

    Raises FamilyError, which names the model by its `title`, where there is none.
    """
    missing = FamilyError(
        f"safety_checker: {title} comes without a safety checker: leave the setting out, or take "
        "a base model whose folder has safety_checker/ and feature_extractor/"
    )
    if place.folder is None or lacks_checker(place.folder):
        raise missing
    keywords = place.plain_keywords
    # The base may be of a variant that its checker does not have.
    variant = pick_variant(place.folder / SAFETY_PARTS[0], place.keywords.get("variant", ""))
    with quiet_libraries():
        from diffusers.pipelines.stable_diffusion.safety_checker import (
            StableDiffusionSafetyChecker,
        )
        from transformers import CLIPImageProcessor

        try:
            model = StableDiffusionSafetyChecker.from_pretrained(
                place.name,
                subfolder=SAFETY_PARTS[0],
                use_safetensors=True,
                dtype=torch.float32,
                **keywords,
                **({"variant": variant} if variant else {}),
            )
            processor = CLIPImageProcessor.from_pretrained(
                place.name, subfolder=SAFETY_PARTS[1], **keywords
            )
        except OSError as error:
            raise missing from error
    # It warns of black pictures, which it does not make here.
    logging.getLogger(StableDiffusionSafetyChecker.__module__).setLevel(logging.ERROR)
    return SafetyChecker(model, processor, device)
