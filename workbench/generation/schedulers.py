"""The samplers a study may ask for, made from the configuration the base model came with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from workbench.samplers import FLOW_SAMPLERS, SAMPLER_NAMES, SAMPLERS

KEPT = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
    "timestep_spacing",
    "steps_offset",
    "set_alpha_to_one",
)
"""What a sampler takes from the base model's own scheduler: how the model was trained, and where
its steps lie. How another solver solves (its algorithm, order, Karras sigmas) is not among it: a
DEIS scheduler's `algorithm_type: deis` makes a DPM-Solver refuse to begin."""


def make_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """A fresh diffusers scheduler. Those that add noise draw it from each picture's own generator.

    `config` is that of the base model's own scheduler, whatever its class, of which the fields
    `KEPT` are taken where they were stated, as diffusers' `from_config` does; latents are never
    clipped. A flow-matching model has no betas, but a shift of its noise levels, which all samplers
    then follow. Schedulers keep state, so each call of a pipeline gets a new one. Raises ValueError
    for an unknown name, or one that is not defined for the model.
    """
    flow = "beta_start" not in config or config.get("prediction_type") == "flow_prediction"
    known = FLOW_SAMPLERS if flow else SAMPLER_NAMES
    if name not in known:
        which = " for flow-matching models" if flow else ""
        raise ValueError(f'there is no scheduler "{name}"{which}; there is: {", ".join(known)}')
    import diffusers

    sampler = SAMPLERS[name]
    if not flow:
        kind = getattr(diffusers, sampler.scheduler)
        default = config.get("_use_default_values", ())  # of the base's class, not of this one
        stated = [field for field in KEPT if field not in default]
        kept = {field: config[field] for field in stated if config.get(field) is not None}
        accepted = inspect.signature(kind.__init__).parameters
        fields = {"clip_sample": False, **kept, **sampler.flags}
        return kind(**{field: value for field, value in fields.items() if field in accepted})
    shift = float(config.get("shift") or config.get("flow_shift") or 1.0)
    return getattr(diffusers, sampler.flow_scheduler)(
        num_train_timesteps=int(config.get("num_train_timesteps", 1000)),
        **{sampler.flow_shift: shift},
        **sampler.flow_arguments,
    )
