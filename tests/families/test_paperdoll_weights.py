"""The weights that are shipped: they load with no code of ours, and they obey."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from workbench.controls import get_control
from workbench.paperdoll import TAG_GROUPS, render, sample_scene
from workbench.paths import data_dir
from workbench.training.auditor import load_auditor
from workbench.training.data import tag_indices

FOLDER = data_dir() / "models" / "paperdoll"
SEEDS = range(950_000, 950_012)
"""Scenes that neither training nor audit have seen."""


def _pipeline(control: str | None) -> object:
    from diffusers import (
        ControlNetModel,
        StableDiffusionControlNetPipeline,
        StableDiffusionPipeline,
    )

    if control is None:
        made = StableDiffusionPipeline.from_pretrained(FOLDER / "base", safety_checker=None)
    else:
        controlnet = ControlNetModel.from_pretrained(FOLDER / "controlnet" / control)
        made = StableDiffusionControlNetPipeline.from_pretrained(
            FOLDER / "base", controlnet=controlnet, safety_checker=None
        )
    made.set_progress_bar_config(disable=True)
    return made


def _draw(pipeline: object, prompts: list[str], **extra: object) -> np.ndarray:
    with torch.inference_mode():
        images = pipeline(  # type: ignore[operator]
            prompts,
            num_inference_steps=12,
            guidance_scale=5.0,
            generator=[torch.Generator().manual_seed(i) for i in range(len(prompts))],
            output_type="np",
            **extra,
        ).images
    return np.asarray((images * 255).round().astype(np.uint8))


@pytest.fixture(scope="module")
def prompts() -> list[str]:
    return [", ".join(sample_scene(seed).tags) for seed in SEEDS]


@pytest.fixture(scope="module")
def plain(prompts: list[str]) -> np.ndarray:
    return _draw(_pipeline(None), prompts)


def test_prompts_are_obeyed(plain: np.ndarray) -> None:
    """Far above chance (0.31 over the groups) even on a dozen pictures and a dozen steps."""
    seen = load_auditor(FOLDER / "auditor").read(plain)
    wanted = np.array([tag_indices(sample_scene(seed)) for seed in SEEDS])
    assert wanted.shape[1] == len(TAG_GROUPS)
    assert (seen == wanted).mean() > 0.7


def test_canny_steers_and_more_scale_steers_more(prompts: list[str], plain: np.ndarray) -> None:
    control = get_control("canny")
    settings = control.settings()
    sources = [render(sample_scene(seed)).rgb for seed in SEEDS]
    maps = control.extract(sources, settings, {})
    hint = torch.from_numpy(np.stack([m.picture for m in maps])).permute(0, 3, 1, 2) / 255

    def score(pictures: np.ndarray) -> float:
        got = control.extract(list(pictures), settings, {})
        pairs = zip(maps, got, strict=True)
        readings = [control.compare(g, w, settings)[control.primary].value for w, g in pairs]
        return float(np.nanmean(readings))

    pipeline = _pipeline("canny")
    scores = [score(plain)]
    for scale in (0.5, 1.0):
        drawn = _draw(pipeline, prompts, image=hint, controlnet_conditioning_scale=scale)
        scores.append(score(drawn))
    assert scores[0] < scores[1] < scores[2]


def test_scale_zero_is_no_control(prompts: list[str]) -> None:
    few = prompts[:2]
    blank = torch.ones(2, 3, 128, 128)
    pipeline = _pipeline("depth")
    steered = _draw(pipeline, few, image=blank, controlnet_conditioning_scale=0.0)
    assert np.array_equal(_draw(_pipeline(None), few), steered)


def test_the_audit_lies_beside_the_weights() -> None:
    assert "scale 0 against no ControlNet" in Path(FOLDER / "AUDIT.md").read_text("utf-8")
