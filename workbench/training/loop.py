"""The training loop all stages share: seeded, logged, resumable, with a running average."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from workbench.training.checkpoint import load_checkpoint, save_checkpoint

Log = Callable[[str], None]
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
        measure: takes the (averaged) module, gives named figures.
    """

    steps: frozenset[int]
    measure: Callable[[nn.Module], Mapping[str, float]]


@dataclass
class Fit:
    """What a stage has come to: the weights to keep and the log of its losses."""

    module: nn.Module
    step: int
    finished: bool
    history: list[dict[str, float]] = field(default_factory=list)


def fit(
    module: nn.Module,
    loss_of: Callable[[StepDraws], Mapping[str, Tensor]],
    recipe: Recipe,
    checkpoint: Path,
    log: Log,
    *,
    minutes: float | None = None,
    watch: Watch | None = None,
) -> Fit:
    """Train the parameters of ``module`` that require gradients.

    Args:
        module: holds all that learns; its state is what the checkpoint keeps.
        loss_of: gives named losses of a step; they are summed for the gradient. Names that
            start with ``_`` are logged only.
        recipe: rates, steps, seed.
        checkpoint: file of the running state; resumed from when it exists.
        log: takes one line at a time.
        minutes: stop early, resumably, after this much time.
        watch: asked at chosen steps how good the (averaged) module is; goes into the history.

    Returns:
        The averaged module where the recipe keeps an average, else the module itself.

    Raises:
        FloatingPointError: if a loss stops being finite; the last checkpoint stays.
    """
    learning = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        learning, lr=recipe.rate, weight_decay=recipe.decay, betas=recipe.betas, fused=True
    )
    average = copy.deepcopy(module).requires_grad_(False) if recipe.average else None
    step, history = 0, []
    if checkpoint.exists():
        step, notes = load_checkpoint(checkpoint, module, optimiser, average)
        history = list(notes["history"])  # type: ignore[call-overload]
        log(f"resumed at step {step} of {recipe.steps}")
    watch = watch and replace(watch, steps=watch.steps | {recipe.steps})
    pairs = _pairs(average, module) if average is not None else ([], [])
    started = last_save = time.monotonic()
    recent: dict[str, list[float]] = {}
    first = step
    if step == 0:
        _look(watch, 0, average or module, history, log)
    while step < recipe.steps and not _over(started, minutes):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate_at(step)
        with _precision(recipe):
            losses = loss_of(StepDraws.of(recipe.seed, step))
        total = torch.stack([v for k, v in losses.items() if not k.startswith("_")]).sum()
        optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        step += 1
        if average is not None:
            pace = min(recipe.average, (1 + step) / (10 + step))
            torch._foreach_lerp_(*pairs, 1 - pace)
        for name, value in losses.items():
            recent.setdefault(name, []).append(float(value.detach()))
        if step % LOG_STEPS == 0 or step == recipe.steps:
            means = _means(recent, step)
            recent.clear()
            history.append({"step": step, **means})
            pace_now = (step - first) / (time.monotonic() - started)
            left = (recipe.steps - step) / pace_now / 60
            speed = f"{pace_now:.2f} steps/s  {left:.1f} min"
            log(f"step {step}/{recipe.steps}  {_text(means)}  {speed}")
        _look(watch, step, average or module, history, log)
        if time.monotonic() - last_save > SAVE_SECONDS:
            save_checkpoint(checkpoint, step, module, optimiser, average, {"history": history})
            last_save = time.monotonic()
    if step > first:
        save_checkpoint(checkpoint, step, module, optimiser, average, {"history": history})
    return Fit(average or module, step, step >= recipe.steps, history)


def _look(
    watch: Watch | None,
    step: int,
    module: nn.Module,
    history: list[dict[str, float]],
    log: Log,
) -> None:
    if watch is None or step not in watch.steps:
        return
    figures = dict(watch.measure(module))
    history.append({"step": step, **figures})
    log(f"step {step}: {_text(figures)}")


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


def _over(started: float, minutes: float | None) -> bool:
    return minutes is not None and time.monotonic() - started > 60 * minutes


def _precision(recipe: Recipe) -> contextlib.AbstractContextManager[object]:
    on = recipe.autocast if recipe.autocast is not None else bfloat16_pays()
    return torch.autocast("cpu", torch.bfloat16, enabled=on)


def bfloat16_pays() -> bool:
    """Whether this processor multiplies bfloat16 itself (AMX tiles or AVX-512 BF16)."""
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in probes)
