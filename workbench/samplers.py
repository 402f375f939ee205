"""The samplers a study may ask for: their names here, in other programs, and in diffusers.

The names of AUTOMATIC1111's web UI and ComfyUI follow the table of diffusers' own documentation
("Schedulers: overview"). Each sampler here asks the model once a step. So Heun, DPM2 and PLMS are
not among them, which ask it more often, and neither is DPM++ SDE, whose noise diffusers draws for
a whole batch: a picture would depend on its companions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SamplerName = Literal[
    "unipc",
    "ddim",
    "euler",
    "dpm++",
    "euler a",
    "dpm++ 2m karras",
    "dpm++ 2m sde",
    "dpm++ 2m sde karras",
    "lms",
    "lms karras",
    "deis",
    "ddpm",
]


@dataclass(frozen=True)
class Sampler:
    """One sampler.

    scheduler: the diffusers class for models that predict noise or v.
    webui: the name that AUTOMATIC1111's web UI and other programs know.
    flags: what the class is told beside how the model was trained.
    also: further names that people write, ComfyUI's among them.
    flow_scheduler: the diffusers class for flow matching; "" where the sampler is not defined.
    flow_shift: that class's argument for the shift of the noise levels.
    flow_arguments: what that class is told beside it.
    """

    scheduler: str
    webui: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    flow_scheduler: str = ""
    flow_shift: str = "flow_shift"
    flow_arguments: Mapping[str, Any] = field(
        default_factory=lambda: {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    )


_DPM = "DPMSolverMultistepScheduler"
_KARRAS = {"use_karras_sigmas": True}
_SDE = {"algorithm_type": "sde-dpmsolver++"}

SAMPLERS: dict[str, Sampler] = {
    "unipc": Sampler(
        "UniPCMultistepScheduler",
        "UniPC",
        also=("uni_pc", "uni_pc_bh2"),
        flow_scheduler="UniPCMultistepScheduler",
    ),
    "ddim": Sampler("DDIMScheduler", "DDIM"),
    "euler": Sampler(
        "EulerDiscreteScheduler",
        "Euler",
        flow_scheduler="FlowMatchEulerDiscreteScheduler",
        flow_shift="shift",
        flow_arguments={},
    ),
    "dpm++": Sampler(_DPM, "DPM++ 2M", also=("dpmpp_2m",), flow_scheduler=_DPM),
    "euler a": Sampler(
        "EulerAncestralDiscreteScheduler", "Euler a", also=("euler_ancestral", "Euler Ancestral")
    ),
    "dpm++ 2m karras": Sampler(_DPM, "DPM++ 2M Karras", _KARRAS, also=("dpmpp_2m karras",)),
    "dpm++ 2m sde": Sampler(_DPM, "DPM++ 2M SDE", _SDE, also=("dpmpp_2m_sde",)),
    "dpm++ 2m sde karras": Sampler(
        _DPM, "DPM++ 2M SDE Karras", {**_SDE, **_KARRAS}, also=("dpmpp_2m_sde karras",)
    ),
    "lms": Sampler("LMSDiscreteScheduler", "LMS"),
    "lms karras": Sampler("LMSDiscreteScheduler", "LMS Karras", _KARRAS),
    "deis": Sampler("DEISMultistepScheduler", "DEIS"),
    "ddpm": Sampler("DDPMScheduler", "DDPM"),
}
SAMPLER_NAMES: tuple[str, ...] = tuple(SAMPLERS)
FLOW_SAMPLERS: tuple[str, ...] = tuple(n for n, s in SAMPLERS.items() if s.flow_scheduler)
"""Those of them which are defined for flow matching."""


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.casefold())


_CALLED = {
    _plain(known): name
    for name, sampler in SAMPLERS.items()
    for known in (name, sampler.webui, *sampler.also)
}


def sampler_name(written: Any) -> Any:
    """The name of the sampler that is meant, whatever program calls it so; else what was written.

    Capitals, spaces, hyphens and underscores make no difference.

    >>> sampler_name("DPM++ 2M Karras"), sampler_name("euler_ancestral"), sampler_name("Heun")
    ('dpm++ 2m karras', 'euler a', 'Heun')
    """
    return _CALLED.get(_plain(written), written) if isinstance(written, str) else written
