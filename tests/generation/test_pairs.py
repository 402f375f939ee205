"""Protects: two ControlNets at once give what stock diffusers gives, whatever shares the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from samples import make_samples
from tiny_models import PROMPTS, make_maps, make_trial

from workbench.families.manager import ModelManager
from workbench.generation import GenerationError
from workbench.generation.schedulers import make_scheduler
from workbench.study import ControlUse, Trial

MAPS = make_maps()
TOLERANCE = 2


def pair(canny: float, depth: float, **changes: Any) -> Trial:
    """A trial that both controls of the tiny family steer."""
    also = (ControlUse("depth", "{}", depth),)
    return make_trial(control="canny", scale=canny, also=also, **changes)


MIXED = [
    pair(canny, depth, seed=i, prompt=PROMPTS[i % 3], source_sha256=f"source-{i % 2}")
    for i, (canny, depth) in enumerate([(0.4, 1.0), (1.0, 0.3), (1.6, 1.6), (0.2, 0.7), (1.0, 2)])
]


def make(trials: list[Trial], manager: ModelManager, **options: int) -> dict[str, np.ndarray]:
    """Samples by trial id, as int so that differences can be negative."""
    results = make_samples(trials, MAPS, manager, **options)
    assert [result.failed_reason for result in results] == [""] * len(trials)
    return {r.trial.id: r.image.astype(int) for r in results if r.image is not None}


def stock(trial: Trial, manager: ModelManager, scales: list[float] | None = None) -> np.ndarray:
    """What a user of diffusers would write for one trial; `scales` replace those of the trial."""
    pipeline = manager.pipeline("canny", "depth")
    before = pipeline.scheduler
    pipeline.scheduler = make_scheduler(trial.scheduler, before.config)
    source = str(trial.source_sha256)
    try:
        (picture,) = pipeline(
            trial.prompt,
            image=[
                Image.fromarray(MAPS[source, name, "{}"].picture) for name in ("canny", "depth")
            ],
            controlnet_conditioning_scale=scales or [use.scale for use in trial.controls],
            control_guidance_start=trial.control_start,
            control_guidance_end=trial.control_end,
            negative_prompt=trial.negative_prompt,
            height=trial.size,
            width=trial.size,
            num_inference_steps=trial.steps,
            guidance_scale=trial.guidance_scale,
            generator=torch.Generator().manual_seed(trial.seed),
        ).images
    finally:
        pipeline.scheduler = before
    return np.asarray(picture).astype(int)


@pytest.mark.parametrize("guidance", [1.0, 6.0])
def test_a_mixed_batch_of_pairs_equals_the_stock_pipeline_one_at_a_time(
    warm_manager: ModelManager, guidance: float
) -> None:
    trials = [Trial.from_dict(trial.to_dict() | {"guidance_scale": guidance}) for trial in MIXED]
    together = make(trials, warm_manager)
    for trial in trials:
        assert np.abs(together[trial.id] - stock(trial, warm_manager)).max() <= TOLERANCE


def test_batches_of_any_size_and_order_give_the_same_pictures(warm_manager: ModelManager) -> None:
    alone = make(MIXED, warm_manager, batch_size=1)
    others = [make_trial(seed=9), make_trial(control="canny", seed=9)]
    for trials, size in ((MIXED, 16), (MIXED[::-1], 2), ([*others, *MIXED], 3)):
        made = make(trials, warm_manager, batch_size=size)
        for name, picture in alone.items():
            assert np.abs(made[name] - picture).max() <= TOLERANCE


def test_a_window_of_steps_equals_the_stock_pipeline(warm_manager: ModelManager) -> None:
    trial = pair(0.6, 1.2, steps=6, control_start=0.3, control_end=0.8)
    (picture,) = make([trial], warm_manager).values()
    assert np.abs(picture - stock(trial, warm_manager)).max() <= TOLERANCE


def test_scale_0_of_one_control_is_the_picture_of_the_other_alone(
    warm_manager: ModelManager,
) -> None:
    """The plan makes such points one trial, so the stock pipeline must make them one picture."""
    for control, scales in (("canny", [0.8, 0.0]), ("depth", [0.0, 0.8])):
        alone = make_trial(control=control, scale=0.8)
        (picture,) = make([alone], warm_manager).values()
        assert np.abs(picture - stock(alone, warm_manager, scales)).max() <= TOLERANCE


def test_both_scales_show_in_the_picture(warm_manager: ModelManager) -> None:
    trials = [pair(1, 1), pair(0.3, 1), pair(1, 0.3), make_trial(), make_trial(control="canny")]
    pictures = list(make(trials, warm_manager).values())
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one - other).mean() > 1


def test_each_net_runs_once_a_step_and_embeds_each_map_once(manager: ModelManager) -> None:
    rows: dict[str, list[int]] = {"canny": [], "depth": [], "hint canny": [], "hint depth": []}
    for name in ("canny", "depth"):
        net = manager.controlnet(name)
        for module, key in (
            (net.conv_in, name),
            (net.controlnet_cond_embedding.conv_in, f"hint {name}"),
        ):
            module.register_forward_pre_hook(lambda _, x, key=key: rows[key].append(len(x[0])))
    before = [dict(vars(manager.controlnet(name))) for name in ("canny", "depth")]
    trials = [pair(canny, depth) for canny in (0.5, 1.0) for depth in (0.4, 0.8)]
    make(trials, manager)
    make([make_trial()], manager)  # takes the embedded depth map that the pairs left behind
    assert rows["canny"] == [8] * 4
    assert rows["depth"] == [8] * 4 + [2] * 4
    assert rows["hint canny"] == rows["hint depth"] == [1]
    assert [vars(manager.controlnet(name)) for name in ("canny", "depth")] == before


def test_a_missing_map_of_either_control_is_named(warm_manager: ModelManager) -> None:
    for control in ("canny", "depth"):
        maps = {key: made for key, made in MAPS.items() if key[1] != control}
        with pytest.raises(GenerationError, match=f"no {control} map"):
            make_samples([pair(1, 1)], maps, warm_manager)
