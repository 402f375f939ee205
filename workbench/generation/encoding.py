"""Prompt embeddings, made once for each distinct prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.families.loading import ModelShelf


def prompt_embeddings(prompts: Sequence[str], shelf: ModelShelf) -> Tensor:
    """Embeddings of prompts as the stock pipeline makes them: (len(prompts), tokens, width).

    Each distinct prompt is encoded alone, so that its embedding does not depend on the company.
    """
    found: dict[str, Tensor] = {}
    for prompt in prompts:
        if prompt not in found:
            found[prompt] = _embedding(prompt, shelf)
    return torch.cat([found[prompt] for prompt in prompts])


def _embedding(prompt: str, shelf: ModelShelf) -> Tensor:
    kept = shelf.prompt_cache.get(prompt)
    if kept is None:
        pipeline: Any = shelf.pipeline(None)
        kept, _ = pipeline.encode_prompt([prompt], torch.device(shelf.device), 1, False)
        shelf.prompt_cache.put(prompt, kept)
    return kept
