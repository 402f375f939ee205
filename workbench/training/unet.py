"""The base checkpoint's UNet: denoising latents under a prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.paperdoll.labels import Label
from workbench.training.captions import random_caption
from workbench.training.context import TrainingContext
from workbench.training.data import WorldData
from workbench.training.export import load_unet, load_vae, plain_attention, save_base
from workbench.training.latents import latents_of
from workbench.training.loop import Recipe, StepDraws

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

RECIPE = Recipe(steps=3_800, rate=1.0e-3, warm_up=200, decay=0.01, average=0.998, seed=51)

STYLE_RECIPE = Recipe(steps=800, rate=4.0e-4, warm_up=50, decay=0.01, average=0.998, seed=52)

SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.02,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "steps_offset": 1,
}
"""The noise schedule. Latents are 16 times smaller than Stable Diffusion's, so that its own last
beta (0.012) would leave the picture's mean readable in the noisiest step; 0.02 does not."""

BATCH = 64
SIGNAL_CAP = 6.0
"""Largest weight of the error of the clean latent, as in min-SNR weighting (Hang et al. 2023)."""
EMPTY_SHARE = 0.10
DETAIL = {Label.FACE: 8.0, Label.BOW: 3.0, Label.HAIR: 1.0}
"""Extra weight of the error where these classes fill a latent cell. A face covers a few of the
256 cells, so that without it the colour of the eyes is learnt last of all; the weights change
how soon a detail is learnt, not what the best denoiser is."""

Embed = Callable[[list[str]], Tensor]


def new_unet() -> UNet2DConditionModel:
    """An untrained UNet: three levels, cross-attention on the two lower ones."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(RECIPE.seed)
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    return plain_attention(unet.to(memory_format=torch.channels_last))


class BaseLesson(nn.Module):
    """A base checkpoint in training: the UNet and the text tower that steers it.

    The tower starts as that of the world's CLIP. CLIP reads a caption at its end, so that its other
    tokens hardly say which noun a colour belongs to; a few hundred steps together with the UNet
    teach them to. The scoring CLIP keeps its own tower.
    """

    def __init__(self, unet: UNet2DConditionModel, models_dir: Path) -> None:
        super().__init__()
        from transformers import CLIPTextModel, CLIPTokenizer

        base = models_dir / "base"
        self.unet = unet
        self.tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
        self.text: Any = CLIPTextModel.from_pretrained(
            base / "text_encoder", dtype=torch.float32, local_files_only=True
        )
        self.text.set_attn_implementation("eager")

    def embed(self, prompts: list[str]) -> Tensor:
        """Prompts -> (N, 32, 128), padded as the pipelines pad."""
        ids = self.tokenizer(
            prompts,
            padding="max_length",
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        ).input_ids
        return self.text(ids).last_hidden_state  # type: ignore[no-any-return]


def text_embedder(models_dir: Path) -> Embed:
    """The finished text tower: prompts -> (N, 32, 128)."""
    lesson = BaseLesson(new_unet(), models_dir).eval().requires_grad_(False)
    return torch.no_grad()(lesson.embed)


class Noising:
    """The forward process and the target that the network learns (Ho et al. 2020, eq. 4;
    velocity: Salimans and Ho 2022, appendix D)."""

    def __init__(self) -> None:
        from diffusers import DDPMScheduler

        self.scheduler = DDPMScheduler(**SCHEDULE)
        kept = self.scheduler.alphas_cumprod
        signal = 1.0 / (1.0 - kept)
        self.weight = torch.clamp(signal, max=SIGNAL_CAP) / signal

    def __call__(self, clean: Tensor, draws: StepDraws) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Clean latents -> noisy latents, time steps, target, weight of each sample's error."""
        steps = torch.randint(0, 1000, (len(clean),), generator=draws.torch)
        noise = torch.randn(clean.shape, generator=draws.torch)
        noisy = self.scheduler.add_noise(clean, noise, steps)  # type: ignore[arg-type]
        target = self.scheduler.get_velocity(clean, noise, steps)  # type: ignore[arg-type]
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        return noisy, steps, target, self.weight[steps]


def weighted_error(
    guess: Tensor, target: Tensor, weight: Tensor, cells: Tensor | None = None
) -> Tensor:
    """Mean squared error, each sample under its weight and each latent cell (N, h, w) under its."""
    error = (guess.float() - target).square().mean(1)
    if cells is not None:
        error = error * cells
    return (error.mean((1, 2)) * weight).mean()


def detail_weights(labels: np.ndarray, cells: int = 16) -> Tensor:
    """Weight of every latent cell: uint8 classes (N, H, W) -> float (N, cells, cells), mean 1."""
    table = np.ones(len(Label), np.float32)
    for label, extra in DETAIL.items():
        table[label] += extra
    step = labels.shape[-1] // cells
    cut = table[labels].reshape(len(labels), cells, step, cells, step).mean((2, 4))
    return torch.from_numpy(cut / cut.mean())


def unet_loss(
    lesson: BaseLesson,
    latents: Tensor,
    data: WorldData,
    noising: Noising,
    draws: StepDraws,
) -> Mapping[str, Tensor]:
    """The denoising loss on a batch of latents under random captions."""
    rows = draws.numpy.integers(0, len(latents), BATCH)
    prompts = [random_caption(data.words(r), draws.numpy, empty=EMPTY_SHARE) for r in rows]
    noisy, steps, target, weight = noising(latents[rows].float(), draws)
    guess = lesson.unet(noisy, steps, lesson.embed(prompts)).sample
    cells = detail_weights(data.segmentation[rows])
    return {"noise": weighted_error(guess, target, weight, cells)}


def train_unet(context: TrainingContext) -> bool:
    """Train UNet and text tower on stored latents; export the average as base checkpoint."""
    data = context.data()
    latents = latents_of(context.work_dir, load_vae(context.models_dir), data)
    unet = plain_attention(load_unet(context.models_dir)) if context.goes_on("unet") else new_unet()
    lesson, noising = BaseLesson(unet, context.models_dir), Noising()
    result = context.fit(
        "unet", lesson, lambda d: unet_loss(lesson, latents, data, noising, d), RECIPE
    )
    save_base(result.module.unet, result.module.text, SCHEDULE, context.models_dir)  # type: ignore[arg-type]
    return result.finished


def train_other_style(context: TrainingContext, style: str) -> bool:
    """Retrain the finished UNet on the same scenes in another drawing style, as fine-tuned
    checkpoints are made; the text tower stays as it is, ControlNets are not touched."""
    data = context.data()
    latents = latents_of(context.work_dir, load_vae(context.models_dir, style), data, style)
    lesson = BaseLesson(plain_attention(load_unet(context.models_dir)), context.models_dir)
    lesson.text.requires_grad_(False)
    noising = Noising()
    result = context.fit(
        f"unet:{style}",
        lesson,
        lambda d: unet_loss(lesson, latents, data, noising, d),
        STYLE_RECIPE,
    )
    save_base(result.module.unet, result.module.text, SCHEDULE, context.models_dir, style)  # type: ignore[arg-type]
    return result.finished
