"""Sorting trials into batches that one call of a pipeline can make."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from workbench.study import Trial


@dataclass(frozen=True)
class BatchKey:
    """What all trials of a batch must have in common.

    Prompt, negative prompt, source, scales and seed may differ within a batch. `methods` are those
    of the controls ("" where there is none): some families have a ControlNet for each.
    """

    base: str
    controls: tuple[str, ...]
    methods: tuple[str, ...]
    steps: int
    guidance_scale: float
    scheduler: str
    control_start: float
    control_end: float
    size: int

    @classmethod
    def of(cls, trial: Trial) -> BatchKey:
        """The key of one trial. Start and end do not count where there is no control."""
        controls = tuple(use.control for use in trial.controls)
        return cls(
            base=trial.base,
            controls=controls,
            methods=tuple(_method(use.control_settings) for use in trial.controls),
            steps=trial.steps,
            guidance_scale=trial.guidance_scale,
            scheduler=trial.scheduler,
            control_start=trial.control_start if controls else 0.0,
            control_end=trial.control_end if controls else 1.0,
            size=trial.size,
        )


def _method(settings: str) -> str:
    return str(json.loads(settings).get("method", "")) if settings else ""


@dataclass(frozen=True)
class Batch:
    """Trials that are made together."""

    key: BatchKey
    trials: tuple[Trial, ...]


def plan_batches(trials: Sequence[Trial], batch_size: int) -> tuple[Batch, ...]:
    """Group trials by `BatchKey` into batches of at most `batch_size`, as equal as can be.

    Groups come in the order of their first trial, and trials keep their order within a group.
    Raises ValueError for a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    groups: dict[BatchKey, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(BatchKey.of(trial), []).append(trial)
    batches: list[Batch] = []
    for key, members in groups.items():
        count = -(-len(members) // batch_size)
        edges = [len(members) * i // count for i in range(count + 1)]
        batches += [Batch(key, tuple(members[start:stop])) for start, stop in pairwise(edges)]
    return tuple(batches)


def fill_batch(batch: Batch, size: int) -> Batch:
    """The batch with copies of its last trial at the end, until it has `size` trials."""
    return replace(batch, trials=batch.trials + batch.trials[-1:] * (size - len(batch.trials)))
