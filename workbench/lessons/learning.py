"""Training in a lesson: the real trainer on scenes of the embedded world, watched."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.controls import get_control
from workbench.families import Runtime
from workbench.families.manager import ModelManager
from workbench.images import read_image
from workbench.lessons.figures import learning_figure
from workbench.study.canonical import short_hash
from workbench.training import trainer
from workbench.training.beside import BESIDE, Noising
from workbench.training.curves import learning_table
from workbench.training.examples import PAPERDOLL, Prepared, read_examples
from workbench.training.loop import StepDraws
from workbench.training.trainer import ControlNetTraining, train_any
from workbench.training.validation import Validation

SHORT = "WORKBENCH_SHORT_LESSONS"
"""Environment variable: where it is set, a training of a lesson takes a few steps only."""


@dataclass(frozen=True)
class Training:
    """What a ControlNet of a lesson learns, and for how long.

    control: the control type. steps: optimiser steps, each on a batch of `batch` pictures.
    every: steps between two looks. scenes: how many pictures there are to learn from.
    drop: share of the prompts that are replaced by the empty one. rate: the learning rate.
    held: how many other pictures are looked at, each drawn in `look_steps` denoising steps.
    reader: weight of the objective that helps the condition encoder; see `ControlNetTraining`.
    """

    control: str = "depth"
    steps: int = 90
    every: int = 10
    scenes: int = 200
    batch: int = 8
    drop: float = 0.5
    rate: float = 1e-3
    held: int = 8
    look_steps: int = 10
    reader: float = 0.05

    def asked(self, out: Path) -> ControlNetTraining:
        """The same for the trainer, as `workbench train controlnet` would ask.

        Maps and latents lie beside `out`, as all trainings of a lesson learn from the same scenes.
        """
        return ControlNetTraining(
            PAPERDOLL,
            self.control,
            PAPERDOLL,
            out,
            device="cpu",
            steps=self.steps,
            batch_size=self.batch,
            rate=self.rate,
            warm_up=20,
            drop=self.drop,
            validate_every=self.every,
            save_every=max(1, self.steps // 4),
            scenes=self.scenes,
            held=self.held,
            look_steps=self.look_steps,
            reader=self.reader,
            cache=out.parent / _PICTURES,
            log_every=max(1, self.steps // 30),
        )


_BRIEF: dict[str, Any] = {"steps": 2, "every": 2, "scenes": 8, "batch": 2, "held": 2}
_PICTURES = "lesson-3-scenes"
_REDRAW = 3.0
"""Seconds between two figures of a training that goes on."""


@dataclass(frozen=True, eq=False)
class Learnt:
    """A training so far, read from its folder.

    training: what was asked for. folder: of the trainer. steps: how many were taken.
    """

    training: Training
    folder: Path
    steps: int

    @cached_property
    def log(self) -> pd.DataFrame:
        """Columns step, loss (mean since the last line), and the figures of the looks."""
        path = self.folder / trainer.CURVE
        return pd.read_csv(path) if path.is_file() else pd.DataFrame({"step": [], "loss": []})

    @cached_property
    def looks(self) -> pd.DataFrame:
        """A row for each look and picture: step, picture, adherence, value, chance, ceiling."""
        found = sorted((self.folder / "validation").glob("step-*.csv"))
        tables = [pd.read_csv(path).assign(step=int(path.stem.split("-")[1])) for path in found]
        columns = ["step", "picture", "adherence"]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)

    def picture(self, step: int, place: int = 0) -> dict[str, np.ndarray]:
        """One of the fixed pictures at a look: its source, its map, and what was drawn."""
        sheet = read_image(self.folder / "validation" / f"step-{step:06d}.png")
        side = sheet.shape[0] // 3
        column = sheet[:, place * side : (place + 1) * side]
        names = ("source", "map", f"drawn after step {step}")
        return {name: column[row * side : (row + 1) * side] for row, name in enumerate(names)}

    def controlnet(self) -> Any:
        """What was learnt, as diffusers loads it."""
        from diffusers import ControlNetModel

        return ControlNetModel.from_pretrained(self.folder / trainer.RESULT).eval()

    def follows(self, prompt: str) -> pd.DataFrame:
        """How well what was learnt obeys under one prompt in the place of the captions.

        A row for each of the pictures that are looked at, with the columns of `looks` but step.
        """
        folder = self.folder / f"validation-{short_hash(prompt)}"
        asked = self.training
        found = _validation(asked.control, asked.scenes, asked.held, asked.look_steps)
        found.under(prompt, folder)(self.controlnet(), self.steps, CancelToken())
        return pd.read_csv(folder / f"step-{self.steps:06d}.csv")


def learn(
    training: Training,
    folder: str | Path,
    show: Callable[[Figure], None] = lambda figure: None,
) -> Learnt:
    """Train a ControlNet from zero by the project's own trainer, or go on where it was stopped.

    Where the environment variable WORKBENCH_SHORT_LESSONS is set it takes two steps only, in a
    folder of its own: enough to see that everything works, too few to learn anything.

    Args:
        training: what is learnt. folder: where it is written; a finished one is not trained again.
        show: called now and then, and at the end, with a figure of what is learnt so far, as
            `wb.redrawn()` shows it.
    """
    folder = Path(folder)
    if os.environ.get(SHORT):
        training, folder = replace(training, **_BRIEF), folder.with_name(f"{folder.name}-short")
    steps, drawn = 0, -_REDRAW

    def told(progress: trainer.TrainingProgress) -> None:
        nonlocal steps
        steps = progress.done if progress.phase == "training" else steps

    def wrote(_: str) -> None:
        nonlocal drawn
        if time.monotonic() - drawn > _REDRAW:
            show(_drawn(Learnt(training, folder, steps)))
            drawn = time.monotonic()

    done = train_any(training.asked(folder), log=wrote, show=told)
    found = Learnt(training, folder, done.step)
    show(_drawn(found))
    return found


def longer_training(control: str) -> pd.DataFrame:
    """The training of the embedded family's own ControlNet: steps and adherence, from zero.

    Its batches are of 32 pictures, of 8,000 scenes. Empty where it began with another ControlNet.
    """
    from workbench.paths import models_dir

    table = learning_table(models_dir() / PAPERDOLL)
    mine = table[(table["control"] == control) & (table["go"] == 0) & (table["start"] == "")]
    return mine[["step", "adherence"]].reset_index(drop=True)


def dropped(captions: Sequence[str], share: float, *, seed: int = 0) -> list[str]:
    """The captions, each replaced by the empty prompt with this probability."""
    return trainer.dropped(captions, share, np.random.default_rng(seed))


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch of the objective, as the trainer makes it.

    z0: latents of the pictures, N×4×16×16. eps: the noise. t: time steps (N). kept: ᾱ, the share of
    the signal that is kept at t, N×1×1×1. zt: what the network sees. target: what it shall predict.
    text: the prompts c_t, half of them dropped. predicted, without: what the base model predicts
    with an untrained ControlNet, and without any.
    """

    z0: Tensor
    eps: Tensor
    t: Tensor
    kept: Tensor
    zt: Tensor
    target: Tensor
    text: list[str]
    predicted: Tensor
    without: Tensor


@torch.no_grad()
def batch(training: Training | None = None, *, seed: int = 0) -> Batch:
    """Make one batch of the objective beside an untrained ControlNet."""
    asked, manager = training or Training(), _manager()
    examples = read_examples(PAPERDOLL, asked.batch, seed)[0]
    draws = StepDraws.of(seed, 0)
    text = trainer.dropped([one.caption for one in examples], asked.drop, draws.numpy)
    pictures = [one.read(manager.family.resolution) for one in examples]
    control = get_control(asked.control)
    settings = control.settings(manager.family.settings_for(asked.control))
    made = control.extract(pictures, settings, manager.networks())
    noising = Noising(manager.pipeline(None).scheduler.config)
    z0 = _latents(manager, pictures)
    state = draws.torch.get_state()
    zt, t, target = noising(z0, draws)
    eps = torch.randn(z0.shape, generator=draws.torch.set_state(state))
    beside = BESIDE["unet"](manager)
    net = beside.new_net(0, checkpointing=False)
    maps = np.stack([one.picture for one in made])
    kept = manager.pipeline(None).scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
    return Batch(
        z0, eps, t, kept, zt, target, text,
        predicted=beside.prediction(net, zt, t, text, maps),
        without=beside.denoiser(zt, t, beside.text(text)[0]).sample,
    )  # fmt: skip


def _latents(manager: ModelManager, pictures: Sequence[np.ndarray]) -> Tensor:
    from workbench.families.runtime import encode, scaled

    vae = manager.pipeline(None).vae
    signal = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
    return scaled(vae, encode(vae, signal))


@cache
def _validation(control: str, scenes: int, held: int, steps: int) -> Validation:
    """The looks of a lesson's training, whose maps and references are made once."""
    examples, manager = read_examples(PAPERDOLL, scenes, 0, held)[1], _manager()
    settings = get_control(control).settings(manager.family.settings_for(control))
    nowhere = Path()  # every look is given a folder
    prepared = Prepared(manager, nowhere, control, settings)
    return Validation(manager, control, settings, examples, prepared, nowhere, steps)


@cache
def _manager() -> ModelManager:
    """A manager for training alone, as ControlNets in training take the places of its own."""
    return ModelManager(PAPERDOLL, runtime=Runtime(attention="eager"))


def _drawn(found: Learnt) -> Figure:
    looks = found.looks["step"]
    pictures = found.picture(int(looks.max())) if len(looks) else {}
    return learning_figure(found.log, pictures)
