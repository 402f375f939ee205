"""The embedded judge: one small network that reads structure from any picture.

It was trained on the Paperdoll world's ground truth and gives depth, normals, segmentation,
soft edges and joints, each as plain NumPy arrays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.families.annotators.weights import Weights
from workbench.families.catalogue import FamilyError
from workbench.families.loaders import Network
from workbench.families.quiet import told_plainly

CLASSES = 16
JOINT_COUNT = 18
HEADS: tuple[str, ...] = ("depth", "edges", "normal", "segmentation", "pose")
SIDE = 128
_HEAT_SCALE = 4
_BATCH = 32


class Judge(nn.Module):
    """A U-shaped network with five heads, for pictures of 128 by 128 pixels.

    Heads (N pictures of H x W):
        depth: (N, 1, H, W), inverse depth in [0, 1], 1 = near.
        normal: (N, 3, H, W), unit vectors, x right, y up, z towards the viewer.
        segmentation: (N, 16, H, W), class scores.
        edges: (N, 1, H, W), soft edges as logits.
        pose: (N, 18, H/4, W/4), a heat map a joint as logits.
    """

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 128)) -> None:
        super().__init__()
        self.widths = tuple(widths)
        downs, before = [], 3
        for width in widths:
            downs.append(_block(before, width))
            before = width
        self.downs = nn.ModuleList(downs)
        ups = []
        for width in reversed(widths[:-1]):
            ups.append(_block(before + width, width))
            before = width
        self.ups = nn.ModuleList(ups)
        self.dense = nn.Conv2d(before, 1 + 3 + CLASSES + 1, 1)
        self.pose = nn.Conv2d(widths[2], JOINT_COUNT, 1)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Pictures (N, 3, H, W) in [-1, 1], H and W multiples of 8 -> one tensor a head."""
        skips, x = [], pixels
        for level, block in enumerate(self.downs):
            x = block(F.avg_pool2d(x, 2) if level else x)
            skips.append(x)
        pose = None
        for level, block in enumerate(self.ups):
            skip = skips[-2 - level]
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1))
            if level == 0:
                pose = self.pose(x)
        depth, normal, segmentation, edges = self.dense(x).split([1, 3, CLASSES, 1], 1)
        assert pose is not None
        return {
            "depth": torch.sigmoid(depth.float()),
            "normal": F.normalize(normal.float(), dim=1),
            "segmentation": segmentation,
            "edges": edges,
            "pose": pose,
        }

    def networks(self) -> Mapping[str, Network]:
        """Head name -> function from uint8 pictures (N, H, W, 3) to what `read` says of them."""

        def network(head: str) -> Network:
            return lambda rgb: self.read(rgb, (head,))[head]

        return {head: network(head) for head in HEADS}

    def read(self, rgb: np.ndarray, heads: Sequence[str] = HEADS) -> dict[str, np.ndarray]:
        """Several heads in one pass over uint8 pictures (N, H, W, 3), batched inside.

        ``depth`` and ``edges``: float32 (N, H, W) in [0, 1]. ``normal``: float32 (N, H, W, 3).
        ``segmentation``: uint8 (N, H, W). ``pose``: float32 (N, 1, 18, 3), the one figure's
        joints, x and y in pixels and a confidence in [0, 1].
        """
        out: dict[str, np.ndarray] = {}
        for head, raw in self._forward(rgb, heads).items():
            if head == "pose":
                out[head] = _peaks(raw.numpy(), rgb.shape[1:3])[:, None]
                continue
            if tuple(raw.shape[-2:]) != tuple(rgb.shape[1:3]):
                raw = F.interpolate(raw, size=rgb.shape[1:3], mode="bilinear")
            if head == "segmentation":
                out[head] = raw.numpy().argmax(1).astype(np.uint8)
            elif head == "normal":
                out[head] = raw.numpy().transpose(0, 2, 3, 1)
            else:
                values = raw.numpy()[:, 0]
                out[head] = _sigmoid(values) if head == "edges" else values
        return out

    @torch.inference_mode()
    def _forward(self, rgb: np.ndarray, heads: Sequence[str]) -> dict[str, Tensor]:
        parameter = next(self.parameters())
        parts: dict[str, list[Tensor]] = {head: [] for head in heads}
        for start in range(0, max(len(rgb), 1), _BATCH):
            part = torch.from_numpy(np.ascontiguousarray(rgb[start : start + _BATCH]))
            pixels = part.to(parameter.device).permute(0, 3, 1, 2).to(parameter.dtype)
            if tuple(pixels.shape[-2:]) != (SIDE, SIDE):
                pixels = F.interpolate(pixels, size=(SIDE, SIDE), mode="area")
            found = self(pixels / 127.5 - 1.0)
            for head in heads:
                parts[head].append(found[head].float().cpu())
        return {head: torch.cat(tensors) for head, tensors in parts.items()}


def save_judge(judge: Judge, folder: Path) -> None:
    """Write ``config.json`` and half-precision ``model.safetensors``."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"widths": list(judge.widths)}) + "\n")
    tensors = {k: v.half().contiguous() for k, v in judge.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")


def load_judge(folder: Path) -> Judge:
    """Read a judge in float32, ready to use.

    Raises:
        FileNotFoundError: if the folder lacks ``config.json`` or ``model.safetensors``.
    """
    from safetensors.torch import load_file

    judge = Judge(tuple(json.loads((folder / "config.json").read_text())["widths"]))
    judge.load_state_dict(
        {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
    )
    return judge.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def load(weights: Weights, device: str) -> Mapping[str, Network]:
    """All heads of the judge in a local folder; FamilyError if it holds none."""
    if weights.place.folder is None:
        raise FamilyError(f"{weights.place.name}: a judge is loaded from a local folder only")
    with told_plainly(weights.place.name, "an embedded judge"):
        return load_judge(weights.place.folder).to(device).networks()


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.GroupNorm(8, after),
        nn.SiLU(),
        nn.Conv2d(after, after, 3, padding=1),
        nn.GroupNorm(8, after),
        nn.SiLU(),
    )


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-values)), np.float32)


def _peaks(heat: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Joints from heat maps: the peak, refined by the centre of mass of its 3 x 3 surroundings."""
    count, joints, rows, cols = heat.shape
    probability = np.pad(_sigmoid(heat), ((0, 0), (0, 0), (1, 1), (1, 1)))
    flat = _sigmoid(heat).reshape(count, joints, -1)
    best = flat.argmax(-1)
    y, x = np.divmod(best, cols)
    n, j = np.indices((count, joints))
    offsets = np.arange(-1, 2)
    patch = probability[
        n[..., None, None], j[..., None, None],
        y[..., None, None] + 1 + offsets[:, None], x[..., None, None] + 1 + offsets[None, :],
    ]  # fmt: skip
    mass = patch.sum((-1, -2)) + 1e-9
    fine_x = x + (patch * offsets[None, :]).sum((-1, -2)) / mass
    fine_y = y + (patch * offsets[:, None]).sum((-1, -2)) / mass
    scale = np.array([size[1] / cols, size[0] / rows])
    points = (np.stack([fine_x, fine_y], -1) + 0.5) * scale
    return np.concatenate([points, flat.max(-1)[..., None]], -1).astype(np.float32)
