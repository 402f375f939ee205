"""Text chunks of a sample's PNG: the trial as JSON, and the line other programs read."""

from __future__ import annotations

import json
from collections.abc import Collection

from workbench.study import Trial

WORKBENCH = "workbench"
PARAMETERS = "parameters"
CHUNKS = (WORKBENCH, PARAMETERS)

_SAMPLERS = {"unipc": "UniPC", "ddim": "DDIM", "euler": "Euler", "dpm++": "DPM++ 2M"}


def png_text(trial: Trial, chunks: Collection[str] = CHUNKS) -> dict[str, str]:
    """The wanted text chunks by keyword; an empty `chunks` gives none."""
    text = {}
    if WORKBENCH in chunks:
        text[WORKBENCH] = json.dumps(trial.to_dict(), sort_keys=True)
    if PARAMETERS in chunks:
        text[PARAMETERS] = parameters(trial)
    return text


def parameters(trial: Trial) -> str:
    """Settings in the form that AUTOMATIC1111's web UI writes and many programs read."""
    lines = [trial.prompt]
    if trial.negative_prompt:
        lines.append(f"Negative prompt: {trial.negative_prompt}")
    settings = [
        f"Steps: {trial.steps}",
        f"Sampler: {_SAMPLERS.get(trial.scheduler, trial.scheduler)}",
        f"CFG scale: {trial.guidance_scale:g}",
        f"Seed: {trial.seed}",
        f"Size: {trial.size}x{trial.size}",
        f"Model: {trial.family}-{trial.base}",
    ]
    settings += [
        f'ControlNet {place}: "Module: {use.control}, Model: {trial.family}-{use.control}, '
        f"Weight: {use.scale:g}, Guidance Start: {trial.control_start:g}, "
        f'Guidance End: {trial.control_end:g}"'
        for place, use in enumerate(trial.controls)
    ]
    lines.append(", ".join(settings))
    return "\n".join(lines)
