"""The Paperdoll world's own CLIP: the text tower that steers, the pair of towers that scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.paperdoll import SIDE, TAG_GROUPS
from workbench.training.captions import caption, random_caption, swapped
from workbench.training.data import WorldData
from workbench.training.loop import Recipe, StepDraws
from workbench.training.tokenizer import MAX_TOKENS

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPTokenizer

RECIPE = Recipe(
    steps=1_350, rate=1e-3, warm_up=200, decay=0.05, betas=(0.9, 0.98), average=0.995, seed=21
)

_BATCH = 128
_SWAP_ROWS = 24
_SHIFT = 6

PIXEL_MEAN = (0.5, 0.5, 0.5)
PIXEL_SPREAD = (0.5, 0.5, 0.5)


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """An untrained CLIP: both towers 128 wide, patches of 16 pixels, 64 shared dimensions."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(RECIPE.seed)
    tower = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4}
    text = {
        **tower,
        "num_hidden_layers": 3,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": MAX_TOKENS,
        "projection_dim": 64,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    picture = {
        **tower,
        "num_hidden_layers": 5,
        "image_size": SIDE,
        "patch_size": 16,
        "projection_dim": 64,
    }
    config = CLIPConfig(text_config=text, vision_config=picture, projection_dim=64)
    return plain_attention(CLIPModel(config))


def plain_attention(model: CLIPModel) -> CLIPModel:
    """Attention by matrix products: on processors its backward pass is twice as fast here."""
    model.set_attn_implementation("eager")
    return model


def embed_texts(model: CLIPModel, tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Unit embeddings (N, 64) of texts."""
    ids = tokenizer(
        texts, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    ).input_ids
    longest = int((ids != tokenizer.eos_token_id).sum(1).max()) + 1
    pooled = model.text_model(input_ids=ids[:, :longest]).pooler_output
    return F.normalize(model.text_projection(pooled).float(), dim=-1)


def embed_pictures(model: CLIPModel, rgb: np.ndarray) -> Tensor:
    """Unit embeddings (N, 64) of uint8 pictures (N, 128, 128, 3)."""
    pooled = model.vision_model(pixel_values=to_pixels(rgb)).pooler_output
    return F.normalize(model.visual_projection(pooled).float(), dim=-1)


def to_pixels(rgb: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) -> what the picture tower reads: float (N, 3, H, W) in [-1, 1]."""
    pixels = torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float()
    return pixels.div_(127.5).sub_(1.0)


class TagTable:
    """The caption of every single tag, and where each group lies among them."""

    def __init__(self) -> None:
        self.texts = [tag for options in TAG_GROUPS.values() for tag in options]
        sizes = [len(options) for options in TAG_GROUPS.values()]
        ends = np.cumsum(sizes)
        self.spans = [slice(int(e - s), int(e)) for s, e in zip(sizes, ends, strict=True)]

    def loss(self, scores: Tensor, truth: Tensor) -> Tensor:
        """Mean over groups of the cross-entropy of the right tag among its alternatives.

        Args:
            scores: (N, tags), in the table's order.
            truth: (N, groups), the right tag's index within its group.
        """
        parts = [F.cross_entropy(scores[:, s], truth[:, g]) for g, s in enumerate(self.spans)]
        return torch.stack(parts).mean()


def clip_loss(
    model: CLIPModel, tokenizer: CLIPTokenizer, data: WorldData, draws: StepDraws
) -> Mapping[str, Tensor]:
    """Three lessons, all in CLIP's own terms (cosine times the learnt scale).

    Captions against pictures of the batch (Radford et al. 2021); every single tag against its
    alternatives; the whole caption against the same caption with one tag exchanged.
    """
    rng = draws.numpy
    rows = rng.integers(0, len(data), _BATCH)
    words = [data.words(r) for r in rows]
    pictures = embed_pictures(model, jitter((data.rgb[np.sort(rows)][ranks(rows)],), rng)[0])
    scale = model.logit_scale.exp().clamp(max=100.0)
    table = TagTable()
    captions = [random_caption(w, rng, whole=0.6) for w in words]
    texts = embed_texts(model, tokenizer, [*captions, *table.texts])
    logits = scale * pictures @ texts[:_BATCH].T
    target = torch.arange(_BATCH)
    contrast = 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
    tags = scale * pictures @ texts[_BATCH:].T
    truth = torch.from_numpy(data.tags[rows].astype(np.int64))
    return {
        "contrast": 0.5 * contrast,
        "single": table.loss(tags, truth),
        "swap": swap_loss(model, tokenizer, pictures, words[:_SWAP_ROWS], truth, scale, rng),
    }


def swap_loss(
    model: CLIPModel,
    tokenizer: CLIPTokenizer,
    pictures: Tensor,
    words: list[tuple[str, ...]],
    truth: Tensor,
    scale: Tensor,
    rng: np.random.Generator,
) -> Tensor:
    """Each picture's caption against the same caption with one tag exchanged.

    Args:
        pictures: unit embeddings, the first ``len(words)`` of which are asked.
        words: tags of those pictures.
        truth: (N, groups), the right tag's index within its group.
        scale: CLIP's learnt factor on cosines.
    """
    rows = range(len(words))
    groups = rng.integers(0, len(TAG_GROUPS), len(words))
    changed = [list(swapped(words[r], int(groups[r]), rng)) for r in rows]
    flat = embed_texts(model, tokenizer, [text for texts in changed for text in texts])
    losses, start = [], 0
    for r, texts in zip(rows, changed, strict=True):
        scores = scale * flat[start : start + len(texts)] @ pictures[r]
        losses.append(F.cross_entropy(scores[None], truth[r, int(groups[r])][None]))
        start += len(texts)
    return torch.stack(losses).mean()


@torch.no_grad()
def tag_accuracy(
    model: CLIPModel, tokenizer: CLIPTokenizer, rgb: np.ndarray, words: list[tuple[str, ...]]
) -> dict[str, float]:
    """Share of pictures whose whole caption scores above those with one tag exchanged.

    Args:
        rgb: uint8 (N, 128, 128, 3).
        words: the eight tags of each picture.

    Returns:
        Group name -> share in [0, 1] (chance: one over the group's size).
    """
    pictures = embed_pictures(model, rgb)
    groups = list(TAG_GROUPS.values())
    cache: dict[str, Tensor] = {}
    wanted = {text for w in words for g in range(len(groups)) for text in swapped(w, g)}
    ordered = sorted(wanted | {caption(w) for w in words})
    for start in range(0, len(ordered), 512):
        part = ordered[start : start + 512]
        cache.update(zip(part, embed_texts(model, tokenizer, part), strict=True))
    out = {}
    for g, name in enumerate(TAG_GROUPS):
        right = 0
        for picture, w in zip(pictures, words, strict=True):
            scores = torch.stack([cache[text] for text in swapped(w, g)]) @ picture
            right += int(scores.argmax()) == groups[g].index(w[g])
        out[name] = right / len(words)
    return out


def ranks(rows: np.ndarray) -> np.ndarray:
    """Where each row lands after sorting: memory-mapped reads go forwards only."""
    return np.argsort(np.argsort(rows, kind="stable"), kind="stable")


def jitter(stacks: Sequence[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Mirror half the pictures and move them by a few pixels; tags do not change.

    Args:
        stacks: arrays (N, 128, 128, ...) of the same pictures, all moved alike.
    """
    shifts = rng.integers(0, 2 * _SHIFT + 1, (len(stacks[0]), 2))
    mirror = rng.random(len(stacks[0])) < 0.5
    out = []
    for stack in stacks:
        rest = [(0, 0)] * (stack.ndim - 3)
        padded = np.pad(stack, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), *rest), mode="edge")
        moved = np.empty_like(stack)
        for i, (dy, dx) in enumerate(shifts):
            part = padded[i, dy : dy + SIDE, dx : dx + SIDE]
            moved[i] = part[:, ::-1] if mirror[i] else part
        out.append(moved)
    return tuple(out)
