"""A safety checker of diffusers' own class, small and with random weights, for the tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from workbench.families.safety import SafetyChecker


def write_checker(base: Path) -> None:
    """diffusers' own class with small random weights, in the layout of a hub."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    torch.manual_seed(0)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
        "projection_dim": 16,
    }
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    checker.half().save_pretrained(base / "safety_checker")
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (base / "feature_extractor").mkdir()
    (base / "feature_extractor" / "preprocessor_config.json").write_text(json.dumps(processor))


def block_like(checker: SafetyChecker, picture: np.ndarray) -> None:
    """Make the checker block pictures that look exactly like this one, and no others."""
    read = checker.processor([picture], return_tensors="pt").pixel_values
    with torch.no_grad():
        seen = checker.model.visual_projection(checker.model.vision_model(read)[1])
        checker.model.concept_embeds.copy_(seen.expand_as(checker.model.concept_embeds))
        # Scores are rounded to three digits: at 0.9995 the last bit of a cosine of 1 decides.
        checker.model.concept_embeds_weights.fill_(0.999)
        checker.model.special_care_embeds_weights.fill_(2.0)
