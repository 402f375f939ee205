"""What a ControlNet adds to its locked network, block by block; and weights for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.lessons.network import Stage, encoder_stages, watched
from workbench.lessons.pictures import Request, models, picture

ORIGINAL, DIFFUSERS, ARTICLE = "original", "diffusers", "article"


@dataclass(frozen=True, eq=False)
class Residual:
    """What one block of a ControlNet adds in one denoising step, of the prediction with the prompt.

    block: the encoder block whose skip connection it is added to, or "middle".
    shape: channels, height, width. strength: its Euclidean norm divided by that of what it is added
        to, scale included. map: where it adds how much, root mean square over the channels, H×W.
    """

    block: str
    shape: tuple[int, ...]
    strength: float
    map: np.ndarray


def residuals(request: Request) -> list[list[Residual]]:
    """Make a picture with the embedded model and note what its ControlNet adds.

    Returns one list for each step, in it one residual for each block, the middle last.
    """
    unet, net = models().pipeline(None).unet, models().controlnet(request.control)
    stages = [*encoder_stages(unet), Stage("middle", "middle", (unet.mid_block,))]
    seen: dict[int, Tensor] = {}
    added: list[Tensor] = []
    found: list[list[Residual]] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        added[:] = [*output[0], output[1]]

    def note(_: Any, __: Any, ___: Any) -> None:
        triples = zip(stages, added, [seen[n] for n in range(len(stages))], strict=True)
        found.append([_residual(stage.name, r[-1], skip[-1]) for stage, r, skip in triples])

    hooks = [net.register_forward_hook(keep), unet.register_forward_hook(note)]
    try:
        with watched(stages, seen):
            picture(request, net)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _residual(block: str, added: Tensor, skip: Tensor) -> Residual:
    strength = float(torch.linalg.vector_norm(added) / torch.linalg.vector_norm(skip))
    where = added.square().mean(0).sqrt()
    return Residual(block, tuple(added.shape), strength, where.numpy())


def guess_weights(kind: str, sides: Sequence[int]) -> list[float]:
    """Weights for the residuals of a ControlNet, of the kind that a "guess mode" uses.

    kind: "original": 0.825^(12 − i), i = 0 … 12, of the authors' program and of "soft" modes in the
        web UI. "diffusers": evenly spaced logarithms from 0.1 to 1, of its `guess_mode`. "article":
        w = 64 / h of section 3.4, where h is the side of the block and 64 that of the latent.
    sides: of the residuals, the middle last. Where there are not 13 the first two keep their ends:
        0.825^12 and 0.1 for the first, 1 for the last.

    Raises ValueError for another kind.
    """
    count = len(sides)
    if kind == ORIGINAL:
        return [float(0.825 ** (12 * (1 - place / (count - 1)))) for place in range(count)]
    if kind == DIFFUSERS:
        return [float(weight) for weight in np.logspace(-1, 0, count)]
    if kind == ARTICLE:
        return [max(sides) / side for side in sides]
    raise ValueError(
        f'there are no weights called "{kind}"; there are: {ORIGINAL}, {DIFFUSERS}, {ARTICLE}'
    )
