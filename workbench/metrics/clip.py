"""Agreement of pictures and texts in the embedding space of a CLIP model.

All of it takes embeddings, whoever made them, so nothing here loads a model or needs a network.
`truncate_ids` cuts long prompts the way the text encoder of a diffusion pipeline does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.metrics._base import Array, PictureMetric, as_tensor


@dataclass(frozen=True)
class TokenCount:
    """How many tokens a text has, start and end included, and whether some had to be cut off."""

    tokens: int
    truncated: bool


def clip_similarity(preds: Array, target: Array, *, clamp: bool = True) -> Tensor:
    """100 × max(cosine, 0) of each pair: the CLIP score, on the scale of torchmetrics.

    preds, target: N×D, of any length but zero; either may be of pictures or of texts.
    clamp: cut off at 0, as the published score is; else cosines below 0 stay.
    Returns N values up to 100, which is the same direction, as float64 on the CPU.
    Raises ValueError for shapes that differ and for embeddings which are zero or not finite.
    """
    u, v = _unit(preds, "preds"), _unit(target, "target")
    if u.shape != v.shape:
        shapes = f"{tuple(u.shape)} and {tuple(v.shape)}"
        raise ValueError(f"embeddings must have one shape, not {shapes}")
    return 100 * (u * v).sum(dim=1).clamp(0 if clamp else -1, 1)


def tag_probability(
    preds: Array, target: Array, index: int = 0, logit_scale: float = 100.0
) -> Tensor:
    """How surely each picture shows a tag rather than its alternatives: zero-shot softmax.

    preds: N×D, pictures. target: K×D, the texts of the tag and its alternatives, K at least 2.
    index: which of the K is the tag. logit_scale: the factor on the cosines; 100 is where CLIP
    models end up, and the model's own is exp(`CLIPModel.logit_scale`).
    Returns N probabilities, float64; 1 / K is what a picture without any leaning gets.
    """
    images, tags = _unit(preds, "preds"), _unit(target, "target")
    if len(tags) < 2:
        raise ValueError("a tag needs at least one alternative")
    return (logit_scale * images @ tags.T).softmax(dim=1)[:, index]


def tag_obeyed(preds: Array, target: Array, index: int = 0) -> Tensor:
    """Whether the tag is the most probable of its group, bool N; a tie counts for the tag.

    preds: N×D, pictures; target: K×D, texts; both of length 1. index: which of the K is the tag.
    """
    cosines = as_tensor(preds).double().numpy() @ as_tensor(target).double().numpy().T
    return torch.from_numpy(cosines[:, index] >= cosines.max(axis=1))


def clip_diversity(preds: Array) -> Tensor:
    """How far each picture is from the others of its group: mean of 1 − cosine, 0 … 2.

    preds: N×D of length 1, pictures that differ in their seed alone. Returns N values, float64;
    their mean is the mean over all pairs. NaN for a picture without others.
    """
    vectors = as_tensor(preds).double().numpy()
    if len(vectors) < 2:
        return torch.full((len(vectors),), math.nan, dtype=torch.float64)
    distance = 1.0 - vectors @ vectors.T
    np.fill_diagonal(distance, 0.0)
    return torch.from_numpy(np.maximum(distance.sum(axis=1) / (len(vectors) - 1), 0.0))


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


class ClipSimilarity(PictureMetric):
    """Mean of 100 × max(cosine, 0) over pairs of embeddings, 0 … 100; see `clip_similarity`.

    >>> metric = ClipSimilarity()
    >>> pictures, texts = torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0]] * 2)
    >>> metric.update(pictures, texts)
    >>> metric.compute()
    tensor(85.3553, dtype=torch.float64)
    """

    def _values(self, preds: Array, target: Array) -> Iterable[float]:
        return clip_similarity(preds, target).tolist()


class TagProbability(PictureMetric):
    """Mean of `tag_probability` over pictures; of the K texts the first has the tag.

    >>> metric = TagProbability(logit_scale=1)
    >>> metric.update(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> metric.compute()
    tensor(0.7311, dtype=torch.float64)
    """

    def __init__(self, logit_scale: float = 100.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.logit_scale = logit_scale

    def _values(self, preds: Array, target: Array) -> Iterable[float]:
        return tag_probability(preds, target, logit_scale=self.logit_scale).tolist()


class TagObeyed(PictureMetric):
    """Share of pictures in which the tag, the first of the K texts, is the most probable one.

    >>> metric = TagObeyed()
    >>> metric.update(torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> metric.compute()
    tensor(0., dtype=torch.float64)
    """

    def _values(self, preds: Array, target: Array) -> Iterable[float]:
        return tag_obeyed(preds, target).double().tolist()


class ClipDiversity(PictureMetric):
    """Mean of `clip_diversity`; each update is one group of pictures, N×D, without a target.

    >>> metric = ClipDiversity()
    >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> metric.compute()
    tensor(1., dtype=torch.float64)
    """

    def update(self, preds: Array, target: Array | None = None) -> None:
        """Add a group of pictures (N×D, of length 1)."""
        super().update(preds, preds)

    def _values(self, preds: Array, target: Array) -> Iterable[float]:
        return clip_diversity(preds).tolist()


def _unit(embeds: Array, name: str) -> Tensor:
    tensor = as_tensor(embeds).double()
    if tensor.ndim != 2:
        raise ValueError(f"{name} must be N×D, not {tuple(tensor.shape)}")
    lengths = tensor.norm(dim=1, keepdim=True)
    if not bool((torch.isfinite(lengths) & (lengths > 0)).all()):
        raise ValueError(f"{name} holds an embedding which is zero or not finite")
    return tensor / lengths
