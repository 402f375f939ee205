"""Protects: the sampler is the one asked for, and keeps what the base model was trained with."""

import pytest

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
