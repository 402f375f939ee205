"""Training state on disk, as safetensors: weights, optimiser moments, running averages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from workbench.atomic import write_atomic


def save_checkpoint(
    path: Path,
    step: int,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: nn.Module | None,
    notes: Mapping[str, object],
) -> None:
    """Write everything a stage needs to go on; the file is there whole or not at all.

    ``notes`` must be JSON-able (loss history, settings).
    """
    tensors = {f"model.{k}": v.contiguous() for k, v in module.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{k}": v.contiguous() for k, v in average.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"optimiser.{index}.{key}"] = torch.as_tensor(value).contiguous()
    metadata = {"step": str(step), "notes": json.dumps(dict(notes))}
    write_atomic(path, save(tensors, metadata=metadata))


def load_checkpoint(
    path: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: nn.Module | None,
) -> tuple[int, dict[str, object]]:
    """Put a stored state back; returns the step it was taken at and its notes."""
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimiser": {}}
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
            group, key = name.split(".", 1)
            groups[group][key] = file.get_tensor(name)
    module.load_state_dict(groups["model"])
    if average is not None:
        average.load_state_dict(groups["average"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in groups["optimiser"].items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    whole = optimiser.state_dict()
    optimiser.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
    _lay_out_as_weights(optimiser)
    return int(metadata["step"]), json.loads(metadata["notes"])


def _lay_out_as_weights(optimiser: torch.optim.Optimizer) -> None:
    """Moments in the memory order of their weights: fused kernels walk both as they lie."""
    for weight, state in optimiser.state.items():
        for key, value in state.items():
            if value.shape == weight.shape and value.stride() != weight.stride():
                state[key] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
