"""Pictures to latents and back, as diffusers' pipelines do it, for every architecture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from workbench.families.applying import whole_range


def encode(vae: Any, signal: Tensor) -> Tensor:
    """Pictures (B×3×H×W in [-1, 1]) -> the mode of their latents, not scaled."""
    with whole_range(vae) as dtype:
        return vae.encode(signal.to(dtype)).latent_dist.mode()


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Latents as `encode` gives them -> pictures B×3×H×W, about [-1, 1]."""
    with whole_range(vae) as dtype:
        return vae.decode(latents.to(dtype), return_dict=False)[0]


def unscaled(vae: Any, latents: Tensor) -> Tensor:
    """Latents of a denoiser -> latents of the VAE; undoes its scale, and its shift or mean."""
    config = vae.config
    means = getattr(config, "latents_mean", None)
    deviations = getattr(config, "latents_std", None)
    if means is not None and deviations is not None:
        mean, std = (
            torch.tensor(values, dtype=latents.dtype, device=latents.device).view(1, -1, 1, 1)
            for values in (means, deviations)
        )
        return latents * std / config.scaling_factor + mean
    return latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
