"""The auditor: a classifier of tags, trained apart from everything it audits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.paperdoll import TAG_GROUPS
from workbench.training.context import TrainingContext
from workbench.training.data import WorldData, world_data
from workbench.training.export import load_vae
from workbench.training.judge import disturb
from workbench.training.loop import Recipe, StepDraws
from workbench.training.vae import reconstruct, to_signal

RECIPE = Recipe(steps=800, rate=2e-3, warm_up=100, decay=0.05, average=0.99, seed=41)
SEEDS = range(500_000, 505_000)
"""Scenes of its own, which no other stage sees."""

_BATCH = 48


class Auditor(nn.Module):
    """Six convolutions and a linear head a tag group."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width = width
        layers: list[nn.Module] = []
        before = 3
        for after, stride in ((1, 2), (2, 2), (3, 1), (4, 2), (6, 2), (8, 2)):
            layers += [
                nn.Conv2d(before, after * width // 2, 3, stride, 1),
                nn.GroupNorm(8, after * width // 2),
                nn.SiLU(),
            ]
            before = after * width // 2
        self.body = nn.Sequential(*layers)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(2 * before, len(tags)) for name, tags in TAG_GROUPS.items()}
        )

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Pictures (N, 3, 128, 128) in [-1, 1] -> group -> scores (N, tags)."""
        x = self.body(pixels)
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return {name: head(pooled) for name, head in self.heads.items()}

    @torch.inference_mode()
    def read(self, rgb: np.ndarray, batch: int = 64) -> np.ndarray:
        """Index of the tag seen in each group: uint8 pictures (N, ...) -> int (N, 8)."""
        parts = []
        for start in range(0, len(rgb), batch):
            scores = self(to_signal(rgb[start : start + batch]))
            parts.append(torch.stack([scores[g].argmax(1) for g in TAG_GROUPS], 1).numpy())
        return np.concatenate(parts)


def train_auditor(context: TrainingContext) -> bool:
    """Train on scenes of its own in every style, some pushed once through the autoencoder."""
    torch.manual_seed(RECIPE.seed)
    data = world_data(context.work_dir / "auditor-world", SEEDS[: context.scenes])
    blurred = reconstruct(load_vae(context.models_dir).eval(), data.rgb[: len(data) // 2])
    auditor = (
        load_auditor(context.models_dir / "auditor") if context.goes_on("auditor") else Auditor()
    )
    auditor.train().requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    result = context.fit("auditor", auditor, lambda d: _loss(auditor, data, blurred, d), RECIPE)
    save_auditor(result.module, context.models_dir / "auditor")
    return result.finished


def save_auditor(auditor: nn.Module, folder: Path) -> None:
    """Write half-precision ``model.safetensors``."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.half().contiguous() for k, v in auditor.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")


def load_auditor(folder: Path) -> Auditor:
    """Read the auditor in float32."""
    from safetensors.torch import load_file

    auditor = Auditor()
    tensors = load_file(folder / "model.safetensors")
    auditor.load_state_dict({k: v.float() for k, v in tensors.items()})
    return auditor.eval().requires_grad_(False)


def _loss(
    auditor: Auditor, data: WorldData, blurred: np.ndarray, draws: StepDraws
) -> Mapping[str, Tensor]:
    rng = draws.numpy
    rows = rng.integers(0, len(data), _BATCH)
    pictures = data.mixed_pictures(rows, rng)
    known = (rows < len(blurred)) & (rng.random(_BATCH) < 0.5)
    pictures[known] = blurred[rows[known]]
    if rng.random() < 0.5:
        pictures = pictures[:, :, ::-1]
    scores = auditor(to_signal(disturb(pictures, rng)))
    truth = torch.from_numpy(data.tags[rows].astype(np.int64))
    return {
        name: F.cross_entropy(scores[name].float(), truth[:, g]) / len(TAG_GROUPS)
        for g, name in enumerate(TAG_GROUPS)
    }
