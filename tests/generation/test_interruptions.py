"""Protects: nothing half-made and nothing broken ever counts as a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from samples import make_samples
from tiny_models import make_maps, make_trial

from workbench.families.manager import ModelManager
from workbench.generation import CancelToken, GenerationError, Step, generate

MAPS = make_maps()
TRIALS = [make_trial(seed=i) for i in range(6)]


def test_a_cancelled_batch_yields_nothing_and_is_not_decoded(
    warm_manager: ModelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = CancelToken()
    decoded: list[int] = []
    steps: list[int] = []
    decode = warm_manager.pipeline("depth").vae.decode

    def counted(latents: torch.Tensor, **keywords: Any) -> Any:
        decoded.append(len(latents))
        return decode(latents, **keywords)

    def on_step(step: Step) -> None:
        steps.append(step.done)
        if step.trials[0].seed == 2 and step.done == 2:
            cancel.cancel()

    monkeypatch.setattr(warm_manager.pipeline("depth").vae, "decode", counted)
    results = make_samples(TRIALS, MAPS, warm_manager, batch_size=2, on_step=on_step, cancel=cancel)
    assert [result.trial.seed for result in results] == [0, 1]
    assert steps == [1, 2, 3, 4, 1, 2]
    assert decoded == [2]


def test_after_a_cancel_the_manager_works_as_before(warm_manager: ModelManager) -> None:
    (before,) = make_samples(TRIALS[:1], MAPS, warm_manager)
    cancel = CancelToken()
    gone = make_samples(
        TRIALS[:1], MAPS, warm_manager, on_step=lambda _: cancel.cancel(), cancel=cancel
    )
    assert gone == []
    (after,) = make_samples(TRIALS[:1], MAPS, warm_manager)
    assert before.image is not None
    assert after.image is not None
    assert (before.image == after.image).all()


def test_a_cancel_at_the_last_step_or_before_the_first_counts(warm_manager: ModelManager) -> None:
    late, early = CancelToken(), CancelToken()

    def at_the_end(step: Step) -> None:
        if step.done == step.total:
            late.cancel()

    assert make_samples(TRIALS, MAPS, warm_manager, on_step=at_the_end, cancel=late) == []
    early.cancel()
    assert make_samples(TRIALS, MAPS, warm_manager, cancel=early) == []


def test_a_cancel_between_two_batches_ends_after_the_finished_batch(
    warm_manager: ModelManager,
) -> None:
    cancel = CancelToken()
    seeds = []
    for batch in generate(TRIALS, MAPS, warm_manager, batch_size=3, cancel=cancel):
        seeds += [result.trial.seed for result in batch]
        cancel.cancel()
    assert seeds == [0, 1, 2]


def test_an_error_in_a_callback_reaches_the_caller(warm_manager: ModelManager) -> None:
    def fails(step: Step) -> None:
        raise RuntimeError("from the callback")

    with pytest.raises(RuntimeError, match="from the callback"):
        make_samples(TRIALS, MAPS, warm_manager, on_step=fails)
    assert len(make_samples(TRIALS[:1], MAPS, warm_manager)) == 1


@pytest.mark.parametrize(
    ("value", "reason"), [(float("nan"), "not numbers"), (-1.0, "solid"), (0.2, "solid")]
)
def test_a_broken_picture_fails_alone(
    warm_manager: ModelManager, monkeypatch: pytest.MonkeyPatch, value: float, reason: str
) -> None:
    vae = warm_manager.pipeline("depth").vae
    decode = vae.decode

    def broken(latents: torch.Tensor, **keywords: Any) -> Any:
        pictures = decode(latents, **keywords)[0].clone()
        pictures[1] = value
        return (pictures,)

    monkeypatch.setattr(vae, "decode", broken)
    results = make_samples(TRIALS[:3], MAPS, warm_manager)
    assert [bool(result.failed_reason) for result in results] == [False, True, False]
    assert reason in results[1].failed_reason
    assert results[1].image is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_latents_are_found_behind_a_forgiving_decoder(
    warm_manager: ModelManager, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    vae, unet = warm_manager.pipeline("depth").vae, warm_manager.pipeline("depth").unet
    noise = torch.rand(3, 3, 64, 64) * 2 - 1

    def overflow(module: Any, inputs: Any, output: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        changed = output[0].clone()
        changed[[0, 3]] = value  # the first sample, unconditional and conditional
        return (changed,)

    monkeypatch.setattr(vae, "decode", lambda latents, **_: (noise,))
    handle = unet.register_forward_hook(overflow)
    try:
        results = make_samples(TRIALS[:3], MAPS, warm_manager)
    finally:
        handle.remove()
    assert ["not numbers" in result.failed_reason for result in results] == [True, False, False]


def test_a_full_device_gets_smaller_batches(
    warm_manager: ModelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {r.trial.id: r.image for r in make_samples(TRIALS, MAPS, warm_manager)}
    unet = warm_manager.pipeline("depth").unet
    room = 4

    def crowded(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > room:
            raise torch.OutOfMemoryError("no room")

    handle = unet.register_forward_pre_hook(crowded)
    try:
        results = make_samples(TRIALS, MAPS, warm_manager)
        room = 1
        with pytest.raises(GenerationError, match="not enough memory") as caught:
            make_samples(TRIALS, MAPS, warm_manager)
        assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    finally:
        handle.remove()
    assert [result.trial.seed for result in results] == list(range(6))
    assert {result.made_by["batch_size"] for result in results} <= {1, 2}
    for result in results:
        picture = wanted[result.trial.id]
        assert picture is not None
        assert result.image is not None
        assert np.abs(result.image.astype(int) - picture).max() <= 2
