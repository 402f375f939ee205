"""Dividing trials into batches that one call of a pipeline can make, as large as memory allows."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import pairwise
from typing import Literal

import torch

from workbench.families.manager import ModelManager
from workbench.generation.events import SampleResult
from workbench.generation.recovery import Kind, is_full_record
from workbench.study import Trial

log = logging.getLogger(__name__)

BatchSize = int | Literal["auto"]
MOST = 64
"""Pictures in a batch that was not asked for; larger ones gain nothing."""
_CPU_LATENTS, _GPU_LATENTS = 4096, 16384
"""Positions of latents in a first batch: one picture of 512 px on a CPU, which more of them do not
make faster, and four on a GPU, which is measured on them."""
_FIRST_MOST = 16
_SHARE = 0.85
"""How much of the free memory a batch may be expected to take."""
_GROWTH = 4
"""A batch grows by no more than this at once, as the measure of small ones is rough."""


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

    @property
    def kind(self) -> Kind:
        """The base model and the controls, each with its method: what fails as a whole."""
        pairs = zip(self.controls, self.methods, strict=True)
        return (self.base, *(".".join(filter(None, pair)) for pair in pairs))


def kinds(trials: Iterable[Trial]) -> set[Kind]:
    """The kinds of these trials."""
    return {BatchKey.of(trial).kind for trial in trials}


def _method(settings: str) -> str:
    return str(json.loads(settings).get("method", "")) if settings else ""


@dataclass(frozen=True)
class Batch:
    """Trials that are made together."""

    key: BatchKey
    trials: tuple[Trial, ...]


def plan_batches(trials: Sequence[Trial], batch_size: int) -> tuple[Batch, ...]:
    """Group trials by `BatchKey` into batches of at most `batch_size`, as equal as can be.

    Groups take turns (see `_in_turn`), and trials keep their order within a group.
    Raises ValueError for a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    return tuple(_in_turn([(g, _divided(g, batch_size)) for g in _grouped(trials)]))


def _grouped(trials: Sequence[Trial]) -> list[Batch]:
    """All trials of each `BatchKey`, in the order of their first trial."""
    groups: dict[BatchKey, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(BatchKey.of(trial), []).append(trial)
    return [Batch(key, tuple(members)) for key, members in groups.items()]


def _divided(group: Batch, batch_size: int) -> Iterator[Batch]:
    count = -(-len(group.trials) // batch_size)
    edges = [len(group.trials) * i // count for i in range(count + 1)]
    return (Batch(group.key, group.trials[start:stop]) for start, stop in pairwise(edges))


def _in_turn(groups: Sequence[tuple[Batch, Iterator[Batch]]]) -> Iterator[Batch]:
    """The batches of all groups so that each group comes along as far as the others.

    The next batch is of the group of which the smallest share was handed out, the first of them.
    """
    shares = [(0.0, place) for place in range(len(groups))]
    while shares:
        share, place = heappop(shares)
        group, batches = groups[place]
        if (batch := next(batches, None)) is not None:
            yield batch
            heappush(shares, (share + len(batch.trials) / len(group.trials), place))


class DeviceMemory:
    """What a device tells of its memory; nothing on devices that tell nothing (a CPU)."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.measures = device.partition(":")[0] == "cuda" and torch.cuda.is_available()

    def reset(self) -> int:
        """Forget the highest use so far; returns the bytes in use now."""
        torch.cuda.reset_peak_memory_stats(self.device)
        return int(torch.cuda.memory_allocated(self.device))

    def peak(self) -> int:
        """The most bytes in use since `reset`."""
        return int(torch.cuda.max_memory_allocated(self.device))

    def free(self) -> int:
        """Bytes that can still be taken, what PyTorch holds but does not use among them."""
        held = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return int(torch.cuda.mem_get_info(self.device)[0] + held)


def first_size(batch_size: BatchSize, manager: ModelManager, size: int | None = None) -> int:
    """Pictures in the first batch: the number asked for, or for "auto" an estimate.

    `size` is the side of the pictures in pixels, the family's own resolution if absent.
    """
    if batch_size != "auto":
        return batch_size
    side = max(1, (size or manager.family.resolution) // manager.family.latent_scale)
    room = _CPU_LATENTS if manager.device.partition(":")[0] == "cpu" else _GPU_LATENTS
    return min(_FIRST_MOST, max(1, room // side**2))


def most_size(batch_size: BatchSize, manager: ModelManager) -> int:
    """The most pictures that a batch may come to have.

    More than in the first one with "auto" alone, and where the device measures its memory.
    """
    if batch_size == "auto" and DeviceMemory(manager.device).measures:
        return MOST
    return first_size(batch_size, manager)


class BatchSizer:
    """Plans batches one after the other and learns from each how large the next may be.

    A number that was asked for is kept, until memory runs out: then the batches that follow have
    the size that came out, and do not fail anew. With "auto", sizes also grow where the device
    measures its memory. Each kind of batch (`BatchKey`) has its own size.

    Args:
        batch_size: pictures at once, or "auto".
        manager: whose device and family decide the size of a first batch with "auto".
        fill: make smaller batches full with copies that are thrown away, so that every sample
            comes out as in a full batch.
        memory: of the manager's device.

    Raises:
        ValueError: a batch size below 1.
    """

    def __init__(
        self,
        batch_size: BatchSize,
        manager: ModelManager,
        *,
        fill: bool = False,
        memory: DeviceMemory | None = None,
    ) -> None:
        if batch_size != "auto" and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self._asked = batch_size
        self._manager = manager
        self._fill = fill
        self._memory = memory or DeviceMemory(manager.device)
        self._sizes: dict[BatchKey, int] = {}
        self._limits: set[BatchKey] = set()

    def size(self, key: BatchKey) -> int:
        """Pictures in the next full batch of that kind."""
        if key not in self._sizes:
            self._sizes[key] = first_size(self._asked, self._manager, key.size)
        return self._sizes[key]

    def batches(self, trials: Sequence[Trial]) -> Iterator[Batch]:
        """All trials in batches, as `plan_batches` has them; make each one inside of `learning`."""
        return _in_turn([(group, self._of(group)) for group in _grouped(trials)])

    def _of(self, group: Batch) -> Iterator[Batch]:
        rest = group.trials
        while rest:
            size = self.size(group.key)
            for batch in _divided(replace(group, trials=rest), size):
                yield batch
                rest = rest[len(batch.trials) :]
                if self.size(group.key) != size:
                    break

    def filled(self, batch: Batch) -> Batch:
        """The batch as it is made: with copies of its last trial at the end where it is filled."""
        copies = self.size(batch.key) - len(batch.trials) if self._fill else 0
        return replace(batch, trials=batch.trials + batch.trials[-1:] * copies)

    @contextmanager
    def learning(self, batch: Batch) -> Iterator[list[SampleResult]]:
        """Around the making of a batch; the caller puts its results into the list."""
        results: list[SampleResult] = []
        measures = self._asked == "auto" and self._memory.measures
        before = self._memory.reset() if measures else 0
        yield results
        self._learn(batch, results)
        if measures and results:
            self._grow(batch, self._memory.peak() - before)

    def _learn(self, batch: Batch, results: Sequence[SampleResult]) -> None:
        made = [r.made_by for r in results if is_full_record(r.made_by)]
        if not made:
            return
        fits = max(int(record["batch_size"]) for record in made)
        if fits < self.size(batch.key):
            self._sizes[batch.key] = fits
            self._limits.add(batch.key)
            log.warning("memory is short: %s at a time from now on", _pictures(fits))

    def _grow(self, batch: Batch, taken: int) -> None:
        key, size, made = batch.key, self.size(batch.key), len(batch.trials)
        if key in self._limits or taken <= 0:
            return
        each = taken / made
        fits = max(1, min(int(_SHARE * self._memory.free() / each), MOST))
        grown = min(fits, max(size, _GROWTH * made))
        if grown != size:
            self._sizes[key] = grown
            log.info("%s at a time from now on: each takes %.2f GB", _pictures(grown), each / 1e9)


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"
