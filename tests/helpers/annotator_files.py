"""Weight files of the annotators in their published layout, with seeded random weights.

The classes are the real ones in their real size; only the numbers mean nothing.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from workbench.families import Family
from workbench.families.annotators.onemodule import aux_module
from workbench.families.loaders import LOADERS
from workbench.families.manager import ModelManager

FOLDER = "annotators"


def _anime() -> nn.Module:
    norm = partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
    made: nn.Module = aux_module("lineart_anime").UnetGenerator(3, 1, 8, 64, norm_layer=norm)
    return made


def _bae() -> nn.Module:
    values = SimpleNamespace(architecture="BN", sampling_ratio=0.4, importance_ratio=0.7)
    made: nn.Module = aux_module("normalbae.nets.NNET").NNET(values)
    return made


def _dpt() -> nn.Module:
    made: nn.Module = aux_module("midas.midas.dpt_depth").DPTDepthModel(backbone="vitb_rn50_384")
    return made


CLASSES: dict[str, Callable[[], nn.Module]] = {
    "hed": lambda: aux_module("hed").ControlNetHED_Apache2(),
    "pidinet": lambda: aux_module("pidi.model").pidinet(),
    "midas": _dpt,
    "normalbae": _bae,
    "openpose": lambda: aux_module("open_pose.model").bodypose_model(),
    "mlsd": lambda: aux_module("mlsd.models.mbv2_mlsd_large").MobileV2_MLSD_Large(),
    "lineart": lambda: aux_module("lineart").Generator(3, 1, 3),
    "lineart-anime": _anime,
}


def random_state(loader: str, seed: int = 0) -> dict[str, Tensor]:
    """Half-precision weights of one annotator, spread so that values neither vanish nor explode."""
    with torch.device("meta"), contextlib.redirect_stdout(io.StringIO()):
        shapes = CLASSES[loader]().state_dict()
    pool = torch.randn(1_000_003, generator=torch.Generator().manual_seed(seed)).half()
    state, start = {}, 0
    for name, like in shapes.items():
        if not like.is_floating_point():
            state[name] = torch.zeros(like.shape, dtype=like.dtype)
        elif name.endswith("running_var"):
            state[name] = torch.ones(like.shape)
        else:
            fan = max(like[0].numel(), 1) if like.ndim > 1 else 4.0
            count = like.numel()
            # Long weights repeat themselves: drawing a hundred million numbers takes too long.
            drawn = pool[torch.arange(start, start + count) % len(pool)]
            state[name] = drawn.view(like.shape) / fan**0.5
            start += count
    return state


def published(loader: str, state: Mapping[str, Tensor]) -> Any:
    """The weights as they stand in the published file."""
    wrapped = {f"module.{name}": value for name, value in state.items()}
    if loader == "pidinet":
        return {"state_dict": wrapped}
    if loader == "normalbae":
        return {"model": wrapped}
    if loader == "lineart-anime":
        return wrapped
    if loader == "openpose":  # "model0.conv1_1.weight" is "conv1_1.weight" there
        return {name.partition(".")[2]: value for name, value in state.items()}
    return dict(state)


def write_annotator(loader: str, models: Path, seed: int = 0) -> None:
    """Write the file of one annotator below a models folder."""
    folder = models / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(published(loader, random_state(loader, seed)), folder / LOADERS[loader].files[0])


def family_with(networks: Mapping[str, Any]) -> Family:
    """A family whose catalogue entry has these networks."""
    return Family.model_validate(
        {
            "name": "photos",
            "label": "Photographs",
            "resolution": 64,
            "licence": "none",
            "base": {"one": {"path": "base"}},
            "clip": {"path": "clip"},
            "networks": networks,
        }
    )


def annotator(loader: str, models: Path, side: int = 64) -> Callable[[Any], Any]:
    """The network of one annotator, loaded through a catalogue entry."""
    name = LOADERS[loader].gives[0]
    entry = {"loader": loader, "path": FOLDER, "side": side}
    return ModelManager(family_with({name: entry}), models_dir=models).network(name)
