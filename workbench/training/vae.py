"""The autoencoder of the Paperdoll world and the latents it gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from workbench.training.data import WorldData
from workbench.training.loop import Recipe, StepDraws

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

RECIPE = Recipe(steps=2_900, rate=1.6e-3, warm_up=100, decay=0.0, average=0.995, seed=11)
DECODER_RECIPE = Recipe(steps=1_800, rate=8e-4, warm_up=100, decay=0.0, average=0.998, seed=12)

_CROP = 64
_BATCH = 16


def new_vae() -> AutoencoderKL:
    """An untrained autoencoder: eightfold reduction, four latent channels, no attention."""
    from diffusers import AutoencoderKL

    torch.manual_seed(RECIPE.seed)
    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    ).to(memory_format=torch.channels_last)


def to_signal(rgb: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) -> float (N, 3, H, W) in [-1, 1], channels last in memory."""
    tensor = torch.from_numpy(np.array(rgb)).permute(0, 3, 1, 2).float()
    return tensor.div_(127.5).sub_(1.0).contiguous(memory_format=torch.channels_last)


def to_picture(signal: Tensor) -> np.ndarray:
    """float (N, 3, H, W) in [-1, 1] -> uint8 (N, H, W, 3)."""
    scaled = ((signal.detach().float().clamp(-1, 1) + 1) * 127.5).round()
    return np.asarray(scaled.byte().permute(0, 2, 3, 1).numpy())


def vae_loss(vae: AutoencoderKL, data: WorldData, draws: StepDraws) -> Mapping[str, Tensor]:
    """Reconstruction of random crops: squared, absolute and gradient error, a trace of KL."""
    target = _crops(data, draws.numpy)
    posterior = vae.encode(target).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=draws.torch)
    guess = vae.decode((posterior.mean + posterior.std * noise).to(target.dtype)).sample.float()
    squared = torch.stack([posterior.mean.float() ** 2, posterior.var.float()]).sum(0)
    kl = 0.5 * (squared - 1.0 - posterior.logvar.float()).sum((1, 2, 3)).mean()
    return {**_reconstruction(guess, target), "kl": 1e-6 * kl}


class Decoder(nn.Module):
    """What the second stage trains: the decoder behind frozen latents."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.post_quant_conv = vae.post_quant_conv
        self.decoder = vae.decoder

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (N, 4, h, w) -> signal (N, 3, 8h, 8w)."""
        return self.decoder(self.post_quant_conv(latents))


def decoder_loss(
    decoder: Decoder, latents: Tensor, data: WorldData, draws: StepDraws, style: str = "render"
) -> Mapping[str, Tensor]:
    """Reconstruction from stored latents, on crops that lie on the latent grid."""
    rows = draws.numpy.integers(0, len(data), _BATCH)
    span = _CROP // 8
    corner = draws.numpy.integers(0, latents.shape[-1] - span + 1, (_BATCH, 2))
    codes = torch.stack(
        [
            latents[r, :, y : y + span, x : x + span].float()
            for r, (y, x) in zip(rows, corner, strict=True)
        ]
    )
    crops = [
        picture[8 * y : 8 * y + _CROP, 8 * x : 8 * x + _CROP]
        for picture, (y, x) in zip(data.pictures(rows, style), corner, strict=True)
    ]
    return _reconstruction(decoder(codes).float(), to_signal(np.stack(crops)))


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, data: WorldData, count: int = 1024) -> None:
    """Fold a per-channel shift and scale into the 1x1 convolutions around the latents.

    Afterwards the means of the latents have zero mean and unit spread per channel, so that stock
    pipelines need no scaling factor.
    """
    means = encode(vae, data.rgb[:count]).float()
    mu, sd = means.mean((0, 2, 3)), means.std((0, 2, 3))
    inner, outer = vae.quant_conv, vae.post_quant_conv
    if inner is None or outer is None:
        raise ValueError("the autoencoder has no 1x1 convolutions around its latents")
    outer.bias += (outer.weight[:, :, 0, 0] * mu).sum(1)
    outer.weight *= sd.view(1, -1, 1, 1)
    inner.weight[:4] /= sd.view(-1, 1, 1, 1)
    inner.bias[:4] = (inner.bias[:4] - mu) / sd
    inner.bias[4:] -= 2 * sd.log()


@torch.no_grad()
def encode(vae: AutoencoderKL, rgb: np.ndarray, batch: int = 50) -> Tensor:
    """Means of the latents of pictures, float16 (N, 4, 16, 16)."""
    parts = [
        vae.encode(to_signal(rgb[i : i + batch])).latent_dist.mean.half().contiguous()
        for i in range(0, len(rgb), batch)
    ]
    return torch.cat(parts)


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, rgb: np.ndarray, batch: int = 50) -> np.ndarray:
    """Pictures pushed once through the autoencoder, uint8 like the input."""
    parts = [
        to_picture(vae.decode(vae.encode(to_signal(rgb[i : i + batch])).latent_dist.mean).sample)
        for i in range(0, len(rgb), batch)
    ]
    return np.concatenate(parts)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio over all pixels of two uint8 stacks, in dB."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return float(10 * np.log10(255.0**2 / max(error, 1e-12)))


def _crops(data: WorldData, rng: np.random.Generator) -> Tensor:
    rows = rng.integers(0, len(data), _BATCH)
    corner = rng.integers(0, 128 - _CROP + 1, (_BATCH, 2))
    crops = [
        data.rgb[r, y : y + _CROP, x : x + _CROP] for r, (y, x) in zip(rows, corner, strict=True)
    ]
    return to_signal(np.stack(crops))


def _reconstruction(guess: Tensor, target: Tensor) -> dict[str, Tensor]:
    error = guess - target
    across = (error[..., :, 1:] - error[..., :, :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    squared = error.square().mean()
    return {
        "l1": 0.5 * error.abs().mean(),
        "l2": 2.0 * squared,
        "gradient": 0.25 * (across + down),
        "_psnr": 10 * torch.log10(4 / squared.detach()),
    }
