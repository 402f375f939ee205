"""Protects: batches take the size that memory allows, never in silence, and pictures do not depend
on it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from samples import make_samples
from tiny_models import FAMILY, make_maps, make_trial

from workbench.families.manager import ModelManager
from workbench.generation import SampleResult
from workbench.generation.batching import MOST, BatchSizer, DeviceMemory, first_size

MAPS = make_maps()
TRIALS = [make_trial(seed=i) for i in range(20)]


@contextmanager
def room_for(manager: ModelManager, pictures: int, tries: list[int]) -> Iterator[None]:
    """A device on which more than so many pictures at once run out of memory."""

    def crowded(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        tries.append(len(inputs[0]) // 2)
        if tries[-1] > pictures:
            raise torch.OutOfMemoryError("no room")

    handle = manager.pipeline("depth").unet.register_forward_pre_hook(crowded)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("asked", ["auto", 8])
def test_a_full_memory_is_met_once_and_then_remembered(
    warm_manager: ModelManager, caplog: pytest.LogCaptureFixture, asked: int
) -> None:
    alone = {r.trial.id: r.image for r in make_samples(TRIALS, MAPS, warm_manager, batch_size=1)}
    tries: list[int] = []
    with room_for(warm_manager, 2, tries), caplog.at_level(logging.WARNING):
        made = make_samples(TRIALS, MAPS, warm_manager, batch_size=asked)
    assert [result.trial.seed for result in made] == list(range(20))
    first = tries[0]
    assert first > 2, "the test wants a first batch that is too large"
    assert tries.count(first) == 1, "never tried again"
    assert {result.made_by["batch_size"] for result in made} <= {1, 2}
    fallen = [result for result in made if "fallback" in result.made_by]
    assert fallen and fallen[0].made_by["fallback"] == f"out of memory in a batch of {first}"
    assert len(fallen) < len(made), "later batches are planned smaller, they do not fall back"
    said = " ".join(record.message for record in caplog.records)
    assert "trying it in two halves" in said and "at a time from now on" in said
    for result in made:
        wanted = alone[result.trial.id]
        assert wanted is not None and result.image is not None
        assert np.abs(result.image.astype(int) - wanted).max() <= 2


def test_another_error_than_memory_does_not_shrink_the_batches_that_follow(
    warm_manager: ModelManager,
) -> None:
    tries: list[int] = []

    def odd(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        tries.append(len(inputs[0]) // 2)
        if len(tries) == 1:
            raise RuntimeError("a fault")

    handle = warm_manager.pipeline("depth").unet.register_forward_pre_hook(odd)
    try:
        made = make_samples(TRIALS[:8], MAPS, warm_manager, batch_size=4)
    finally:
        handle.remove()
    assert [result.made_by["batch_size"] for result in made] == [2] * 4 + [4] * 4


@pytest.mark.parametrize(
    ("side", "device", "size"),
    [(128, "cpu", 16), (256, "cpu", 4), (512, "cpu", 1), (512, "cuda", 4), (1024, "cuda:1", 1)],
)
def test_the_first_batch_suits_the_device(side: int, device: str, size: int) -> None:
    manager = ModelManager(FAMILY, device=device)
    assert first_size("auto", manager, side) == size
    assert first_size(7, manager, side) == 7


@dataclass
class FakeMemory(DeviceMemory):
    """A device of `total` bytes on which each picture takes `each` bytes."""

    total: int
    each: int
    measures: bool = True
    made: list[int] = field(default_factory=list)

    def reset(self) -> int:
        return 100

    def peak(self) -> int:
        return 100 + self.each * self.made[-1]

    def free(self) -> int:
        return self.total


def sizes(memory: FakeMemory, trials: int, asked: int | str = "auto") -> list[int]:
    """The batches that are planned on such a device."""
    sizer = BatchSizer(asked, ModelManager(FAMILY, device="cuda"), memory=memory)  # type: ignore[arg-type]
    trial = make_trial(size=512)
    for batch in sizer.batches([trial] * trials):
        with sizer.learning(batch) as results:
            memory.made.append(len(batch.trials))
            by = {"batch_size": len(batch.trials)}
            results += [SampleResult(one, None, "", by) for one in batch.trials]
    assert sum(memory.made) == trials
    return memory.made


def test_batches_grow_to_what_the_measured_memory_allows() -> None:
    made = sizes(FakeMemory(total=1000, each=40), 104)
    assert made[0] == 4 and 16 < max(made) <= int(0.85 * 1000 / 40)
    assert made[1] <= 4 * made[0], "by steps"


def test_batches_shrink_before_they_fail() -> None:
    made = sizes(FakeMemory(total=1000, each=400), 12)
    assert made[0] == 4 and set(made[1:]) == {2}
    assert set(sizes(FakeMemory(total=1000, each=4000), 9)[1:]) == {1}


def test_batches_do_not_grow_without_end() -> None:
    assert max(sizes(FakeMemory(total=10**9, each=1), 500)) <= MOST


def test_a_number_that_was_asked_for_is_kept_whatever_memory_there_is() -> None:
    assert set(sizes(FakeMemory(total=10**9, each=1), 20, asked=5)) == {5}


def test_a_cpu_does_not_claim_to_measure() -> None:
    assert not DeviceMemory("cpu").measures
