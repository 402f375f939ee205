"""The samplers a study may ask for, made from the configuration the base model came with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.samplers import FLOW_SAMPLERS, SAMPLER_NAMES, SAMPLERS


def make_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """A fresh diffusers scheduler; none of them adds noise while sampling.

    `config` is that of the base model's own scheduler: betas, prediction type, spacing of the
    steps. A flow-matching model has no betas, but a shift of its noise levels, which all samplers
    then follow. Schedulers keep state, so each call of a pipeline gets a new one. Raises ValueError
    for an unknown name, or one that is not defined for the model.
    """
    flow = "beta_start" not in config or config.get("prediction_type") == "flow_prediction"
    known = FLOW_SAMPLERS if flow else SAMPLER_NAMES
    if name not in known:
        kind = " for flow-matching models" if flow else ""
        raise ValueError(f'there is no scheduler "{name}"{kind}; there is: {", ".join(known)}')
    import diffusers

    sampler = SAMPLERS[name]
    if not flow:
        return getattr(diffusers, sampler.scheduler).from_config(config)
    shift = float(config.get("shift") or config.get("flow_shift") or 1.0)
    return getattr(diffusers, sampler.flow_scheduler)(
        num_train_timesteps=int(config.get("num_train_timesteps", 1000)),
        **{sampler.flow_shift: shift},
        **sampler.flow_arguments,
    )
