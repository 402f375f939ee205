"""Making pictures for trials, many at once, through the stock diffusers pipelines."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.controls import ControlMap, MapKey
from workbench.families.hardware import card
from workbench.families.manager import ModelManager
from workbench.families.runtime import attention_kernel, decode, unscaled
from workbench.families.safety import BLOCKED
from workbench.generation.batching import Batch, BatchSize, BatchSizer
from workbench.generation.checks import NOT_A_NUMBER, check_sample
from workbench.generation.encoding import prompt_arguments
from workbench.generation.events import SampleResult, Step, StepCallback
from workbench.generation.recovery import (
    CallbackError,
    FailureBudget,
    GenerationError,
    free_memory,
    reason_of,
)
from workbench.generation.schedulers import make_scheduler
from workbench.generation.steering import controlnet_names, steer
from workbench.study import Trial

log = logging.getLogger(__name__)


def generate(
    trials: Sequence[Trial],
    maps: Mapping[MapKey, ControlMap],
    manager: ModelManager,
    *,
    batch_size: BatchSize | BatchSizer = 16,
    on_step: StepCallback | None = None,
    cancel: CancelToken | None = None,
    failures: FailureBudget | None = None,
) -> Iterator[list[SampleResult]]:
    """Make one sample for each trial, and yield each batch of them as soon as it is finished.

    Trials of one batch share base model, control types, steps, guidance scale, scheduler, start,
    end and size; prompts, sources, scales and seeds may differ. Trials of two controls run through
    diffusers' `MultiControlNetModel`, which adds up what the ControlNets say. A sample depends on
    its batch only through rounding (within 2/255 in float32), and only on the batch's size: its
    noise comes from its own CPU generator. The next batch is begun when it is asked for. Batches
    come in the order of `plan_batches`, not of the trials.

    A batch that fails, for want of memory or by any other error, is tried in halves; `made_by` then
    says so under "fallback", and where memory was short the next batches are no larger than what
    came out. A trial that fails alone comes back with its reason and may be tried again later
    (`made_by["retry"]`). Where the manager checks safety, a picture that its checker blocks is a
    failed trial, too.

    Args:
        trials: of the manager's family.
        maps: the control map of every trial's controls, by `Trial.map_keys`.
        manager: models; those of other base models are taken from `manager.for_base`.
        batch_size: pictures at once; with "auto" it is found from the memory that the first
            batches take. A `BatchSizer` goes on with what it learned in earlier calls, and may
            fill batches with copies.
        on_step: called after each denoising step. An exception in it ends the iteration.
        cancel: after `cancel.cancel()`, from any thread, the batch at work is given up at its next
            step, nothing of it is yielded, and the iteration ends.
        failures: how many of each kind may fail; one of its own for this call if None. Pictures of
            a kind that was given up are failed trials, too; where nothing at all comes out, the
            error is raised.

    Raises:
        GenerationError: before the first batch if a control map is missing or has the wrong size;
            later when memory does not suffice for one picture.
        ValueError: a trial of another family, or a batch size below 1.
    """
    _check(trials, maps, manager)
    sizer = batch_size
    if not isinstance(sizer, BatchSizer):
        sizer = BatchSizer(sizer, manager)
    failures = failures or FailureBudget(len(trials))
    return _Call(maps, manager, sizer, on_step, cancel or CancelToken(), failures).batches(trials)


@dataclass
class _Call:
    """One call of `generate`: what all its batches share."""

    maps: Mapping[MapKey, ControlMap]
    manager: ModelManager
    sizer: BatchSizer
    on_step: StepCallback | None
    cancel: CancelToken
    failures: FailureBudget

    def batches(self, trials: Sequence[Trial]) -> Iterator[list[SampleResult]]:
        for batch in self.sizer.batches(trials):
            base = self.manager.for_base(batch.key.base)
            filled = self.sizer.filled(batch)
            try:
                with self.sizer.learning(filled) as results:
                    results += self.make(filled, base)
            except _CancelledError:
                return
            except CallbackError as carried:
                raise carried.error from None
            yield _without_blocked(results[: len(batch.trials)], base)

    def make(self, batch: Batch, manager: ModelManager, fallback: str = "") -> list[SampleResult]:
        """One batch, in halves if it fails; `fallback` says why it is smaller than was asked."""
        if self.cancel.cancelled:
            raise _CancelledError
        if given_up := self.failures.given_up.get(batch.key.kind, ""):
            return _failed(batch, given_up, _conditions(manager, 1))
        started = time.perf_counter()
        watch = _Watch(batch, self.on_step, self.cancel)
        size = len(batch.trials)
        made_by = _conditions(manager, size)
        if fallback:
            made_by["fallback"] = fallback
        reason = ""
        try:
            pixels, names = _run_pipeline(batch, self.maps, manager, watch)
        except (_CancelledError, CallbackError):
            raise
        except Exception as error:
            reason = reason_of(error)
            if size == 1:
                self.failures.spend(batch.key.kind, error)
                log.warning(
                    "trial %s cannot be made: %s", batch.trials[0].id, reason, exc_info=True
                )
        # Outside of the handler, or the error would keep the memory of the failed call.
        if reason and size == 1:
            return _failed(batch, reason, made_by)
        if reason:
            log.warning("a batch of %d pictures failed (%s): trying it in two halves", size, reason)
            free_memory()
            halves = (batch.trials[: size // 2], batch.trials[size // 2 :])
            why = fallback or f"{reason} in a batch of {size}"
            return [r for half in halves for r in self.make(Batch(batch.key, half), manager, why)]
        if self.cancel.cancelled:
            raise _CancelledError
        self.failures.succeeded(batch.key.kind)
        finite = [True] * size if watch.finite is None else watch.finite.tolist()
        made_by["runtime"] = manager.in_force[names]
        made_by["seconds"] = round((time.perf_counter() - started) / size, 6)
        return [
            _result(trial, picture, bool(sound), manager, made_by)
            for trial, picture, sound in zip(batch.trials, pixels, finite, strict=True)
        ]


def _conditions(manager: ModelManager, size: int) -> dict[str, Any]:
    """How pictures are made here, for their records."""
    return {
        "batch_size": size,
        "device": manager.device,
        **card(manager.device),
        "dtype": manager.dtype,
        "threads": torch.get_num_threads(),
    }


def _failed(batch: Batch, reason: str, made_by: dict[str, Any]) -> list[SampleResult]:
    """Trials that failed by an error; the next start tries them again."""
    return [SampleResult(trial, None, reason, {**made_by, "retry": True}) for trial in batch.trials]


class _CancelledError(Exception):
    """Leaves a pipeline at once: nothing half-made is decoded, let alone returned."""


@dataclass
class _Watch:
    """The callback of one pipeline call: reports steps, and stops them."""

    batch: Batch
    on_step: StepCallback | None
    cancel: CancelToken
    finite: Tensor | None = None

    def __call__(
        self, pipeline: Any, index: int, timestep: Any, values: dict[str, Any]
    ) -> dict[str, Any]:
        latents = values["latents"]
        total = int(pipeline.num_timesteps)
        if self.on_step is not None:

            def preview(i: int) -> np.ndarray:
                return _preview(pipeline, latents[i : i + 1], timestep)

            try:
                self.on_step(Step(self.batch.trials, index + 1, total, preview))
            except Exception as error:
                raise CallbackError(error) from error
        if self.cancel.cancelled:
            raise _CancelledError
        if index + 1 == total:
            self.finite = torch.isfinite(latents).flatten(1).all(1)
        return {}


def _run_pipeline(
    batch: Batch, maps: Mapping[MapKey, ControlMap], manager: ModelManager, watch: _Watch
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Call the stock pipeline for one batch.

    Returns float32 B×H×W×3 (1.0 is white, NaN stays NaN) and the names of its ControlNets.
    """
    key, trials = batch.key, batch.trials
    names = controlnet_names(trials[0], manager.family)
    pipeline = manager.pipeline(*names)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(attention_kernel(manager.runtime))
        arguments: dict[str, Any] = prompt_arguments([trial.prompt for trial in trials], manager)
        if key.guidance_scale > 1:
            negative = [trial.negative_prompt for trial in trials]
            arguments |= prompt_arguments(negative, manager, negative=True)
        if names:
            pictures = [[maps[k].picture for k in trial.map_keys] for trial in trials]
            arguments |= steer(trials, names, pictures, manager, stack)
            arguments |= {
                "control_guidance_start": key.control_start,
                "control_guidance_end": key.control_end,
            }
        stack.callback(setattr, pipeline, "scheduler", pipeline.scheduler)
        pipeline.scheduler = make_scheduler(key.scheduler, pipeline.scheduler.config)
        samples = pipeline(
            **arguments,
            height=key.size,
            width=key.size,
            num_inference_steps=key.steps,
            guidance_scale=key.guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(trial.seed) for trial in trials],
            output_type="pt",
            return_dict=False,
            callback_on_step_end=watch,
        )[0]
        return np.asarray(samples.float().permute(0, 2, 3, 1).cpu().numpy()), names


def _result(
    trial: Trial, picture: np.ndarray, sound: bool, manager: ModelManager, made_by: dict[str, Any]
) -> SampleResult:
    reason = check_sample(picture) if sound else NOT_A_NUMBER
    count = manager.token_count(trial.prompt)
    image = None if reason else np.rint(picture * 255).astype(np.uint8)
    extra = {"tokens": count.tokens, "truncated": bool(count.truncated)}
    return SampleResult(trial, image, reason, {**made_by, **extra})


def _without_blocked(results: list[SampleResult], manager: ModelManager) -> list[SampleResult]:
    """The results, of which those fail that the base model's own safety checker blocks."""
    pictures = [result.image for result in results if result.image is not None]
    if not manager.checks_safety or not pictures:
        return results
    blocked = iter(manager.safety_checker().blocked(pictures))
    return [
        replace(result, image=None, failed_reason=BLOCKED)
        if result.image is not None and next(blocked)
        else result
        for result in results
    ]


def _preview(pipeline: Any, latents: Tensor, timestep: Any) -> np.ndarray:
    with torch.inference_mode():
        if hasattr(pipeline.scheduler, "scale_model_input"):
            # Some schedulers keep latents blown up by their noise level; this undoes it.
            latents = pipeline.scheduler.scale_model_input(latents, timestep)
        decoded = decode(pipeline.vae, unscaled(pipeline.vae, latents))
        pixels = pipeline.image_processor.postprocess(decoded, output_type="np")[0]
    return np.rint(np.nan_to_num(pixels) * 255).astype(np.uint8)


def _check(
    trials: Sequence[Trial], maps: Mapping[MapKey, ControlMap], manager: ModelManager
) -> None:
    for trial in trials:
        if trial.family != manager.family.name:
            raise ValueError(
                f"trial {trial.id} is for the family {trial.family}, not {manager.family.name}"
            )
        for key in trial.map_keys:
            control_map = maps.get(key)
            if control_map is None:
                raise GenerationError(f"there is no {key[1]} map for trial {trial.id}")
            if control_map.picture.shape[:2] != (trial.size, trial.size):
                height, width = control_map.picture.shape[:2]
                raise GenerationError(
                    f"the {key[1]} map of trial {trial.id} has {width} × {height} pixels, "
                    f"not {trial.size} × {trial.size}"
                )
