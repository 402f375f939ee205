"""Training of the embedded judge of words on scenes and hybrids, and its calibration."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.families.tagjudge import TagJudge, load_tag_judge, save_tag_judge
from workbench.paperdoll import STYLES, TAG_GROUPS
from workbench.training.context import TrainingContext
from workbench.training.export import load_vae
from workbench.training.hybrids import Hybrids, make_hybrids
from workbench.training.judge import disturb
from workbench.training.loop import Recipe, StepDraws
from workbench.training.vae import reconstruct, to_signal

RECIPE = Recipe(steps=1600, rate=2e-3, warm_up=100, decay=0.05, average=0.995, seed=51)
SEEDS = range(520_000, 526_000)
"""Scenes of its own, which no other stage sees."""
HELD_SEEDS = range(530_000, 530_600)
"""Scenes on which its probabilities are calibrated."""
_BATCH = 32
_HIDDEN = 0.15
"""How often something hides a part of a training picture."""


def train_words(context: TrainingContext) -> bool:
    """Train on hybrids of both styles, half of them pushed once through the autoencoders."""
    torch.manual_seed(RECIPE.seed)
    data = make_hybrids(SEEDS[: context.scenes])
    blurred = _reconstructed(context, data)
    judge = load_tag_judge(context.models_dir / "words") if context.goes_on("words") else TagJudge()
    judge.train().requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    result = context.fit("words", judge, lambda d: _loss(judge, data, blurred, d), RECIPE)
    trained: TagJudge = result.module.eval()  # type: ignore[assignment]
    held = make_hybrids(HELD_SEEDS[: context.scenes])
    trained.temperatures = calibrate(trained, _reconstructed(context, held), held.seen)
    save_tag_judge(trained, context.models_dir / "words")
    return result.finished


def calibrate(judge: TagJudge, rgb: np.ndarray, seen: np.ndarray) -> tuple[float, ...]:
    """A temperature for each group, at which its probabilities fit what is seen best.

    C. Guo et al., "On calibration of modern neural networks", ICML 2017; found on a grid.

    Args:
        rgb: uint8 (N, 128, 128, 3). seen: as `Hybrids.seen`.
    """
    grid = np.geomspace(0.25, 8.0, 61)
    with torch.inference_mode():
        rows = [judge(to_signal(rgb[i : i + 64])) for i in range(0, len(rgb), 64)]
    found = []
    for group, wanted in _by_group(torch.from_numpy(seen)).items():
        scores = torch.cat([row[group] for row in rows])
        losses = [float(F.cross_entropy(scores / warm, wanted)) for warm in grid]
        found.append(round(float(grid[int(np.argmin(losses))]), 3))
    return tuple(found)


def _loss(
    judge: TagJudge, data: Hybrids, blurred: np.ndarray, draws: StepDraws
) -> Mapping[str, Tensor]:
    rng = draws.numpy
    rows = rng.integers(0, len(data), _BATCH)
    pictures = np.where((rng.random(_BATCH) < 0.5)[:, None, None, None], data.rgb[rows],
                        blurred[rows])  # fmt: skip
    for picture in pictures[rng.random(_BATCH) < _HIDDEN]:
        _hide(picture, rng)
    scores = judge(to_signal(disturb(pictures, rng)))
    wanted = _by_group(torch.from_numpy(data.seen[rows]))
    return {
        name: F.cross_entropy(scores[name].float(), wanted[name]) / len(TAG_GROUPS)
        for name in TAG_GROUPS
    }


def _by_group(seen: Tensor) -> dict[str, Tensor]:
    parts = seen.split([len(tags) for tags in TAG_GROUPS.values()], dim=1)
    return dict(zip(TAG_GROUPS, parts, strict=True))


def _hide(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Cover a small rectangle, in place, with the colour of another pixel."""
    side = picture.shape[0]
    height, width = rng.integers(4, side // 5, 2)
    top, left = rng.integers(0, side - height), rng.integers(0, side - width)
    picture[top : top + height, left : left + width] = picture[tuple(rng.integers(0, side, 2))]


def _reconstructed(context: TrainingContext, data: Hybrids) -> np.ndarray:
    """Every picture as the autoencoder of one of the base checkpoints gives it back."""
    out = np.empty_like(data.rgb)
    for place, style in enumerate(STYLES):
        rows = slice(place, None, len(STYLES))
        out[rows] = reconstruct(load_vae(context.models_dir, style).eval(), data.rgb[rows])
    return out
