"""Text chunks of a sample's PNG: the trial as JSON, a study that makes it again, and the line that
other programs read."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from workbench.samplers import SAMPLERS
from workbench.study import Cell, Trial, single_study

WORKBENCH = "workbench"
STUDY = "workbench_study"
PARAMETERS = "parameters"
CHUNKS = (WORKBENCH, STUDY, PARAMETERS)


def png_text(
    trial: Trial,
    chunks: Collection[str] = CHUNKS,
    *,
    cell: Cell | None = None,
    made_by: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """The wanted text chunks by keyword; an empty `chunks` gives none.

    The study needs `cell`, one of the cells that the picture fills, and of `made_by` the dtype and
    the size of the batch; where they are not known it is left out. A picture that another program
    made gets the trial alone, as no study makes it again.
    """
    made = made_by or {}
    text = {}
    if WORKBENCH in chunks:
        text[WORKBENCH] = json.dumps(trial.to_dict(), sort_keys=True)
    if trial.picture:
        return text
    if STUDY in chunks and cell is not None and {"dtype", "batch_size"} <= made.keys():
        text[STUDY] = single_study(
            trial,
            cell,
            dtype=str(made["dtype"]),
            batch_size=int(made["batch_size"]),
            runtime=made.get("runtime"),
        )
    if PARAMETERS in chunks:
        text[PARAMETERS] = parameters(trial)
    return text


def parameters(trial: Trial) -> str:
    """Settings in the form that AUTOMATIC1111's web UI writes and many programs read."""
    lines = [trial.prompt]
    if trial.negative_prompt:
        lines.append(f"Negative prompt: {trial.negative_prompt}")
    known = SAMPLERS.get(trial.scheduler)
    settings = [
        f"Steps: {trial.steps}",
        f"Sampler: {known.webui if known else trial.scheduler}",
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
