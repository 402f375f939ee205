"""The audit of the single models: autoencoder, CLIP, prompts alone, and a scale of zero."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench.paperdoll import STYLES, draw_in
from workbench.training.audit.figures import Figure, by_group
from workbench.training.audit.samples import audited, make_images, make_trial
from workbench.training.captions import caption
from workbench.training.clip import tag_accuracy
from workbench.training.export import load_clip
from workbench.training.vae import psnr

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager

_PICTURES = {style: f"pictures drawn in {style}" for style in STYLES} | {
    STYLES[0]: "rendered pictures"
}


def vae_figures(manager: ModelManager, rgb: np.ndarray) -> list[Figure]:
    back = np.stack(manager.vae_roundtrip(list(rgb)))
    name = f"VAE reconstruction PSNR, {len(rgb)} scenes"
    return [Figure(name, psnr(rgb, back), least=27.0, unit=" dB")]


def style_figures(manager: ModelManager, held: dict[str, np.ndarray]) -> list[Figure]:
    """What the autoencoders of the other styles give back of pictures in their style."""
    figures = []
    for style in list(manager.family.base)[1:]:
        truth = (held[name] for name in ("rgb", "depth", "normal", "segmentation"))
        drawn = draw_in(style, *truth)
        back = np.stack(manager.for_base(style).vae_roundtrip(list(drawn)))
        name = f"VAE reconstruction PSNR of the {style} checkpoint, {len(drawn)} scenes"
        figures.append(Figure(name, psnr(drawn, back), unit=" dB"))
    return figures


def clip_figures(
    models_dir: Path, held: dict[str, np.ndarray], words: list[tuple[str, ...]]
) -> list[Figure]:
    """CLIP reads pictures of every base, so of every style; the first one has targets."""
    model, tokenizer = load_clip(models_dir)
    figures = []
    for style in STYLES:
        found = tag_accuracy(model.eval(), tokenizer, in_style(held, style), words)
        targets = (0.95, 0.80) if style == STYLES[0] else (None, None)
        figures += by_group(f"CLIP tells the right tag, {_PICTURES[style]}", found, *targets)
    return figures


def in_style(held: dict[str, np.ndarray], style: str) -> np.ndarray:
    """Pictures of the scenes in a drawing style, uint8 (N, H, W, 3)."""
    if style == STYLES[0]:
        return held["rgb"]
    return draw_in(style, held["rgb"], held["depth"], held["normal"], held["segmentation"])


def text_figures(
    manager: ModelManager,
    models_dir: Path,
    held: dict[str, np.ndarray],
    words: list[tuple[str, ...]],
    pictures: int,
) -> list[Figure]:
    """The auditor on pictures of known tags in every style, then on samples of each base."""
    rows = []
    for style in STYLES:
        known = audited(models_dir, in_style(held, style), held["tags"])
        rows += by_group(f"auditor, {_PICTURES[style]}", known, None, None)[-2:]
    for base in manager.family.base:
        drawn = manager.for_base(base)
        trials = [make_trial(drawn, caption(words[i]), i) for i in range(pictures)]
        images = make_images(trials, {}, drawn)
        found = audited(models_dir, images, held["tags"][:pictures])
        rows += by_group(f"text only, {base}, tags judged right", found, 0.88, 0.70)
    return rows


def zero_scale_figure(manager: ModelManager, words: list[tuple[str, ...]]) -> Figure:
    """Stock pipelines with and without a ControlNet, at scale 0, same prompts and seeds."""
    import torch
    from PIL import Image

    control = next(iter(manager.family.controls))
    prompts = [caption(w) for w in words[:4]]
    common = {"num_inference_steps": 20, "guidance_scale": 5.0, "output_type": "np"}

    def seeds() -> list[torch.Generator]:
        return [torch.Generator("cpu").manual_seed(i) for i in range(len(prompts))]

    with torch.inference_mode():
        plain = manager.pipeline(None)(prompts, generator=seeds(), **common).images
        blank = Image.new("RGB", (manager.family.resolution,) * 2, "white")
        steered = manager.pipeline(control)(
            prompts,
            image=[blank] * len(prompts),
            controlnet_conditioning_scale=0.0,
            generator=seeds(),
            **common,
        ).images
    difference = float(np.abs(plain - steered).max())
    return Figure("scale 0 against no ControlNet: largest pixel difference", difference, most=0.0)
