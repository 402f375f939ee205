"""Where a stage works, and under which limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from workbench.training.data import TRAIN_SEEDS, WorldData, world_data
from workbench.training.loop import Fit, Pace, Recipe, Watch, fit

_IMPROVED = 1_000
"""Added to a recipe's seed where finished weights are improved."""


@dataclass(frozen=True)
class TrainingContext:
    """Where a stage works.

    Attributes:
        work_dir: rendered scenes, checkpoints and logs (large, not kept in the repository).
        models_dir: the finished weights, as half-precision safetensors.
        minutes: stop each stage after this long, to be resumed.
        steps: overrides the recipe's steps.
        threads: processor threads to use.
        scenes: learn from only so many scenes (to try a stage out).
        improve: where there is no checkpoint, start from the finished weights in ``models_dir``
            at half the recipe's rate, not from nothing.
        start_from: a control type whose finished ControlNet the new one starts from. Copy and zero
            convolutions then know their work already; only the new map has to be learnt.
        seed: of the draws of scenes, prompts and noise. None: the recipe's own, and another one
            where finished weights are improved, so that they do not learn the same draws again.
    """

    work_dir: Path
    models_dir: Path
    minutes: float | None = None
    steps: int | None = None
    threads: int = 2
    scenes: int | None = None
    improve: bool = False
    start_from: str = ""
    seed: int | None = None

    def goes_on(self, stage: str) -> bool:
        """Whether a stage starts from its finished weights."""
        name, _, control = stage.partition(":")
        folders = {
            "unet": "base/unet",
            "controlnet": f"controlnet/{control}",
            "judge": "judge",
            "words": "words",
            "auditor": "auditor",
        }
        return self.improve and name in folders and (self.models_dir / folders[name]).is_dir()

    def seed_of(self, stage: str, recipe: Recipe) -> int:
        """The seed of a stage's draws."""
        if self.seed is not None:
            return self.seed
        return recipe.seed + _IMPROVED if self.goes_on(stage) else recipe.seed

    def data(self) -> WorldData:
        """The training scenes, rendered on first use."""
        return world_data(self.work_dir / "world", TRAIN_SEEDS[: self.scenes])

    def log(self, stage: str) -> Callable[[str], None]:
        """A function that prints a line and appends it to the stage's log file."""
        path = self.work_dir / f"{stage.replace(':', '-')}.log"
        path.parent.mkdir(parents=True, exist_ok=True)

        def write(line: str) -> None:
            text = f"{time.strftime('%H:%M:%S')} {stage}: {line}"
            print(text, flush=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")

        return write

    def fit(
        self,
        stage: str,
        module: torch.nn.Module,
        loss_of: Callable[..., object],
        recipe: Recipe,
        watch: Watch | None = None,
    ) -> Fit:
        """Run the shared loop under this context's limits."""
        name = stage.replace(":", "-")
        plan = replace(recipe, steps=self.steps or recipe.steps, seed=self.seed_of(stage, recipe))
        if self.goes_on(stage):
            plan = replace(plan, rate=plan.rate / 2)
            name += f"-improved-{plan.seed}"
        return fit(
            module,
            loss_of,  # type: ignore[arg-type]
            plan,
            self.work_dir / f"{name}.safetensors",
            self.log(stage),
            pace=Pace(minutes=self.minutes),
            watch=watch,
        )
