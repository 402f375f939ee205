"""How well a ControlNet obeys its map while it learns: the curve of its sudden convergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from workbench.controls import ControlMap, get_control
from workbench.training.captions import caption
from workbench.training.data import render_arrays, words_of
from workbench.training.export import load_vae
from workbench.training.heads import map_settings
from workbench.training.vae import reconstruct

if TYPE_CHECKING:
    from diffusers import ControlNetModel

WATCH_SEEDS = range(700_300, 700_316)
"""Scenes that are looked at; no stage learns from them, and the audit uses others."""
WATCH_STEPS = frozenset({0, 25, 50, 100, 150, 200, 300, 400, 600, 800, 1000, 1200, 1500, 1800})
_SAMPLING_STEPS = 10
WATCH_GUIDANCE = 2.0
"""Guidance scale of the samples that are looked at."""


class AdherenceWatch:
    """Adherence of a ControlNet's samples at scale 1 under the scenes' own prompts.

    Adherence is (value - chance) / (ceiling - chance) of the control's primary metric, each a mean
    over the scenes: chance compares each scene with another one, the ceiling with itself after a
    pass through the autoencoder.
    """

    def __init__(self, models_dir: Path, control: str, scenes: int = len(WATCH_SEEDS)) -> None:
        from workbench.families.judge import load_judge

        self._models_dir = models_dir
        self._kind = get_control(control)
        self._settings = map_settings(control)
        needs = self._kind.needs_for(self._settings)
        self._networks = load_judge(models_dir / "judge").networks() if needs else {}
        held = render_arrays(WATCH_SEEDS[:scenes])
        self._prompts = [caption(words) for words in words_of(held["tags"])]
        self._wanted = self._maps(held["rgb"])
        back = self._maps(reconstruct(load_vae(models_dir).eval(), held["rgb"]))
        self._ceiling = self._value(back)
        self._chance = self._value(self._wanted[1:] + self._wanted[:1])
        self._pipeline: Any = None

    def __call__(self, controlnet: ControlNetModel) -> dict[str, float]:
        """``adherence`` of a ControlNet as it stands; its training goes on undisturbed."""
        value = self._value(self._maps(self._samples(controlnet)))
        span = self._ceiling - self._chance
        return {"adherence": (value - self._chance) / span if span else float("nan")}

    def _maps(self, rgb: np.ndarray) -> list[ControlMap]:
        return self._kind.extract(list(rgb), self._settings, self._networks)

    def _value(self, maps: Sequence[ControlMap]) -> float:
        primary = self._kind.primary
        found = [
            self._kind.compare(got, wanted, self._settings)[primary].value
            for wanted, got in zip(self._wanted, maps, strict=True)
        ]
        return float(np.nanmean(found))

    @torch.inference_mode()
    def _samples(self, controlnet: ControlNetModel) -> np.ndarray:
        from diffusers import StableDiffusionControlNetPipeline, UniPCMultistepScheduler
        from PIL import Image

        if self._pipeline is None:
            pipeline = StableDiffusionControlNetPipeline.from_pretrained(
                self._models_dir / "base",
                controlnet=controlnet,
                local_files_only=True,
                requires_safety_checker=False,
            )
            pipeline.set_progress_bar_config(disable=True)
            self._pipeline = pipeline
        pipeline, training = self._pipeline, controlnet.training
        pipeline.controlnet = controlnet.eval()
        pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config)
        made = pipeline(
            self._prompts,
            image=[Image.fromarray(m.picture) for m in self._wanted],
            num_inference_steps=_SAMPLING_STEPS,
            guidance_scale=WATCH_GUIDANCE,
            generator=[torch.Generator().manual_seed(k) for k in range(len(self._prompts))],
            output_type="np",
        ).images
        controlnet.train(training)
        return np.asarray(np.rint(made * 255), np.uint8)


def measure_lesson(watch: AdherenceWatch, lesson: nn.Module) -> Mapping[str, float]:
    """The watch's figures for a training module that holds a ControlNet."""
    return watch(lesson.controlnet)  # type: ignore[arg-type]
