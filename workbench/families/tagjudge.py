"""The embedded judge of words: one small network that tells the tags of the Paperdoll world.

It was trained on scenes and on hybrids whose parts contradict each other, because the pictures that
a prompt and a control steer together are such hybrids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from workbench.families.annotators.weights import Weights
from workbench.families.catalogue import FamilyError
from workbench.families.loaders import WORDS
from workbench.families.quiet import told_plainly
from workbench.families.words import WordReading, refuse_unknown
from workbench.paperdoll import GROUP_OF_TAG, TAG_GROUPS

SIDE = 128
VALIDATED = (
    "held against the auditor and pixel detectors on generated pictures in which prompt and "
    "control conflict"
)
"""What the embedded judge of words was validated on."""
_BATCH = 32


class TagJudge(nn.Module):
    """A convolutional network that looks at one place of the picture for each group of tags.

    Each group of tags has its own attention over a 16 × 16 grid of features, so that hair length is
    read beside the head and not off the picture as a whole.
    """

    def __init__(self, width: int = 16, temperatures: Sequence[float] | None = None) -> None:
        super().__init__()
        self.width = width
        sizes = (width, 2 * width, 3 * width, 4 * width, 4 * width)
        layers: list[nn.Module] = []
        before = 3
        for after, stride in zip(sizes, (2, 2, 1, 2, 1), strict=True):
            layers += [
                nn.Conv2d(before, after, 3, stride, 1),
                nn.GroupNorm(8, after),
                nn.SiLU(),
            ]
            before = after
        self.body = nn.Sequential(*layers)
        self.place = nn.Conv2d(before, len(TAG_GROUPS), 3, padding=1)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(2 * before, len(tags)) for name, tags in TAG_GROUPS.items()}
        )
        self.temperatures = tuple(temperatures or [1.0] * len(TAG_GROUPS))

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Pictures (N, 3, 128, 128) in [-1, 1] -> group -> scores (N, tags), uncalibrated."""
        x = self.body(pixels)
        weights = self.place(x).flatten(2).float().softmax(-1).to(x.dtype)
        pooled = torch.einsum("ngp,ncp->ngc", weights, x.flatten(2))
        most = x.amax((2, 3))
        return {
            name: self.heads[name](torch.cat([pooled[:, g], most], 1))
            for g, name in enumerate(TAG_GROUPS)
        }

    @torch.inference_mode()
    def shares(self, rgb: np.ndarray) -> dict[str, np.ndarray]:
        """Probability of each tag in its group: uint8 (N, 128, 128, 3) -> group -> (N, tags)."""
        parameter = next(self.parameters())
        parts: dict[str, list[np.ndarray]] = {name: [] for name in TAG_GROUPS}
        for start in range(0, len(rgb), _BATCH):
            part = torch.from_numpy(np.ascontiguousarray(rgb[start : start + _BATCH]))
            pixels = part.to(parameter.device).permute(0, 3, 1, 2).to(parameter.dtype)
            scores = self(pixels / 127.5 - 1.0)
            for name, warm in zip(TAG_GROUPS, self.temperatures, strict=True):
                parts[name].append((scores[name].float() / warm).softmax(-1).cpu().numpy())
        return {
            name: np.concatenate(found) if found else np.zeros((0, len(TAG_GROUPS[name])))
            for name, found in parts.items()
        }


class TagWords:
    """The embedded judge as a judge of words: a tag is seen where it is its group's likeliest."""

    name = "tag judge"
    validated = VALIDATED

    def __init__(self, judge: TagJudge) -> None:
        self._judge = judge

    def knows(self, word: str) -> bool:
        """Whether the word is a tag of the Paperdoll world."""
        return word in GROUP_OF_TAG

    def read(self, images: Sequence[np.ndarray], words: Sequence[str]) -> WordReading:
        """Pictures (uint8 H×W×3) and words -> probability and verdict, (N, W) each.

        Raises:
            ValueError: a word that the judge does not know.
        """
        refuse_unknown(self, words)
        shares = self._judge.shares(np.stack([_sized(i) for i in images])) if len(images) else {}
        probability = np.zeros((len(images), len(words)), np.float32)
        seen = np.zeros((len(images), len(words)), bool)
        for column, word in enumerate(words):
            group = GROUP_OF_TAG[word]
            if len(images):
                mine, place = shares[group], TAG_GROUPS[group].index(word)
                probability[:, column] = mine[:, place]
                seen[:, column] = mine.argmax(1) == place
        return WordReading(probability, seen)


def _sized(image: np.ndarray) -> np.ndarray:
    import cv2

    if image.shape[:2] == (SIDE, SIDE):
        return image
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def save_tag_judge(judge: TagJudge, folder: Path) -> None:
    """Write ``config.json`` and half-precision ``model.safetensors``."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {"width": judge.width, "temperatures": list(judge.temperatures)}
    (folder / "config.json").write_text(json.dumps(config) + "\n")
    tensors = {k: v.half().contiguous() for k, v in judge.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")


def load_tag_judge(folder: Path) -> TagJudge:
    """Read the judge of words in float32, ready to use.

    Raises:
        FileNotFoundError: if the folder lacks ``config.json`` or ``model.safetensors``.
    """
    from safetensors.torch import load_file

    judge = TagJudge(**json.loads((folder / "config.json").read_text()))
    tensors = load_file(folder / "model.safetensors")
    judge.load_state_dict({k: v.float() for k, v in tensors.items()})
    return judge.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def load(weights: Weights, device: str) -> dict[str, TagWords]:
    """ "words": the judge of words in a local folder; FamilyError if it holds none."""
    if weights.place.folder is None:
        raise FamilyError(f"{weights.place.name}: a judge is loaded from a local folder only")
    with told_plainly(weights.place.name, "an embedded judge of words"):
        return {WORDS: TagWords(load_tag_judge(weights.place.folder).to(device))}
