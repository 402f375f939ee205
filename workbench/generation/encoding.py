"""Prompt embeddings, made once for each distinct prompt."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.families.manager import ModelManager
from workbench.families.quiet import quiet_libraries

_NAMES = ("prompt_embeds", "pooled_prompt_embeds")


def prompt_arguments(
    prompts: Sequence[str], manager: ModelManager, *, negative: bool = False
) -> dict[str, Tensor]:
    """Embeddings of prompts as arguments of the family's pipelines, one row for each prompt.

    Architectures with a pooled embedding get it too. Each distinct prompt is encoded alone, so
    that its embedding does not depend on the company. An empty negative prompt is what the stock
    pipeline makes where none is given: zeros on base models that ask for them (SDXL does).
    """
    found: dict[str, tuple[Tensor, ...]] = {}
    for prompt in prompts:
        if prompt not in found:
            found[prompt] = _embeddings(prompt, manager, negative)
    columns = zip(*(found[prompt] for prompt in prompts), strict=True)
    head = "negative_" if negative else ""
    return {head + name: torch.cat(rows) for name, rows in zip(_NAMES, columns, strict=False)}


def _embeddings(prompt: str, manager: ModelManager, negative: bool) -> tuple[Tensor, ...]:
    pipeline: Any = manager.pipeline(None)
    zeros = pipeline.config.get("force_zeros_for_empty_prompt", False)
    blank = negative and not prompt and bool(zeros)
    kept = manager.prompt_cache.get((prompt, blank))
    if kept is None:
        kept = _encode(prompt, pipeline, manager)
        if blank:
            kept = tuple(torch.zeros_like(part) for part in kept)
        manager.prompt_cache[(prompt, blank)] = kept
    return kept


def _encode(prompt: str, pipeline: Any, manager: ModelManager) -> tuple[Tensor, ...]:
    known = inspect.signature(pipeline.encode_prompt).parameters
    more: dict[str, Any] = {name: None for name in ("prompt_2", "prompt_3") if name in known}
    if "max_sequence_length" in known:  # of T5, which reads more than CLIP
        more["max_sequence_length"] = manager.family.text_limit
    with quiet_libraries():  # what is cut is told by the plan and the record
        found = pipeline.encode_prompt(
            prompt=[prompt],
            device=torch.device(manager.device),
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
            **more,
        )
    # (prompt, negative) or (prompt, negative, pooled, negative pooled)
    return tuple(part for part in found[::2] if part is not None)
