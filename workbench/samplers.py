"""The samplers a study may ask for: their names here, in diffusers and in the text of PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SamplerName = Literal["unipc", "ddim", "euler", "dpm++"]


@dataclass(frozen=True)
class Sampler:
    """One sampler.

    scheduler: the diffusers class for models that predict noise or v.
    webui: the name that AUTOMATIC1111's web UI and other programs know.
    flow_scheduler: the diffusers class for flow matching; "" where the sampler is not defined.
    flow_shift: that class's argument for the shift of the noise levels.
    flow_arguments: what that class is told beside it.
    """

    scheduler: str
    webui: str
    flow_scheduler: str = ""
    flow_shift: str = "flow_shift"
    flow_arguments: Mapping[str, Any] = field(
        default_factory=lambda: {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    )


SAMPLERS: dict[str, Sampler] = {
    "unipc": Sampler("UniPCMultistepScheduler", "UniPC", "UniPCMultistepScheduler"),
    "ddim": Sampler("DDIMScheduler", "DDIM"),
    "euler": Sampler(
        "EulerDiscreteScheduler",
        "Euler",
        "FlowMatchEulerDiscreteScheduler",
        flow_shift="shift",
        flow_arguments={},
    ),
    "dpm++": Sampler("DPMSolverMultistepScheduler", "DPM++ 2M", "DPMSolverMultistepScheduler"),
}
SAMPLER_NAMES: tuple[str, ...] = tuple(SAMPLERS)
FLOW_SAMPLERS: tuple[str, ...] = tuple(n for n, s in SAMPLERS.items() if s.flow_scheduler)
"""Those of them which are defined for flow matching."""
