"""Protects: a sample is what the stock pipeline makes of its trial, whatever shares its batch."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from samples import make_samples
from tiny_models import PROMPTS, SIDE, make_maps, make_trial

from workbench.families.manager import ModelManager
from workbench.generation import BatchSizer, GenerationError, Step, generate
from workbench.generation.schedulers import make_scheduler
from workbench.samplers import SAMPLER_NAMES
from workbench.study import Trial

MAPS = make_maps()
TOLERANCE = 2
MIXED = [
    make_trial(seed=i, prompt=PROMPTS[i % 3], scale=scale, source_sha256=f"source-{i % 2}")
    for i, scale in enumerate((0.4, 1.0, 1.6, 0.7, 2.0))
]


def make(trials: Sequence[Trial], manager: ModelManager, **options: int) -> dict[str, np.ndarray]:
    """Samples by trial id, as int so that differences can be negative."""
    results = make_samples(trials, MAPS, manager, **options)
    assert [result.failed_reason for result in results] == [""] * len(trials)
    return {r.trial.id: r.image.astype(int) for r in results if r.image is not None}


def stock(trial: Trial, manager: ModelManager) -> np.ndarray:
    """What a user of diffusers would write for one trial, without any code of ours in between."""
    pipeline = manager.pipeline(trial.control)
    before = pipeline.scheduler
    arguments = {}
    if trial.control is not None:
        assert trial.map_key is not None
        arguments = {
            "image": Image.fromarray(MAPS[trial.map_key].picture),
            "controlnet_conditioning_scale": trial.scale,
            "control_guidance_start": trial.control_start,
            "control_guidance_end": trial.control_end,
        }
    pipeline.scheduler = make_scheduler(trial.scheduler, before.config)
    try:
        (picture,) = pipeline(
            trial.prompt,
            negative_prompt=trial.negative_prompt,
            height=trial.size,
            width=trial.size,
            num_inference_steps=trial.steps,
            guidance_scale=trial.guidance_scale,
            generator=torch.Generator().manual_seed(trial.seed),
            **arguments,
        ).images
    finally:
        pipeline.scheduler = before
    return np.asarray(picture).astype(int)


@pytest.mark.parametrize("scheduler", SAMPLER_NAMES)
@pytest.mark.parametrize("guidance", [1.0, 6.0])
def test_a_mixed_batch_equals_the_stock_pipeline_one_at_a_time(
    warm_manager: ModelManager, scheduler: str, guidance: float
) -> None:
    changes = {"scheduler": scheduler, "guidance_scale": guidance, "negative_prompt": "snow"}
    trials = [Trial(**(trial.to_dict() | changes)) for trial in MIXED]
    trials.append(make_trial(control=None, **changes))
    together = make(trials, warm_manager)
    for trial in trials:
        assert np.abs(together[trial.id] - stock(trial, warm_manager)).max() <= TOLERANCE


def test_a_window_of_steps_equals_the_stock_pipeline(warm_manager: ModelManager) -> None:
    trials = [make_trial(seed=i, steps=6, control_start=0.3, control_end=0.8) for i in range(2)]
    together = make(trials, warm_manager)
    for trial in trials:
        assert np.abs(together[trial.id] - stock(trial, warm_manager)).max() <= TOLERANCE


def test_batches_of_any_size_and_order_give_the_same_pictures(warm_manager: ModelManager) -> None:
    alone = make(MIXED, warm_manager, batch_size=1)
    for trials, size in ((MIXED, 16), (MIXED[::-1], 16), (MIXED, 2), (MIXED[2:4], 16)):
        for name, picture in make(trials, warm_manager, batch_size=size).items():
            assert np.abs(picture - alone[name]).max() <= TOLERANCE


def test_only_the_size_of_a_batch_changes_pixels(warm_manager: ModelManager) -> None:
    """Not what else is in it, nor the order; so copies do for the others."""
    together = make(MIXED, warm_manager, batch_size=5)
    for name, picture in make(MIXED[::-1], warm_manager, batch_size=5).items():
        np.testing.assert_array_equal(picture, together[name])
    for trial in MIXED:
        full = BatchSizer(5, warm_manager, fill=True)
        (result,) = make_samples([trial], MAPS, warm_manager, batch_size=full)
        assert result.trial == trial and result.made_by["batch_size"] == 5
        np.testing.assert_array_equal(result.image, together[trial.id])


def test_full_batches_yield_the_wanted_trials_alone(warm_manager: ModelManager) -> None:
    full = BatchSizer(4, warm_manager, fill=True)
    batches = list(generate(MIXED, MAPS, warm_manager, batch_size=full))
    assert [len(batch) for batch in batches] == [2, 3]
    results = [result for batch in batches for result in batch]
    assert [r.trial for r in results] == MIXED
    assert {r.made_by["batch_size"] for r in results} == {4}


def test_every_part_of_a_trial_shows_in_its_picture(warm_manager: ModelManager) -> None:
    changes = [
        {},
        {"seed": 2},
        {"scale": 0.5},
        {"source_sha256": "source-1"},
        {"prompt": PROMPTS[1]},
        {"negative_prompt": "snow"},
        {"control": "canny"},
        {"base": "ink"},
    ]
    pictures = list(make([make_trial(**change) for change in changes], warm_manager).values())
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one - other).mean() > 1


def test_scale_zero_is_the_picture_without_a_controlnet(warm_manager: ModelManager) -> None:
    zero, plain = make_trial(scale=0.0), make_trial(control=None)
    pictures = make([zero, plain], warm_manager)
    assert (pictures[zero.id] == pictures[plain.id]).all()
    assert (make([zero], warm_manager)[zero.id] == stock(zero, warm_manager)).all()


def test_work_that_cannot_matter_is_not_done(manager: ModelManager) -> None:
    rows: dict[str, list[int]] = {"control": [], "hint": [], "text": [], "unet": []}
    pipeline = manager.pipeline("depth")
    watched = {
        "control": pipeline.controlnet.conv_in,
        "hint": pipeline.controlnet.controlnet_cond_embedding.conv_in,
        "unet": pipeline.unet.conv_in,
    }
    for name, module in watched.items():
        module.register_forward_pre_hook(lambda _, x, name=name: rows[name].append(len(x[0])))
    pipeline.text_encoder.register_forward_pre_hook(lambda *_: rows["text"].append(1))
    trials = [
        make_trial(seed=s, scale=k, source_sha256=f"source-{i}", control_end=0.5)
        for s in (1, 2)
        for k in (0.0, 0.5, 1.0)
        for i in (0, 1)
    ]
    for _ in range(2):
        make(trials, manager, batch_size=4)
    # 8 trials need the ControlNet (two batches), in 2 of 4 steps, with guidance; twice.
    assert rows["control"] == [8] * 8
    assert rows["unet"] == [8] * 24
    assert rows["hint"] == [1, 1]
    assert rows["text"] == [1, 1]  # the prompt and the empty negative prompt


def test_base_models_share_controlnets_but_not_prompts(warm_manager: ModelManager) -> None:
    trials = [make_trial(), make_trial(base="ink")]
    pictures = make(trials, warm_manager)
    other = warm_manager.for_base("ink")
    mine, theirs = (m.pipeline("depth").controlnet for m in (warm_manager, other))
    assert mine is not theirs and mine.conv_in is theirs.conv_in
    for trial in trials:
        alone = stock(trial, warm_manager.for_base(trial.base))
        assert np.abs(pictures[trial.id] - alone).max() <= TOLERANCE


def test_results_say_how_they_were_made(warm_manager: ModelManager) -> None:
    trials = [make_trial(prompt=PROMPTS[2]), make_trial(prompt="a girl " * 20)]
    empty, cut = make_samples(trials, MAPS, warm_manager)
    assert empty.image is not None
    assert empty.image.shape == (SIDE, SIDE, 3)
    assert empty.image.dtype == np.uint8
    assert (empty.made_by["tokens"], empty.made_by["truncated"]) == (2, False)
    assert cut.made_by["tokens"] > 20
    assert cut.made_by["truncated"] is True
    json.dumps(empty.made_by)
    wanted = {"batch_size": 2, "device": "cpu", "dtype": "float32"}
    assert empty.made_by.items() >= wanted.items()
    assert empty.made_by["seconds"] > 0


def test_progress_is_reported_by_step_and_samples_come_by_batch(warm_manager: ModelManager) -> None:
    steps: list[tuple[int, int, int]] = []
    previews: list[np.ndarray] = []

    def on_step(step: Step) -> None:
        steps.append((len(step.trials), step.done, step.total))
        previews.append(step.preview(len(step.trials) - 1))

    batches = list(generate(MIXED, MAPS, warm_manager, batch_size=3, on_step=on_step))
    assert steps == [(n, i, 4) for n in (2, 3) for i in (1, 2, 3, 4)]
    assert [len(batch) for batch in batches] == [2, 3]
    last = batches[0][1].image
    assert last is not None
    assert np.abs(previews[3].astype(int) - last).max() <= TOLERANCE
    assert np.abs(previews[0].astype(int) - last).max() > TOLERANCE


@pytest.mark.parametrize("scheduler", SAMPLER_NAMES)
def test_looking_at_previews_changes_nothing(warm_manager: ModelManager, scheduler: str) -> None:
    trial = make_trial(scheduler=scheduler)
    (seen,) = make_samples([trial], MAPS, warm_manager, on_step=lambda s: [s.preview(0)])
    assert seen.image is not None
    assert (seen.image == make([trial], warm_manager)[trial.id]).all()


def test_the_callers_torch_is_left_alone(warm_manager: ModelManager) -> None:
    state = torch.random.get_rng_state()
    for _ in generate(MIXED, MAPS, warm_manager, batch_size=2):
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_scheduler_of_the_pipeline_is_put_back(warm_manager: ModelManager) -> None:
    before = warm_manager.pipeline("depth").scheduler
    make([make_trial(scheduler="euler")], warm_manager)
    assert warm_manager.pipeline("depth").scheduler is before


def test_what_cannot_be_made_is_said_before_anything_is_made(warm_manager: ModelManager) -> None:
    with pytest.raises(GenerationError, match="no depth map"):
        generate([make_trial(), make_trial(source_sha256="unknown")], MAPS, warm_manager)
    with pytest.raises(GenerationError, match="64 × 64 pixels, not 128 × 128"):
        generate([make_trial(size=128)], MAPS, warm_manager)
    with pytest.raises(ValueError, match="family paperdoll"):
        generate([make_trial(family="paperdoll")], MAPS, warm_manager)
    with pytest.raises(ValueError, match="batch_size"):
        generate([make_trial()], MAPS, warm_manager, batch_size=0)
    assert list(generate([], MAPS, warm_manager)) == []
