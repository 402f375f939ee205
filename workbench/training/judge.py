"""Training of the embedded judge on the renderer's ground truth."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.families.judge import Judge, load_judge, save_judge
from workbench.training.context import TrainingContext
from workbench.training.data import WorldData
from workbench.training.export import load_vae
from workbench.training.loop import Recipe, StepDraws
from workbench.training.vae import reconstruct, to_signal

RECIPE = Recipe(steps=700, rate=3e-3, warm_up=100, decay=0.01, average=0.995, seed=31)
SCENES = 9_000
RECONSTRUCTED = 3_000
"""How many of the scenes are also shown as the autoencoder gives them back."""

_BATCH = 16
_HEAT = 32
_HEAT_SPREAD = 1.2


def train_judge(context: TrainingContext) -> bool:
    """Train all heads at once on every drawing style; some pictures are reconstructions."""
    torch.manual_seed(RECIPE.seed)
    data = context.data()
    blurred = reconstruct(load_vae(context.models_dir).eval(), data.rgb[:RECONSTRUCTED])
    judge = load_judge(context.models_dir / "judge") if context.goes_on("judge") else Judge()
    judge.train().requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    result = context.fit("judge", judge, lambda d: judge_loss(judge, data, blurred, d), RECIPE)
    save_judge(result.module, context.models_dir / "judge")  # type: ignore[arg-type]
    return result.finished


def judge_loss(
    judge: Judge, data: WorldData, blurred: np.ndarray, draws: StepDraws
) -> Mapping[str, Tensor]:
    """A loss a head on a batch of disturbed pictures (original or reconstructed)."""
    rng = draws.numpy
    rows = rng.integers(0, min(SCENES, len(data)), _BATCH)
    pictures = data.mixed_pictures(rows, rng)
    again = rng.integers(0, len(blurred), _BATCH)
    swap = rng.random(_BATCH) < 0.33
    rows, pictures[swap] = np.where(swap, again, rows), blurred[again[swap]]
    out = judge(to_signal(disturb(pictures, rng)))
    depth = torch.from_numpy(data.depth[rows].astype(np.float32))[:, None]
    normal = torch.from_numpy(data.normal[rows].astype(np.float32) / 127).permute(0, 3, 1, 2)
    labels = torch.from_numpy(data.segmentation[rows].astype(np.int64))
    edges = torch.from_numpy(np.stack([soft_edges(data, r) for r in rows]))[:, None]
    heat = torch.from_numpy(np.stack([_heat_maps(data.skeleton[r]) for r in rows]))
    return {
        "depth": 4 * (out["depth"] - depth).abs().mean(),
        "normal": (1 - (out["normal"] * normal).sum(1)).mean(),
        "segmentation": 0.5 * F.cross_entropy(out["segmentation"].float(), labels),
        "edges": F.binary_cross_entropy_with_logits(out["edges"].float(), edges),
        "pose": 20 * F.binary_cross_entropy_with_logits(out["pose"].float(), heat),
    }


def disturb(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, noise and light that a judge must look through; labels stay true."""
    out = np.empty_like(rgb)
    for i, picture in enumerate(rgb):
        x = picture
        if rng.random() < 0.3:
            x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.4))
        f = x.astype(np.float32) * rng.uniform(0.85, 1.15) + rng.uniform(-15, 15, 3)
        if rng.random() < 0.3:
            f += rng.normal(0, rng.uniform(2, 12), f.shape)
        out[i] = np.clip(f, 0, 255)
    return out


def soft_edges(data: WorldData, row: int) -> np.ndarray:
    """Outlines as people draw them, float32 (128, 128) in [0, 1].

    Borders between classes count in full, creases of the surface within a class by half; a
    slight blur makes them soft, as HED's are.
    """
    label, normal = data.segmentation[row], data.normal[row].astype(np.float32) / 127
    hard = np.zeros(label.shape, np.float32)
    crease = np.zeros(label.shape, np.float32)
    for axis in (0, 1):
        first = [slice(None), slice(None)]
        first[axis] = slice(0, -1)
        hard[tuple(first)] += np.diff(label.astype(np.int16), axis=axis) != 0
        bend = np.abs(np.diff(normal, axis=axis)).sum(-1)
        crease[tuple(first)] += bend > 0.7
    edges = np.maximum(np.minimum(hard, 1.0), 0.5 * np.minimum(crease, 1.0))
    return np.minimum(cv2.GaussianBlur(edges, (0, 0), 0.8) * 1.6, 1.0).astype(np.float32)


def _heat_maps(skeleton: np.ndarray) -> np.ndarray:
    axis = np.arange(_HEAT, dtype=np.float32) + 0.5
    scale = _HEAT / 128
    dx = (axis[None, :] - skeleton[:, 0:1] * scale) ** 2
    dy = (axis[None, :] - skeleton[:, 1:2] * scale) ** 2
    heat = np.exp(-(dy[:, :, None] + dx[:, None, :]) / (2 * _HEAT_SPREAD**2))
    return np.asarray(heat * skeleton[:, 2, None, None], np.float32)
