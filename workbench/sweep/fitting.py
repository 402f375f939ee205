"""Whether the models of a plan fit into the memory of a device, told before they are loaded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from workbench.families.memory import free_memory, memory_need, weights_need
from workbench.study import Plan, Study
from workbench.sweep.require import controlnets_of

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager

log = logging.getLogger(__name__)
GB = 1e9


def check_fit(study: Study, plan: Plan, manager: ModelManager) -> None:
    """Compare what a plan loads with what is free where a manager, still empty, will load it.

    A need that only comes near is a warning: estimates of the work are rough, and batches get
    smaller where memory is short. So is half precision on a CPU, which is slower there.

    Raises:
        GenerationError: the weights alone do not fit. It names the ways out.
    """
    from workbench.generation.recovery import GenerationError
    from workbench.measuring.bases import networks_read

    family, device, dtype = manager.family, manager.device, manager.dtype
    if device == "cpu" and dtype != "float32":
        log.warning("%s is slower than float32 on a CPU: dtype: float32 is faster there", dtype)
    controlnets = controlnets_of(plan, family)
    parts = {
        "bases": study.base,
        "controlnets": controlnets,
        "networks": networks_read(plan, manager),
    }
    weights = weights_need(family, dtype, manager.models_dir, **parts)
    held = {device: 0}
    if weights is not None:
        # What waits in main memory between two uses is not on the device, but is still somewhere.
        held = {device: weights.judges}
        home = manager.runtime.home(device)
        held[home] = held.get(home, 0) + weights.makers
    what = (
        f"{_count(len(study.base), 'base model')}, {_count(len(controlnets), 'ControlNet')} and "
        f"the judges in {dtype}"
    )
    for place, need in held.items():
        free = free_memory(place)
        if free is not None and need > free:
            raise GenerationError(
                f"the weights of this study ({what}) take {need / GB:.1f} GB, and only "
                f"{free / GB:.1f} GB are free on {place}: {_ways_out(study, manager, place)}"
            )
    whole = memory_need(family, dtype, weights)
    free = free_memory(device)
    if whole is None or free is None or manager.runtime.offload != "none" or whole <= free:
        return
    log.warning(
        "memory may be short: about %.1f GB are needed for %s, and %.1f GB are free on %s; if it "
        "fails: %s",
        whole / GB,
        what,
        free / GB,
        device,
        _ways_out(study, manager, device),
    )


def _ways_out(study: Study, manager: ModelManager, place: str) -> str:
    ways = ["close other programs"]
    if place != "cpu" and manager.runtime.offload == "none":
        ways.append("set runtime.offload: model")
    if manager.dtype == "float32":
        ways.append("set dtype: float16")
    ways.append("choose another device")
    if len(study.base) > 1 or len(study.controls) > 1:
        ways.append("split the study into smaller ones with fewer base models and controls")
    return ", ".join(ways[:-1]) + " or " + ways[-1]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
