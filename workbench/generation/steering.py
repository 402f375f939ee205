"""What a pipeline call needs to be steered by ControlNets, for every architecture."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.families import ControlNetRef, Family
from workbench.families.manager import ModelManager
from workbench.generation.control_hook import ControlHook
from workbench.generation.control_latents import ControlLatents
from workbench.images import sha256_image
from workbench.study import Plan, Trial


def controlnet_names(trial: Trial, family: Family) -> tuple[str, ...]:
    """Names of the ControlNets that a trial runs, in the order of its controls."""
    return tuple(
        family.controlnet_name(use.control, use.control_settings) for use in trial.controls
    )


def plan_controlnets(plan: Plan, family: Family) -> list[str]:
    """Names of all ControlNets that a plan runs, in alphabetical order."""
    return sorted({name for trial in plan.trials for name in controlnet_names(trial, family)})


def steer(
    trials: Sequence[Trial],
    names: Sequence[str],
    pictures: Sequence[Sequence[np.ndarray]],
    manager: ModelManager,
    stack: ExitStack,
) -> dict[str, Any]:
    """Arguments of the pipeline for the control maps; hooks are put around its ControlNets.

    Args:
        trials: those of one batch, all steered by the ControlNets `names`.
        pictures: for each trial the picture (uint8 H×W×3) of each of its control maps.
        stack: takes the hooks off when it closes.
    """
    architecture = manager.family.parts_of
    refs = [manager.family.controlnet_ref(name) for name in names]
    images: list[Tensor] = []
    keys: list[list[str]] = []
    for place, (name, ref) in enumerate(zip(names, refs, strict=True)):
        column = [row[place] for row in pictures]
        keys.append([sha256_image(picture) for picture in column])
        scales = [trial.controls[place].scale for trial in trials]
        hook = ControlHook(manager.controlnet(name), scales, keys[-1], manager.hint_cache(name))
        stack.enter_context(hook)
        pixels = torch.from_numpy(np.stack(column)).permute(0, 3, 1, 2).float() / 255
        images.append(_for_vae(pixels, ref) if architecture.encodes_maps else pixels)
    found: dict[str, Any] = {"controlnet_conditioning_scale": 1.0}
    modes = [ref.union_mode for ref in refs if ref.union_mode is not None]
    if modes:
        return found | {"control_image": images, "control_mode": modes}
    if architecture.encodes_maps:
        named = [[(key, ref.pixels) for key in row] for row, ref in zip(keys, refs, strict=True)]
        vae = manager.pipeline(None).vae
        stack.enter_context(ControlLatents(vae, named, manager.latent_cache))
        # Several nets are driven by a list of scales here; others take one for all.
        found["controlnet_conditioning_scale"] = [1.0] * len(names) if len(names) > 1 else 1.0
    return found | {architecture.image: images if len(images) > 1 else images[0]}


def _for_vae(pixels: Tensor, ref: ControlNetRef) -> Tensor:
    """Pixels in [0, 1] as the ControlNet's maps were encoded when it was trained."""
    return pixels * 127.5 + 0.5 if ref.pixels == "sd35-canny" else pixels * 2 - 1
