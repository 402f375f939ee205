"""What a ControlNet can do so far: fixed pictures drawn with it, and the control read back."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from workbench.atomic import write_atomic
from workbench.cancel import CancelToken
from workbench.controls import MapKey, get_control
from workbench.families.manager import ModelManager
from workbench.generation import generate
from workbench.images import encode_png
from workbench.measuring import adherence
from workbench.measuring.references import References
from workbench.study import Trial
from workbench.training.examples import Example, Prepared

if TYPE_CHECKING:
    import pandas as pd

MOST_STEPS = 20
"""Denoising steps of a validation picture, if nobody says how many; the family's default where that
is less."""
FIGURES = ("adherence", "value", "chance", "ceiling")
"""What is read of each validation picture, as a study measures it."""
_SEED = 1_000


class Validation:
    """Draws the held-back examples' maps under their captions at scale 1, and reads them back.

    The figures are those of a study: the control's primary metric, chance, ceiling and adherence,
    means over the pictures for which each is known. The same noise is used every time.

    Args:
        manager: the base model, whose family has a ControlNet of this control, to be lent.
        control, settings: the control type and its settings.
        held: the examples.
        prepared: gives their maps.
        folder: takes a PNG of each look: the pictures above, their maps, what was drawn below; and
            a CSV with the figures of each of them.
        steps: denoising steps of a picture at most; the family's default where that is less.
    """

    def __init__(
        self,
        manager: ModelManager,
        control: str,
        settings: Any,
        held: Sequence[Example],
        prepared: Prepared,
        folder: Path,
        steps: int = MOST_STEPS,
    ) -> None:
        self._manager, self._folder = manager, folder
        self._kind, self._settings = get_control(control), settings
        sources = [prepared.source(example) for example in held]
        text, family = settings.canonical(), manager.family
        self._sources = {image.sha256: image for image, _ in sources}
        self._maps = {MapKey(image.sha256, control, text): made for image, made in sources}
        self._trials = [
            Trial(
                family=family.name,
                base=manager.base,
                control=control,
                control_settings=text,
                source_sha256=image.sha256,
                prompt=example.caption,
                negative_prompt=family.defaults.negative_prompt,
                seed=_SEED + place,
                steps=min(family.defaults.steps, steps),
                guidance_scale=family.defaults.guidance_scale,
                scheduler=family.defaults.scheduler,
                scale=1.0,
                control_start=0.0,
                control_end=1.0,
                size=family.resolution,
            )
            for place, (example, (image, _)) in enumerate(zip(held, sources, strict=True))
        ]
        named = {image.label: image for image in self._sources.values()}
        references = References(named, self._maps, manager)
        self._references = {
            key: references.of_control(key)[self._kind.primary] for key in self._maps
        }

    def under(self, prompt: str, folder: Path) -> Validation:
        """The same maps and noise under one prompt in place of the captions, into a folder."""
        found = copy.copy(self)
        found._folder = folder
        found._trials = [replace(trial, prompt=prompt) for trial in self._trials]
        return found

    def __call__(self, net: Any, step: int, cancel: CancelToken) -> Mapping[str, float]:
        """adherence, value, chance and ceiling of a ControlNet as it stands; {} once cancelled.

        Its training goes on undisturbed: a copy in the base model's dtype draws.
        """
        manager = self._manager
        copied = copy.deepcopy(net).eval().requires_grad_(False)
        nn.Module.to(copied, dtype=getattr(torch, manager.dtype))  # diffusers' own `to` warns
        manager.lend(self._kind.name, copied)
        drawn: dict[str, np.ndarray] = {}
        for results in generate(self._trials, self._maps, manager, cancel=cancel):
            drawn |= {r.trial.id: r.image for r in results if r.image is not None}
        if cancel.cancelled:
            return {}
        self._show(drawn, step)
        table = self._figures(drawn)
        name = self._folder / f"step-{step:06d}.csv"
        write_atomic(name, table.to_csv(index=False, lineterminator="\n").encode())
        return {str(figure): float(table[figure].mean()) for figure in FIGURES}

    def _figures(self, drawn: Mapping[str, np.ndarray]) -> pd.DataFrame:
        """A row for each picture; NaN where nothing could be read."""
        import pandas as pd

        kind, networks = self._kind, self._manager.networks()
        rows = []
        for trial in self._trials:
            key = trial.map_keys[0]
            reference = self._references[key]
            value = float("nan")
            if trial.id in drawn:
                got = kind.extract([drawn[trial.id]], self._settings, networks)[0]
                value = kind.agreement(got, self._maps[key], self._settings).value
            followed = adherence(value, reference, kind.metric(kind.primary))[0]
            name = self._sources[key.picture].label
            rows.append((name, followed, value, reference.chance, reference.ceiling))
        return pd.DataFrame(rows, columns=["picture", *FIGURES])

    def _show(self, drawn: Mapping[str, np.ndarray], step: int) -> None:
        columns = []
        for trial in self._trials:
            key = trial.map_keys[0]
            picture = self._sources[key.picture].image
            made = drawn.get(trial.id, np.zeros_like(picture))
            columns.append(np.concatenate([picture, self._maps[key].picture, made]))
        sheet = np.concatenate(columns, axis=1)
        write_atomic(self._folder / f"step-{step:06d}.png", encode_png(sheet))
