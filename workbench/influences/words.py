"""Where each word of the prompt looks: the cross-attention of its tokens, with and without control.

The idea is that of R. Tang et al., "What the DAAM: interpreting Stable Diffusion using cross
attention" (2022): the attention that every place of the latent pays to a word's tokens, averaged
over heads, layers and steps, all layers enlarged to the latent's size. Here it is taken twice at
each step, in the prediction with the control and in the one without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.prompts import parse_tags


def word_places(tokenizer: Any, prompt: str, limit: int) -> dict[str, tuple[int, ...]]:
    """Word of the prompt -> the places of its tokens in what the text encoder reads.

    What lies beyond `limit` tokens, start and end included, is not read and has no place; a word
    none of whose tokens is read is left out.
    """

    def count(text: str) -> int:
        return len(tokenizer(text, truncation=False, verbose=False)["input_ids"]) - 1

    found: dict[str, tuple[int, ...]] = {}
    begin = 0
    for word in parse_tags(prompt):
        start = prompt.find(word, begin)
        if start < 0:  # it was written with other blanks
            continue
        begin = start + len(word)
        places = range(count(prompt[:start].rstrip()), min(count(prompt[:begin]), limit - 1))
        if places:
            found[word] = tuple(places)
    return found


class AttentionWatch:
    """Adds up the cross-attention of the rows with the prompt, call of a denoiser by call.

    Args:
        denoiser: a UNet of diffusers; a transformer, which attends to text and latent jointly, has
            no cross-attention to see.
    """

    def __init__(self, denoiser: nn.Module) -> None:
        self._denoiser = denoiser
        self._modules = [m for m in denoiser.modules() if getattr(m, "is_cross_attention", False)]
        self._sums: dict[int, Tensor] = {}
        self._layers = 0

    def watch(self) -> list[Callable[[], None]]:
        """Begin; returns what ends it."""
        handles = [self._denoiser.register_forward_pre_hook(self._forget)]
        for module in self._modules:
            handles.append(module.register_forward_pre_hook(self._see, with_kwargs=True))
        return [handle.remove for handle in handles]

    def _see(self, attention: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        text = named.get("encoder_hidden_states", given[1] if len(given) > 1 else None)
        latent = given[0] if given else named["hidden_states"]
        if text is None or latent.ndim != 3:
            return
        latent, text = (rows[len(rows) // 2 :] for rows in (latent, text))
        if attention.norm_cross:
            text = attention.norm_encoder_hidden_states(text)
        query, key = (
            attention.head_to_batch_dim(project(rows))
            for project, rows in ((attention.to_q, latent), (attention.to_k, text))
        )
        paid = attention.get_attention_scores(query, key)
        paid = paid.unflatten(0, (len(latent), -1)).float().mean(dim=1)
        places = paid.shape[1]
        self._sums[places] = self._sums.get(places, torch.zeros_like(paid)) + paid
        self._layers += 1

    def taken(self, shape: tuple[int, int]) -> np.ndarray | None:
        """The mean over the layers of the last call, float32 (B, T, h, w), and begin anew.

        Args:
            shape: h, w of the latent. None where there was no cross-attention.
        """
        if not self._layers:
            return None
        height, width = shape
        grown = []
        for places, paid in self._sums.items():
            side = round((places * height / width) ** 0.5)
            grid = paid.transpose(1, 2).unflatten(2, (side, places // side))
            grown.append(nn.functional.interpolate(grid, (height, width), mode="bilinear"))
        found = torch.stack(grown).sum(dim=0) / self._layers
        self._forget()
        return np.asarray(found.cpu().numpy(), np.float32)

    def _forget(self, *_: object) -> None:
        """Begin anew: the last call may have failed midway."""
        self._sums, self._layers = {}, 0
