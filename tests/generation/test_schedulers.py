"""Protects: the sampler is the one asked for, and keeps what the base model was trained with."""

import pytest
import torch

from workbench.generation.schedulers import make_scheduler
from workbench.samplers import SAMPLER_NAMES

CONFIG = {
    "num_train_timesteps": 1000,
    "beta_start": 0.001,
    "beta_end": 0.02,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "steps_offset": 1,
}


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_training_settings_are_kept(name: str) -> None:
    scheduler = make_scheduler(name, CONFIG)
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.config.beta_end == 0.02
    scheduler.set_timesteps(7)
    assert len(scheduler.timesteps) == 7


def test_each_call_gets_a_scheduler_of_its_own() -> None:
    assert make_scheduler("unipc", CONFIG) is not make_scheduler("unipc", CONFIG)


def test_an_unknown_name_is_told_what_exists() -> None:
    with pytest.raises(ValueError, match="unipc"):
        make_scheduler("euler_a", CONFIG)


# A DEIS scheduler, as base models like DreamShaper 8 bring one.
DEIS = {
    "_class_name": "DEISMultistepScheduler",
    "algorithm_type": "deis",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "dynamic_thresholding_ratio": 0.995,
    "lower_order_final": True,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "solver_order": 2,
    "solver_type": "logrho",
    "steps_offset": 1,
    "thresholding": False,
    "timestep_spacing": "leading",
    "trained_betas": None,
}


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_another_solver_of_the_base_model_decides_nothing_but_its_training(name: str) -> None:
    """Each sampler is the one that diffusers makes of the training's fields alone."""
    fields = ("beta_end", "beta_schedule", "beta_start", "prediction_type", "steps_offset")
    plain = {field: DEIS[field] for field in (*fields, "timestep_spacing")}
    solver = {"use_karras_sigmas": True, "solver_order": 3, "thresholding": True}
    wanted = make_scheduler(name, plain)
    made = make_scheduler(name, DEIS | solver)
    ends = []
    for scheduler in (wanted, made):
        scheduler.set_timesteps(5)
        sample, noise = torch.full((1, 4, 2, 2), 3.0), torch.ones(1, 4, 2, 2)
        for step in scheduler.timesteps:
            sample = scheduler.step(noise, step, sample, return_dict=False)[0]
        ends.append(sample)
    assert torch.equal(made.timesteps, wanted.timesteps)
    if name != "ddim":  # whose last alpha the base model states
        assert torch.equal(ends[1], ends[0])
    assert ends[1].abs().max() > 1, "latents are not clipped"


def test_what_the_base_model_does_not_state_is_the_samplers_own() -> None:
    """A loaded scheduler's config tells the defaults of its class too, which were never chosen."""
    import diffusers

    loaded = diffusers.PNDMScheduler.from_config(CONFIG).config
    assert loaded["timestep_spacing"] == "leading"
    assert make_scheduler("unipc", loaded).config.timestep_spacing == "linspace"
