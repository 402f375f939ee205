"""What one would write without the workbench: a loop over trials, one picture at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lent_clip import torchmetrics_clip
from PIL import Image

from workbench.controls import ControlMap, resolve
from workbench.families.locate import locate
from workbench.families.manager import ModelManager, dtype_keyword
from workbench.families.quiet import quiet_libraries
from workbench.generation.schedulers import make_scheduler
from workbench.study import Cell, Plan, Trial


class PlainLoop:
    """Stock pipelines straight from `from_pretrained`, and torchmetrics once per picture.

    Text-only trials get the pipeline without a ControlNet, and maps and models are loaded once, so
    the loop is a fair one. It measures less than the workbench does: one metric of the control and
    the CLIP scores against the used and the full prompt.
    """

    def __init__(self, plan: Plan, manager: ModelManager) -> None:
        from torchmetrics.classification import BinaryF1Score
        from torchmetrics.multimodal import CLIPScore
        from torchmetrics.regression import MeanSquaredError

        if any(trial.also for trial in plan.trials):
            raise ValueError("the loop steers with one control: leave pairs out of its study")
        self.plan = plan
        self.networks = manager.networks()
        self.pipelines = {
            control: stock_pipeline(manager, control)
            for control in dict.fromkeys([None, *(trial.control for trial in plan.trials)])
        }
        clip = manager.clip()
        adapter = torchmetrics_clip(clip.model, clip.tokenizer, clip.processor)
        self.clip_score = CLIPScore(model_name_or_path=adapter)
        self.edge_score = BinaryF1Score()
        self.map_error = MeanSquaredError(squared=False)
        self.source_maps: dict[tuple[str, str, str], ControlMap] = {}

    def run(self, folder: Path, report: Callable[[int, int], None]) -> int:
        """Make, save and measure every trial; returns the number of values read."""
        values = 0
        for count, trial in enumerate(self.plan.trials, start=1):
            cells = self.plan.cells_by_trial[trial.id]
            picture = self.sample(trial, cells[0])
            picture.save(folder / f"{trial.id}.png")
            values += self.measure(np.asarray(picture), cells)
            report(count, len(self.plan.trials))
        return values

    def sample(self, trial: Trial, cell: Cell) -> Image.Image:
        """One call of a stock pipeline with a batch of one."""
        pipeline = self.pipelines[trial.control]
        pipeline.scheduler = make_scheduler(trial.scheduler, pipeline.scheduler.config)
        arguments: dict[str, Any] = {}
        if trial.control is not None:
            arguments = {
                "image": Image.fromarray(self.source_map(cell).picture),
                "controlnet_conditioning_scale": trial.scale,
                "control_guidance_start": trial.control_start,
                "control_guidance_end": trial.control_end,
            }
        picture: Image.Image = pipeline(
            trial.prompt,
            negative_prompt=trial.negative_prompt,
            height=trial.size,
            width=trial.size,
            num_inference_steps=trial.steps,
            guidance_scale=trial.guidance_scale,
            generator=torch.Generator().manual_seed(trial.seed),
            **arguments,
        ).images[0]
        return picture

    def measure(self, picture: np.ndarray, cells: tuple[Cell, ...]) -> int:
        """Control metric and CLIP scores of each cell; returns the number of values."""
        values = 0
        pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)
        for cell in cells:
            got, wanted = self.extract(cell, picture), self.source_map(cell)
            metric = self.edge_score if wanted.data.dtype == np.bool_ else self.map_error
            float(
                metric(
                    torch.from_numpy(np.asarray(got.data, np.float32)),
                    torch.from_numpy(np.asarray(wanted.data, np.float32)),
                )
            )
            values += 1
            for text in (cell.variant.text, cell.full_prompt):
                if text:
                    float(self.clip_score(pixels, text))
                    values += 1
        return values

    def extract(self, cell: Cell, picture: np.ndarray) -> ControlMap:
        """The control map of one picture."""
        control, settings = resolve(cell.control, cell.control_settings)
        return control.extract([picture], settings, self.networks)[0]

    def source_map(self, cell: Cell) -> ControlMap:
        """The control map of a cell's source, made once."""
        if cell.map_key not in self.source_maps:
            source = self.plan.sources[cell.source].image
            self.source_maps[cell.map_key] = self.extract(cell, source)
        return self.source_maps[cell.map_key]


def stock_pipeline(manager: ModelManager, control: str | None) -> Any:
    """A pipeline as diffusers loads it, with weights of its own."""
    family, models = manager.family, manager.models_dir
    base = locate(family.base_ref(manager.base), models)
    dtype = dtype_keyword(manager.dtype)
    common: dict[str, Any] = {
        "use_safetensors": True,
        "safety_checker": None,
        "requires_safety_checker": False,
    }
    common |= dtype
    with quiet_libraries():
        import diffusers

        if control is None:
            pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
                base.name, **common, **base.keywords
            )
        else:
            net = locate(family.controlnet_ref(control), models)
            pipeline = diffusers.StableDiffusionControlNetPipeline.from_pretrained(
                base.name,
                controlnet=diffusers.ControlNetModel.from_pretrained(
                    net.name, use_safetensors=True, **dtype, **net.keywords
                ),
                **common,
                **base.keywords,
            )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
