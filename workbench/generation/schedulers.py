"""The samplers a study may ask for, made from the configuration the base model came with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.families.spec import SCHEDULERS

_CLASSES = {
    "unipc": "UniPCMultistepScheduler",
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
}


def make_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """A fresh diffusers scheduler; none of them adds noise while sampling.

    `config` is that of the base model's own scheduler: betas, prediction type, spacing of the
    steps. Schedulers keep state, so each call of a pipeline gets a new one. Raises ValueError for
    an unknown name.
    """
    if name not in _CLASSES:
        raise ValueError(f'there is no scheduler "{name}"; there is: {", ".join(SCHEDULERS)}')
    import diffusers

    return getattr(diffusers, _CLASSES[name]).from_config(config)
