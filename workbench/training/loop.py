"""The training loop all stages share: seeded, logged, resumable, with a running average."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.cancel import CancelToken
from workbench.training.checkpoint import load_checkpoint, save_checkpoint

Log = Callable[[str], None]
History = list[dict[str, float]]
LOG_STEPS = 50
"""Steps between two lines of the log."""
SAVE_SECONDS = 120.0
"""How often the checkpoint is written."""


@dataclass(frozen=True)
class Recipe:
    """How a stage learns.

    Attributes:
        steps: optimiser steps of the whole stage; the rate follows a cosine over them.
        rate: highest learning rate; ``last_rate`` is the share left at the end.
        warm_up: steps over which the rate rises from zero.
        decay: AdamW weight decay.
        average: decay of the running average of the weights; 0 keeps none.
        seed: names every random draw of the stage.
        autocast: run the forward pass in bfloat16 (None: where the processor is built for it).
        accumulate: losses whose gradients are averaged for one step.
    """

    steps: int
    rate: float
    last_rate: float = 0.02
    warm_up: int = 100
    decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    average: float = 0.0
    seed: int = 0
    autocast: bool | None = None
    accumulate: int = 1

    def rate_at(self, step: int) -> float:
        """The learning rate of a step: linear warm-up, then a cosine."""
        share = min(step / max(self.steps, 1), 1.0)
        wave = self.last_rate + (1 - self.last_rate) * 0.5 * (1 + math.cos(math.pi * share))
        return self.rate * wave * min(1.0, (step + 1) / max(self.warm_up, 1))


@dataclass
class StepDraws:
    """The random sources of one step, the same whenever and wherever the step is run."""

    step: int
    numpy: np.random.Generator
    torch: torch.Generator

    @classmethod
    def of(cls, seed: int, step: int) -> StepDraws:
        """The draws of step ``step`` under a stage's seed."""
        words = np.random.SeedSequence([seed, step])
        generator = torch.Generator().manual_seed(int(words.generate_state(1, np.uint64)[0] >> 1))
        return cls(step, np.random.default_rng(words), generator)


@dataclass(frozen=True)
class Watch:
    """A look at what the weights can do, taken at chosen steps.

    Attributes:
        steps: when to look, besides after the last step; 0 is before the first.
        measure: takes the (averaged) module, gives named figures; none where it was cancelled.
    """

    steps: frozenset[int]
    measure: Callable[[nn.Module], Mapping[str, float]]


@dataclass(frozen=True)
class Pace:
    """On what a training computes, when it is written down, and what ends it early.

    Attributes:
        minutes: stop, resumably, after this much time.
        save_steps: steps between two checkpoints; None writes one every `SAVE_SECONDS`.
        log_steps: steps between two lines of the log; None writes one every `LOG_STEPS`.
        cancel: stops it, resumably, after the step at work.
        accelerator: Hugging Face's `Accelerator`, for the device and mixed precision; None computes
            on the CPU, as the recipe says.
        tell: called before the first and after each step with the steps done and the seconds left
            (NaN while unknown).
        keep: called with the whole history whenever something was added to it.
    """

    minutes: float | None = None
    save_steps: int | None = None
    log_steps: int | None = None
    cancel: CancelToken = field(default_factory=CancelToken)
    accelerator: Any = None
    tell: Callable[[int, float], None] = lambda step, left: None
    keep: Callable[[History], None] = lambda history: None


@dataclass
class Fit:
    """What a stage has come to: the weights to keep and the log of its losses."""

    module: nn.Module
    step: int
    finished: bool
    history: History = field(default_factory=list)


def fit(
    module: nn.Module,
    loss_of: Callable[[StepDraws], Mapping[str, Tensor]],
    recipe: Recipe,
    checkpoint: Path,
    log: Log,
    *,
    pace: Pace | None = None,
    watch: Watch | None = None,
) -> Fit:
    """Train the parameters of ``module`` that require gradients.

    Args:
        module: holds all that learns; its state is what the checkpoint keeps.
        loss_of: gives named losses of a step; they are summed for the gradient. Names that
            start with ``_`` are logged only. Where gradients are accumulated it is called several
            times with the same draws, which go on.
        recipe: rates, steps, seed.
        checkpoint: file of the running state; resumed from when it exists.
        log: takes one line at a time.
        pace: on what it computes, when it is written down, and what ends it early.
        watch: asked at chosen steps how good the (averaged) module is; goes into the history.

    Returns:
        The averaged module where the recipe keeps an average, else the module itself.

    Raises:
        FloatingPointError: if a loss stops being finite; the last checkpoint stays.
    """
    return _Fitting(module, recipe, checkpoint, log, pace or Pace(), watch).run(loss_of)


class _Processor:
    """What `fit` asks of an `Accelerator`, without one."""

    scaler = None

    def __init__(self, autocast: bool | None) -> None:
        self._on = autocast if autocast is not None else bfloat16_pays()

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        return torch.autocast("cpu", torch.bfloat16, enabled=self._on)

    def prepare_optimizer(self, optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
        return optimiser

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def clip_grad_norm_(self, parameters: Sequence[nn.Parameter], most: float) -> None:
        nn.utils.clip_grad_norm_(parameters, most)


class _Fitting:
    """One call of `fit`: the running state, and what is done to it."""

    def __init__(
        self,
        module: nn.Module,
        recipe: Recipe,
        checkpoint: Path,
        log: Log,
        pace: Pace,
        watch: Watch | None,
    ) -> None:
        self.module, self.recipe, self.checkpoint = module, recipe, checkpoint
        self.log, self.pace, self.watch = log, pace, watch
        self.machine = pace.accelerator or _Processor(recipe.autocast)
        self.learning = [p for p in module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.learning, lr=recipe.rate, weight_decay=recipe.decay, betas=recipe.betas, fused=True
        )
        self.average = copy.deepcopy(module).requires_grad_(False) if recipe.average else None
        self.step, self.looked = 0, -1
        self.history: History = []
        self.recent: dict[str, list[float]] = {}
        if checkpoint.exists():
            self._resume()
        self.stepper = self.machine.prepare_optimizer(self.optimiser)
        self.first, self.unsaved = self.step, False
        self.pairs = _pairs(self.average, module) if self.average is not None else ([], [])
        self.started = self.last_save = time.monotonic()

    def run(self, loss_of: Callable[[StepDraws], Mapping[str, Tensor]]) -> Fit:
        """Take the steps that are left, or as many as time and patience allow."""
        self.pace.tell(self.step, math.nan)
        self._look()
        while self.step < self.recipe.steps and not self._over():
            self._take_step(loss_of)
            self._after_step()
        if self.unsaved:
            self._save()
        finished = self.step >= self.recipe.steps and not self.pace.cancel.cancelled
        return Fit(self.average or self.module, self.step, finished, self.history)

    def _take_step(self, loss_of: Callable[[StepDraws], Mapping[str, Tensor]]) -> None:
        recipe = self.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.rate_at(self.step)
        draws = StepDraws.of(recipe.seed, self.step)
        self.stepper.zero_grad()
        for _ in range(recipe.accumulate):
            with self.machine.autocast():
                losses = loss_of(draws)
            total = torch.stack([v for k, v in losses.items() if not k.startswith("_")]).sum()
            self.machine.backward(total / recipe.accumulate if recipe.accumulate > 1 else total)
            for name, value in losses.items():
                self.recent.setdefault(name, []).append(float(value.detach()))
        self.machine.clip_grad_norm_(self.learning, 1.0)
        self.stepper.step()
        self.step += 1
        self.unsaved = True
        if self.average is not None:
            pace = min(recipe.average, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(*self.pairs, 1 - pace)

    def _after_step(self) -> None:
        step, steps = self.step, self.recipe.steps
        now = (step - self.first) / (time.monotonic() - self.started)
        left = (steps - step) / now
        self.pace.tell(step, left)
        if step % (self.pace.log_steps or LOG_STEPS) == 0 or step == steps:
            means = _means(self.recent, step)
            self.recent.clear()
            self._add(means)
            speed = f"{now:.2f} steps/s  {left / 60:.1f} min"
            self.log(f"step {step}/{steps}  {_text(means)}  {speed}")
        self._look()
        every = self.pace.save_steps
        waited = time.monotonic() - self.last_save > SAVE_SECONDS
        if step % every == 0 if every else waited:
            self._save()

    def _look(self) -> None:
        """Ask the watch, unless this very step was looked at before the work was broken off."""
        if self.watch is None or self.looked == self.step:
            return
        if self.step not in self.watch.steps and self.step != self.recipe.steps:
            return
        figures = dict(self.watch.measure(self.average or self.module))
        if figures:
            self.looked = self.step
            self._add(figures)
            self.log(f"step {self.step}: {_text(figures)}")

    def _add(self, figures: Mapping[str, float]) -> None:
        self.history.append({"step": self.step, **figures})
        self.unsaved = True
        self.pace.keep(self.history)

    def _over(self) -> bool:
        minutes = self.pace.minutes
        late = minutes is not None and time.monotonic() - self.started > 60 * minutes
        return late or self.pace.cancel.cancelled

    def _save(self) -> None:
        notes: dict[str, object] = {
            "history": self.history,
            "looked": self.looked,
            "recent": self.recent,
        }
        if self.machine.scaler is not None:
            notes["scaler"] = self.machine.scaler.state_dict()
        save_checkpoint(
            self.checkpoint, self.step, self.module, self.optimiser, self.average, notes
        )
        self.unsaved, self.last_save = False, time.monotonic()

    def _resume(self) -> None:
        found = load_checkpoint(self.checkpoint, self.module, self.optimiser, self.average)
        self.step, notes = found[0], dict[str, Any](found[1])
        self.history = list(notes["history"])
        self.looked = notes.get("looked", self.step)  # older ones were written after the look
        self.recent = dict(notes.get("recent", {}))
        if self.machine.scaler is not None and "scaler" in notes:
            self.machine.scaler.load_state_dict(notes["scaler"])
        self.log(f"resumed at step {self.step} of {self.recipe.steps}")


def _means(recent: Mapping[str, Sequence[float]], step: int) -> dict[str, float]:
    """Each loss over the steps since the last line; FloatingPointError if one is not finite."""
    means = {name.lstrip("_"): float(np.mean(values)) for name, values in recent.items()}
    if not all(math.isfinite(value) for value in means.values()):
        raise FloatingPointError(f"loss is not finite at step {step}: {means}")
    return means


def _text(figures: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in figures.items())


def _pairs(average: nn.Module, module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    with torch.no_grad():
        return list(average.parameters()), [p.detach() for p in module.parameters()]


def bfloat16_pays() -> bool:
    """Whether this processor multiplies bfloat16 itself (AMX tiles or AVX-512 BF16)."""
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in probes)
