"""The second lesson of the world's CLIP: its picture tower learns where things are.

Contrastive training alone leaves a small vision transformer blind to what fills a few patches
(a bow, a hem). Two linear readers, thrown away afterwards, ask every patch what it shows and the
whole picture for its tags; the text tower stays as it is, for the base checkpoint reads it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.paperdoll import SIDE
from workbench.paperdoll.labels import Label
from workbench.training.captions import random_caption
from workbench.training.clip import (
    TagTable,
    embed_texts,
    jitter,
    plain_attention,
    swap_loss,
    to_pixels,
)
from workbench.training.data import WorldData
from workbench.training.loop import Recipe, StepDraws

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPTokenizer

RECIPE = Recipe(
    steps=2_600, rate=1e-3, warm_up=100, decay=0.05, betas=(0.9, 0.98), average=0.998, seed=23
)

_BATCH = 128
_SWAP_ROWS = 64


class PictureLesson(nn.Module):
    """A CLIP whose picture tower and two projections learn, with the readers that teach it."""

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.clip: Any = plain_attention(clip).requires_grad_(False)
        for part in (clip.vision_model, clip.visual_projection, clip.text_projection):
            part.requires_grad_(True)
        clip.logit_scale.requires_grad_(True)
        width = clip.config.vision_config.hidden_size
        self.patch_size = clip.config.vision_config.patch_size
        torch.manual_seed(RECIPE.seed)
        self.patches = nn.Linear(width, len(Label))
        self.tags = nn.Linear(width, len(TagTable().texts))

    def forward(self, rgb: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 pictures (N, 128, 128, 3) -> unit embeddings, patch scores, tag scores."""
        seen = self.clip.vision_model(pixel_values=to_pixels(rgb))
        unit = F.normalize(self.clip.visual_projection(seen.pooler_output).float(), dim=-1)
        return unit, self.patches(seen.last_hidden_state[:, 1:]), self.tags(seen.pooler_output)


def picture_loss(
    lesson: PictureLesson, tokenizer: CLIPTokenizer, data: WorldData, draws: StepDraws
) -> Mapping[str, Tensor]:
    """The lessons of the first stage on the picture side, and what the readers make out."""
    rng = draws.numpy
    rows = rng.integers(0, len(data), _BATCH)
    shown = (data.mixed_pictures(rows, rng), data.segmentation[rows])
    rgb, labels = jitter(shown, rng)
    words = [data.words(r) for r in rows]
    pictures, patches, seen = lesson(rgb)
    scale = lesson.clip.logit_scale.exp().clamp(max=100.0)
    table = TagTable()
    captions = [random_caption(w, rng, whole=0.6) for w in words]
    texts = embed_texts(lesson.clip, tokenizer, [*captions, *table.texts])
    logits = scale * pictures @ texts[:_BATCH].T
    target = torch.arange(_BATCH)
    truth = torch.from_numpy(data.tags[rows].astype(np.int64))
    swaps = min(_SWAP_ROWS, _BATCH)
    return {
        "contrast": 0.25 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)),
        "single": table.loss(scale * pictures @ texts[_BATCH:].T, truth),
        "swap": swap_loss(lesson.clip, tokenizer, pictures, words[:swaps], truth, scale, rng),
        "tags": table.loss(seen.float(), truth),
        "patches": F.cross_entropy(
            patches.float().flatten(0, 1),
            patch_shares(labels, lesson.patch_size).flatten(0, 1),
        ),
    }


def patch_shares(labels: np.ndarray, patch: int) -> Tensor:
    """What share of every patch each class fills: uint8 (N, H, W) -> float (N, patches, 16)."""
    one_hot = F.one_hot(torch.from_numpy(np.ascontiguousarray(labels)).long(), len(Label)).float()
    side = SIDE // patch
    cut = one_hot.reshape(len(labels), side, patch, side, patch, len(Label))
    return cut.mean((2, 4)).flatten(1, 2)
