"""Agreement of pictures and texts in the embedding space of a CLIP model.

The functions take embeddings, whoever made them, so nothing here loads a model or needs a network.
`torchmetrics_clip` lends a CLIP model that is already in memory to torchmetrics' own CLIPScore, and
`truncate_ids` cuts long prompts the way the text encoder of a diffusion pipeline does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric

Embeddings = np.ndarray | Tensor


@dataclass(frozen=True)
class TokenCount:
    """How many tokens a text has, start and end included, and whether some had to be cut off."""

    tokens: int
    truncated: bool


def clip_similarity(image_embeds: Embeddings, text_embeds: Embeddings) -> Tensor:
    """100 × max(cosine, 0) of each pair: the CLIP score, on the scale of torchmetrics.

    image_embeds, text_embeds: N×D, of any length but zero; either may be of pictures or of texts.
    Returns N values in [0, 100], 100 for the same direction, as float64 on the CPU.
    Raises ValueError for shapes that differ and for embeddings which are zero or not finite.
    """
    return 100 * _cosine(image_embeds, text_embeds).clamp(0, 1)


def tag_probability(
    image_embeds: Embeddings,
    tag_embeds: Embeddings,
    index: int,
    logit_scale: float = 100.0,
) -> Tensor:
    """How surely each picture shows a tag rather than its alternatives: zero-shot softmax.

    image_embeds: N×D. tag_embeds: K×D, the texts of the tag and its alternatives, K at least 2.
    index: which of the K is the tag. logit_scale: the factor on the cosines; 100 is where CLIP
    models end up, and the model's own is exp(`CLIPModel.logit_scale`).
    Returns N probabilities, float64; 1 / K is what a picture without any leaning gets.
    """
    images, tags = _unit(image_embeds, "image_embeds"), _unit(tag_embeds, "tag_embeds")
    if len(tags) < 2:
        raise ValueError("a tag needs at least one alternative")
    return (logit_scale * images @ tags.T).softmax(dim=1)[:, index]


def truncate_ids(ids: Sequence[int], limit: int) -> tuple[list[int], TokenCount]:
    """Cut token ids (start … end, without padding) to `limit`, keeping the end-of-text token.

    A CLIP text encoder reads the meaning of the whole text off the end token: a text cut without
    it is scored by some word in its middle. Raises ValueError for a limit below 2.
    """
    if limit < 2:
        raise ValueError(f"limit must leave room for the start and the end token, not {limit}")
    truncated = len(ids) > limit
    kept = [*ids[: limit - 1], ids[-1]] if truncated else list(ids)
    return kept, TokenCount(len(ids), truncated)


class ClipSimilarity(Metric):
    """Mean `clip_similarity` over the pairs seen, a float32 scalar; NaN before the first."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 100.0

    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, image_embeds: Embeddings, text_embeds: Embeddings) -> None:
        """Add N pairs of embeddings (N×D each)."""
        values = clip_similarity(image_embeds, text_embeds)
        self.total += float(values.sum())
        self.count += len(values)

    def compute(self) -> Tensor:
        """The mean over the pairs seen."""
        return self.total / self.count


def torchmetrics_clip(
    model: Any, tokenizer: Any, image_processor: Any
) -> Callable[[], tuple[nn.Module, Callable[..., dict[str, Tensor]]]]:
    """Lend a transformers CLIP model to torchmetrics, as its argument `model_name_or_path`.

    model: a CLIPModel. tokenizer, image_processor: its CLIPTokenizer and CLIPImageProcessor.
    Works around two faults of torchmetrics 1.9: it takes the output object which transformers 5
    returns for an embedding, and it cuts long captions without keeping their end-of-text token.
    Pictures are given to torchmetrics as uint8 tensors 3×H×W.
    """
    limit = int(model.config.text_config.max_position_embeddings)
    return lambda: (_PooledClip(model), _Processor(tokenizer, image_processor, limit))


class _PooledClip(nn.Module):
    """A CLIP model whose two embedding methods return tensors under any version of transformers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.config = model.config

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        return _pooled(self.model.get_image_features(pixel_values=pixel_values))

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return _pooled(
            self.model.get_text_features(input_ids=input_ids, attention_mask=attention_mask)
        )


class _Processor:
    """What torchmetrics calls to prepare pictures and texts."""

    def __init__(self, tokenizer: Any, image_processor: Any, limit: int) -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.limit = limit

    def __call__(
        self,
        text: Sequence[str] | None = None,
        images: Sequence[Tensor] | None = None,
        **_: Any,
    ) -> dict[str, Tensor]:
        if images is not None:
            arrays = [image.permute(1, 2, 0).numpy() for image in images]
            pixels = self.image_processor(
                images=arrays, return_tensors="pt", input_data_format="channels_last"
            )
            return {"pixel_values": pixels["pixel_values"]}
        rows = [
            truncate_ids(self.tokenizer(single)["input_ids"], self.limit)[0]
            for single in text or ()
        ]
        width = max(len(row) for row in rows)
        pad = self.tokenizer.pad_token_id
        return {
            "input_ids": torch.tensor([row + [pad] * (width - len(row)) for row in rows]),
            "attention_mask": torch.tensor(
                [[1] * len(row) + [0] * (width - len(row)) for row in rows]
            ),
        }


def _pooled(output: Any) -> Tensor:
    pooled: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return pooled


def _unit(embeds: Embeddings, name: str) -> Tensor:
    tensor = embeds.detach() if isinstance(embeds, Tensor) else torch.from_numpy(np.array(embeds))
    if tensor.ndim != 2:
        raise ValueError(f"{name} must be N×D, not {tuple(tensor.shape)}")
    tensor = tensor.cpu().double()
    lengths = tensor.norm(dim=1, keepdim=True)
    if not bool((torch.isfinite(lengths) & (lengths > 0)).all()):
        raise ValueError(f"{name} holds an embedding which is zero or not finite")
    return tensor / lengths


def _cosine(a: Embeddings, b: Embeddings) -> Tensor:
    u, v = _unit(a, "image_embeds"), _unit(b, "text_embeds")
    if u.shape != v.shape:
        raise ValueError(
            f"embeddings must have one shape, not {tuple(u.shape)} and {tuple(v.shape)}"
        )
    return (u * v).sum(dim=1)
