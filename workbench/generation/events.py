"""What a generation hands out while it runs: samples and steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.study import Trial


@dataclass(frozen=True, eq=False)
class SampleResult:
    """One trial's sample.

    `image` is uint8 size×size×3 RGB, or None for a failed trial; then `failed_reason` says why, in
    one sentence. `made_by` holds plain JSON values: batch_size, device, dtype, threads, seconds
    (the batch's time shared equally), tokens and truncated (of the prompt), runtime (what
    was in force, see `workbench.families.runtime`); where the batch was
    made smaller, the reason under "fallback"; "retry" where the trial failed by an error, not by
    its picture.
    """

    trial: Trial
    image: np.ndarray | None
    failed_reason: str
    made_by: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Step:
    """One denoising step of a batch is done: `done` of `total`.

    `preview(i)` decodes what sample i looks like now (uint8 H×W×3). It costs one pass through the
    decoder, and it may be called only inside the callback.
    """

    trials: tuple[Trial, ...]
    done: int
    total: int
    preview: Callable[[int], np.ndarray]


StepCallback = Callable[[Step], None]
