"""Protects: the sampler is the one asked for, and keeps what the base model was trained with."""

import inspect
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from workbench.generation.schedulers import make_scheduler
from workbench.samplers import SAMPLER_NAMES, SAMPLERS, sampler_name

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "real-models.md"
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
        make_scheduler("heun", CONFIG)


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
        more = own_noise(scheduler, [1])
        for step in scheduler.timesteps:
            scheduler.scale_model_input(sample, step)
            sample = scheduler.step(noise, step, sample, return_dict=False, **more)[0]
        ends.append(sample)
    assert torch.equal(made.timesteps, wanted.timesteps)
    if name != "ddim":  # whose last alpha the base model states
        assert torch.equal(ends[1], ends[0])
    assert ends[1].abs().max() > 1, "latents are not clipped"


def test_what_the_base_model_does_not_state_is_the_samplers_own() -> None:
    """A loaded scheduler's config tells the defaults of its class too, which were never chosen."""
    loaded = diffusers.PNDMScheduler.from_config(CONFIG).config
    assert loaded["timestep_spacing"] == "leading"
    assert make_scheduler("unipc", loaded).config.timestep_spacing == "linspace"


def own_noise(scheduler: Any, seeds: list[int]) -> dict[str, Any]:
    """The argument of a step that gives each sample a generator of its own, if it takes one."""
    if "generator" not in inspect.signature(scheduler.step).parameters:
        return {}
    return {"generator": [torch.Generator().manual_seed(seed) for seed in seeds]}


def solved(
    scheduler: Any, seeds: list[int], steps: int = 6, noise: int | None = None
) -> torch.Tensor:
    """What a loop over a scheduler comes to, one sample for each seed; the model is a formula."""
    scheduler.set_timesteps(steps)
    first = [torch.randn(4, 2, 2, generator=torch.Generator().manual_seed(99 + s)) for s in seeds]
    sample = torch.stack(first) * scheduler.init_noise_sigma
    more = own_noise(scheduler, [noise or seed for seed in seeds])
    for step in scheduler.timesteps:
        seen = torch.tanh(scheduler.scale_model_input(sample, step))
        sample = scheduler.step(seen, step, sample, return_dict=False, **more)[0]
    return sample


TRAINING = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "prediction_type": "epsilon",
}  # fmt: skip
PLAIN = {
    "euler a": diffusers.EulerAncestralDiscreteScheduler(**TRAINING),
    "dpm++": diffusers.DPMSolverMultistepScheduler(**TRAINING),
    "dpm++ 2m karras": diffusers.DPMSolverMultistepScheduler(**TRAINING, use_karras_sigmas=True),
    "dpm++ 2m sde": diffusers.DPMSolverMultistepScheduler(
        **TRAINING, algorithm_type="sde-dpmsolver++"
    ),
    "dpm++ 2m sde karras": diffusers.DPMSolverMultistepScheduler(
        **TRAINING, algorithm_type="sde-dpmsolver++", use_karras_sigmas=True
    ),
    "lms": diffusers.LMSDiscreteScheduler(**TRAINING),
    "lms karras": diffusers.LMSDiscreteScheduler(**TRAINING, use_karras_sigmas=True),
    "deis": diffusers.DEISMultistepScheduler(**TRAINING),
    "ddpm": diffusers.DDPMScheduler(**TRAINING, clip_sample=False),
}
"""As diffusers' documentation writes the samplers of other programs."""


@pytest.mark.parametrize("name", PLAIN)
def test_it_is_what_diffusers_makes_of_the_documented_flags(name: str) -> None:
    made = solved(make_scheduler(name, TRAINING), [1, 2])
    assert torch.isfinite(made).all()
    assert torch.equal(made, solved(PLAIN[name], [1, 2]))
    assert len({round(float(solved(one, [1]).sum()), 6) for one in PLAIN.values()}) == len(PLAIN)


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_a_sample_depends_on_its_own_noise_alone(name: str) -> None:
    alone = solved(make_scheduler(name, TRAINING), [2])
    together = solved(make_scheduler(name, TRAINING), [1, 2, 3])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_the_model_is_asked_once_a_step(name: str) -> None:
    """What counts steps, such as the window of a control, relies on it."""
    scheduler = make_scheduler(name, TRAINING)
    for steps in (1, 2, 9):
        scheduler.set_timesteps(steps)
        assert len(scheduler.timesteps) == steps


def test_the_guides_table_is_that_of_the_code() -> None:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    table = {row[0].strip("`"): row for row in cells if len(row) == 7}
    assert list(table) == list(SAMPLERS)
    for name, (_, webui, comfy, scheduler, flags, noise, flow) in table.items():
        sampler = SAMPLERS[name]
        told = ", ".join(
            f'`{key}="{value}"`' if isinstance(value, str) else f"`{key}={value}`"
            for key, value in sampler.flags.items()
        )
        assert (webui, scheduler, flags) == (sampler.webui, sampler.scheduler, told)
        assert sampler_name(comfy.replace(",", "")) == name
        assert (flow == "yes") == bool(sampler.flow_scheduler)
        ends = [solved(make_scheduler(name, TRAINING), [1], noise=seed) for seed in (1, 2)]
        assert (noise == "yes") == (not torch.equal(*ends))
