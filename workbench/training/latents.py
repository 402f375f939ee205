"""Latents of the training scenes, encoded once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from workbench.training.data import WorldData
from workbench.training.vae import encode

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


_CHUNK = 500


def encoder_mark(vae: AutoencoderKL) -> str:
    """A short fingerprint of what makes latents: encoder and its 1x1 convolution."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in vae.state_dict().items():
        if name.startswith(("encoder.", "quant_conv.")):
            digest.update(tensor.half().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def latents_of(
    work_dir: Path, vae: AutoencoderKL, data: WorldData, style: str = "render"
) -> torch.Tensor:
    """Means of all scenes' latents, float16 (N, 4, 16, 16).

    Kept until the encoder changes or more scenes are asked for; of more, the first are taken.
    """
    name = "latents" if style == "render" else f"latents-{style}"
    path, mark = work_dir / f"{name}.safetensors", encoder_mark(vae)
    if path.exists():
        with safe_open(path, framework="pt") as file:
            kept = file.get_slice("latents")
            if file.metadata().get("encoder") == mark and kept.get_shape()[0] >= len(data):
                return kept[: len(data)]
    parts = [
        encode(vae.eval(), data.pictures(slice(start, start + _CHUNK), style))
        for start in range(0, len(data), _CHUNK)
    ]
    latents = torch.cat(parts)
    save_file({"latents": latents}, path, metadata={"encoder": mark})
    return latents
