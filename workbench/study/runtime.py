"""The fields of a study that say how to compute: the runtime and the size of batches."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Tag

from workbench.families.runtime import VALUE_TAG, AutoWord, Runtime, auto_or_value

__all__ = ["RUNTIME_ALLOWED", "BatchSize", "Runtime"]

MAX_BATCH = 1024
BatchSize = Annotated[
    AutoWord | Annotated[int, Field(strict=True, ge=1, le=MAX_BATCH), Tag(VALUE_TAG)], auto_or_value
]
"""How many pictures are made at once; "auto" finds it while the study runs, from the memory that
the first batches take."""

RUNTIME_ALLOWED = (
    "attention (auto, flash, efficient, math, eager), vae_slicing (auto, true, false), "
    "vae_tiling (true, false), offload (none, model, sequential), channels_last (true, false), "
    "compile (none, regional)"
)
