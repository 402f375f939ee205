"""The samplers a study may ask for, made from the configuration the base model came with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.families.architecture import FLOW_SCHEDULERS, SCHEDULERS

_CLASSES = {
    "unipc": "UniPCMultistepScheduler",
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
}


def make_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """A fresh diffusers scheduler; none of them adds noise while sampling.

    `config` is that of the base model's own scheduler: betas, prediction type, spacing of the
    steps. A flow-matching model has no betas, but a shift of its noise levels, which all samplers
    then follow. Schedulers keep state, so each call of a pipeline gets a new one. Raises ValueError
    for an unknown name, or one that is not defined for the model.
    """
    flow = "beta_start" not in config or config.get("prediction_type") == "flow_prediction"
    known = FLOW_SCHEDULERS if flow else SCHEDULERS
    if name not in known:
        kind = " for flow-matching models" if flow else ""
        raise ValueError(f'there is no scheduler "{name}"{kind}; there is: {", ".join(known)}')
    import diffusers

    if not flow:
        return getattr(diffusers, _CLASSES[name]).from_config(config)
    steps = int(config.get("num_train_timesteps", 1000))
    shift = float(config.get("shift") or config.get("flow_shift") or 1.0)
    if name == "euler":
        return diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=steps, shift=shift)
    return getattr(diffusers, _CLASSES[name])(
        num_train_timesteps=steps,
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=shift,
    )
