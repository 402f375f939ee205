"""Training of a ControlNet beside a locked base checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.controls import get_control
from workbench.training.beside import ControlLesson
from workbench.training.captions import random_caption
from workbench.training.context import TrainingContext
from workbench.training.curves import save_curve
from workbench.training.data import WorldData
from workbench.training.export import (
    load_controlnet,
    load_unet,
    load_vae,
    plain_attention,
    save_controlnet,
)
from workbench.training.heads import fingerprint, judge_heads, map_settings, stored_networks
from workbench.training.latents import latents_of
from workbench.training.loop import Recipe, StepDraws, Watch
from workbench.training.unet import Embed, Noising, text_embedder, weighted_error
from workbench.training.watch import WATCH_STEPS, AdherenceWatch, measure_lesson

if TYPE_CHECKING:
    from diffusers import ControlNetModel, UNet2DConditionModel

RECIPE = Recipe(steps=1_800, rate=1.0e-3, warm_up=100, decay=0.01, average=0.998, seed=61)
SCENES = 8_000
"""Scenes whose control maps are made and learnt from."""

_BATCH = 32
_DROPPED = 0.5
_HINT_WIDTHS = (16, 32, 64, 96)


def new_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """The trainable copy of a UNet's encoder, with a condition encoder for small pictures."""
    from diffusers import ControlNetModel

    torch.manual_seed(RECIPE.seed)
    made = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=_HINT_WIDTHS)
    return plain_attention(made.to(memory_format=torch.channels_last))  # type: ignore[no-any-return]


def control_maps(
    work_dir: Path, control: str, models_dir: Path, data: WorldData, count: int = SCENES
) -> np.ndarray:
    """Control maps of the first scenes by the family's own extractor, uint8 (N, 128, 128, C).

    C is 1 where the three channels agree. Kept on disk, memory-mapped, and made anew for other
    scenes or settings, and for another judge where the control asks one.
    """
    from workbench.families.judge import load_judge

    kind = get_control(control)
    settings = map_settings(control)
    scenes = data.rgb[:count]
    judge = load_judge(models_dir / "judge") if kind.needs_for(settings) else None
    mark = fingerprint(judge, scenes, settings.map_canonical())
    path = work_dir / f"maps-{control}-{mark}.npy"
    if not path.exists():
        read = {} if judge is None else judge_heads(work_dir, judge, scenes)
        parts = []
        for start in range(0, len(scenes), 100):
            networks = stored_networks(read, start)
            found = kind.extract(list(scenes[start : start + 100]), settings, networks)
            parts.append(np.stack([m.picture for m in found]))
        maps = np.concatenate(parts)
        grey = bool((maps == maps[..., :1]).all())
        temporary = path.with_suffix(".tmp.npy")
        np.save(temporary, maps[..., :1] if grey else maps)
        temporary.replace(path)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def hint(maps: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 1 or 3) -> what the ControlNet reads: float (N, 3, H, W) in [0, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(maps)).permute(0, 3, 1, 2).float() / 255
    return tensor.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class LockedBase:
    """The base checkpoint beside which a ControlNet learns: its UNet, text tower and noise."""

    unet: UNet2DConditionModel
    embed: Embed
    noising: Noising


def control_loss(
    lesson: ControlLesson,
    base: LockedBase,
    latents: Tensor,
    data: WorldData,
    maps: np.ndarray,
    draws: StepDraws,
) -> Mapping[str, Tensor]:
    """The base model's own loss with the control added (Zhang et al. 2023, eq. 5).

    Half of the prompts are dropped, so that the ControlNet learns to read the map itself.
    """
    rows = draws.numpy.integers(0, len(maps), _BATCH)
    prompts = [random_caption(data.words(r), draws.numpy, empty=_DROPPED) for r in rows]
    clean = latents[rows].float()
    noisy, steps, target, weight = base.noising(clean, draws)
    text, control = base.embed(prompts), hint(maps[rows])
    seen = lesson.controlnet.controlnet_cond_embedding(control)
    down, mid = _residuals(lesson.controlnet, noisy, steps, text, seen)
    guess = base.unet(
        noisy,
        steps,
        text,
        down_block_additional_residuals=down,
        mid_block_additional_residual=mid,
    ).sample
    read = (lesson.reader(seen).float() - clean).square().mean()
    return {"noise": weighted_error(guess, target, weight), "reader": 0.05 * read}


def _residuals(
    controlnet: ControlNetModel, noisy: Tensor, steps: Tensor, text: Tensor, seen: Tensor
) -> tuple[Any, Any]:
    """The ControlNet's forward pass with its condition already encoded."""
    encoder = controlnet.controlnet_cond_embedding
    controlnet.controlnet_cond_embedding = nn.Identity()  # type: ignore[assignment]
    try:
        out = controlnet(noisy, steps, text, controlnet_cond=seen, return_dict=False)
    finally:
        controlnet.controlnet_cond_embedding = encoder
    return out[0], out[1]


def train_controlnet(context: TrainingContext, control: str) -> bool:
    """Train one ControlNet on the base checkpoint and export it."""
    data = context.data()
    latents = latents_of(context.work_dir, load_vae(context.models_dir), data)
    maps = control_maps(context.work_dir, control, context.models_dir, data)
    unet = plain_attention(load_unet(context.models_dir).eval().requires_grad_(False))
    stage = f"controlnet:{control}"
    first = control if context.goes_on(stage) else context.start_from
    made = load_controlnet(first, context.models_dir) if first else new_controlnet(unet)
    lesson = ControlLesson(made.train())
    few = {"scenes": 2} if context.scenes else {}
    base = LockedBase(unet, text_embedder(context.models_dir), Noising())
    watch = AdherenceWatch(context.models_dir, control, **few)
    result = context.fit(
        stage,
        lesson,
        lambda d: control_loss(lesson, base, latents, data, maps, d),
        RECIPE,
        Watch(WATCH_STEPS, lambda module: measure_lesson(watch, module)),
    )
    seed = context.seed_of(stage, RECIPE)
    save_curve(result.history, _BATCH, control, context.models_dir, seed=seed, start=first)
    save_controlnet(result.module.controlnet, control, context.models_dir)  # type: ignore[arg-type]
    return result.finished
