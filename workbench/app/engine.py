"""The app's way to the rooms below: one picture is a study of one cell, the demo is a study file.

Models load when the first picture is drawn, on the worker thread, and stay.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from workbench.app.session import Offer
from workbench.app.state import Choice, Picture, Row
from workbench.controls import CONTROL_NAMES, get_control, network_needs, resolve
from workbench.families import Family, LocateError, ModelRef, get_family
from workbench.families.determinism import deterministic
from workbench.families.locate import locate
from workbench.generation.cancel import CancelToken
from workbench.images import SUFFIXES
from workbench.paths import data_dir
from workbench.study import Cell, Choices, FamilyChoice, Plan, Study, make_plan
from workbench.sweep.needs import models_needed

if TYPE_CHECKING:
    from workbench.controls import ControlMap
    from workbench.controls.base import LegendEntry
    from workbench.families.manager import ModelManager
    from workbench.measuring.measurer import Measurer

SCENES = tuple(f"paperdoll:{seed}" for seed in range(900_001, 900_009))
PLOT_DPI = 90


class EngineError(RuntimeError):
    """A picture could not be made; the message says why."""


class ModelEngine:
    """Follows `workbench.app.session.Engine` with real models.

    family: a family or its name. models_dir: where its models lie, if not the usual place.
    device: where they compute ("cuda"); None takes CUDA where there is some, else the CPU.
    study: the demo study; its prompt, sources and settings are also those of single pictures. If
    absent, that of the package, on the photographs of the package for a family of real models.
    """

    def __init__(
        self,
        family: Family | str = "paperdoll",
        *,
        models_dir: str | Path | None = None,
        device: str | None = None,
        study: str | Path | None = None,
    ) -> None:
        self.family = get_family(family) if isinstance(family, str) else family
        self.models_dir = models_dir
        self.device = device
        self.study_path = Path(study) if study else None
        self._measurers: dict[str, Measurer] = {}

    @cached_property
    def demo(self) -> Study:
        """The demo study."""
        shipped = data_dir() / "studies" / "demo.yaml"
        if self.study_path is not None or self.family.name == "paperdoll":
            return Study.from_yaml(self.study_path or shipped, choices=self._choices)
        values = yaml.safe_load(shipped.read_text("utf-8"))
        settings = ("base", "steps", "guidance_scale", "scheduler")  # the family has its own
        values = {key: value for key, value in values.items() if key not in settings}
        controls = [name for name in values["controls"] if name in self.family.controls]
        pictures = [str(path) for path in _pictures()]
        values |= {
            "family": self.family.name,
            "controls": controls or [self.family.controls[0]],
            "sources": pictures,
        }
        return Study.from_dict(values, folder=shipped.parent, choices=self._choices)

    @cached_property
    def manager(self) -> ModelManager:
        """The family's models; used by the worker thread only."""
        from workbench.sweep.devices import own_device
        from workbench.sweep.steps import load_manager

        models = None if self.models_dir is None else str(self.models_dir)
        family = self.family.with_judges(self.demo.judges)
        return load_manager(self.demo, self.device or own_device(), family, models)

    @cached_property
    def _choices(self) -> Choices:
        offered = FamilyChoice.of(self.family)
        return Choices({self.family.name: offered}, lambda name: get_control(name).settings_type)

    def measurer(self, control: str) -> Measurer:
        """One measurer for all pictures of a control type, so that chance and ceiling are computed
        once, and no networks of other types are loaded."""
        if control not in self._measurers:
            from workbench.measuring.measurer import Measurer

            offer = self.offer()
            first = Choice(
                offer.sources[0], control, offer.prompt, offer.prompt, base=offer.bases[0]
            )
            study = self._study("notebook", first, offer.sources, (control,))
            self._measurers[control] = Measurer(self._plan(study), self.manager)
        return self._measurers[control]

    def missing(self, choice: Choice | None = None) -> str:
        """One sentence if a model that the choice needs cannot be had, else "".

        Models of other base models, control types and judges do not matter; a model that only has
        to be downloaded is not missing. No network is touched. Without a choice, the demo's.
        """
        try:
            for ref in self._needed(choice):
                locate(ref, self.models_dir)
        except LocateError as error:
            return f"No pictures can be drawn yet: {error}."
        return ""

    def to_download(self, choice: Choice) -> tuple[str, ...]:
        """The models that the choice needs and that are not on this disk, by title."""
        places = {ref.title: locate(ref, self.models_dir) for ref in self._needed(choice)}
        return tuple(title for title, place in places.items() if place.folder is None)

    def _needed(self, choice: Choice | None) -> list[ModelRef]:
        """The models that a choice needs, or the demo study without one."""
        study = self.demo if choice is None else self.study(choice)
        return models_needed(study, self._plan(study), self.family.with_judges(study.judges))

    def offer(self) -> Offer:
        """The demo's sources, more rendered scenes, pictures in data/sources; usable controls."""
        names = [name for name in self.family.controls if self._usable(name)]
        files = _pictures()
        scenes = SCENES if self.family.world == "paperdoll" else ()
        sources = dict.fromkeys([*self.demo.sources, *scenes, *map(str, files)])
        controls = {name: get_control(name).label for name in names}
        first = self.demo.base[0]
        bases = (first, *(name for name in self.family.base if name != first))
        return Offer(tuple(sources), controls, self.demo.prompt, bases)

    def _usable(self, control: str) -> bool:
        return control in CONTROL_NAMES and set(network_needs([(control, "")])) <= set(
            self.family.networks
        )

    def study(self, choice: Choice) -> Study:
        """The study whose pictures include that of the choice."""
        return self._study(choice.name, choice, (choice.source,), (choice.control,))

    def _study(
        self, name: str, choice: Choice, sources: tuple[str, ...], controls: tuple[str, ...]
    ) -> Study:
        prompt, kept = choice.prompt, choice.kept
        prefix = kept == prompt[: len(kept)]
        values = self.demo.model_dump(mode="json") | {
            "name": name,
            "base": [choice.base],
            "sources": list(sources),
            "controls": [{"type": name} for name in controls],
            "prompt": list(prompt),
            "lengths": [len(kept)] if prefix else [],
            "shortening": {"method": "prefix"},
            "extra_prompts": {} if prefix else {"insufficient": list(kept)},
            "scales": [choice.scale],
            "seeds": [choice.seed],
        }
        return Study.from_dict(values, folder=self.demo.folder, choices=self._choices)

    def _plan(self, study: Study) -> Plan:
        return make_plan(study, resolution=self.family.resolution, choices=self._choices)

    def study_yaml(self, choice: Choice) -> str:
        """A study file that reproduces the picture of this choice."""
        study = self.study(choice)
        note = "# The picture on the notebook's screen.\n"
        if study.extra_prompts:
            note += "# It is the one with the prompt called insufficient; the other has all tags.\n"
        return note + study.to_yaml()

    def draw(
        self, choice: Choice, cancel: CancelToken, progress: Callable[[Any], None] | None = None
    ) -> Picture | None:
        """Generate and measure one picture; None if cancelled. EngineError if it failed.

        Models that are not on this disk are downloaded first; `progress` is told of that.
        """
        from workbench.generation import generate
        from workbench.measuring.sourcemaps import map_warnings

        started = time.perf_counter()
        plan = self._one_cell(choice)
        (cell,), (trial,) = plan.cells, plan.trials
        if not self._fetch(choice, plan, cancel, progress):
            return None
        measurer = self.measurer(choice.control)
        with deterministic():
            maps = measurer.source_maps
            batches = list(generate([trial], maps, self.manager, batch_size=1, cancel=cancel))
        if not batches or cancel.cancelled:
            return None
        ((sample,),) = batches
        if sample.image is None:
            raise EngineError(sample.failed_reason)
        return Picture(
            choice=choice,
            source=np.asarray(next(iter(plan.sources.values())).image),
            control_map=maps[cell.map_key].picture,
            image=sample.image,
            rows=_rows(measurer, cell, sample.image, self._word_note),
            seconds=time.perf_counter() - started,
            legend=_legend(cell, maps[cell.map_key]),
            warning=" ".join(map_warnings(plan, maps)),
        )

    def _fetch(
        self,
        choice: Choice,
        plan: Plan,
        cancel: CancelToken,
        progress: Callable[[Any], None] | None,
    ) -> bool:
        """Download what the choice needs; False after a cancel."""
        if not self.to_download(choice):
            return True
        from workbench.sweep.estimate import require_plan
        from workbench.sweep.progress import ProgressMeter
        from workbench.sweep.runner import download

        downloads = require_plan(self.study(choice), plan, self.manager.family, self.models_dir)
        return download(downloads, self.manager, ProgressMeter(0, progress), cancel)

    def run(self, folder: Path, progress: Callable[[Any], None], cancel: CancelToken) -> None:
        """Run the demo study into a folder; goes on with what the folder already holds."""
        from workbench.runs import run

        run(self.demo, folder, manager=self.manager, progress=progress, cancel=cancel)

    def plot(self, folder: Path) -> bytes:
        """The trade-off plot of what a run folder holds, as PNG; b"" if that is nothing.

        The folder is only read, so that a run under way, or one of another study, stays as it is.
        """
        from workbench.plots import to_png
        from workbench.runs import open_run

        run = open_run(folder)
        return to_png(run.plot("tradeoff"), dpi=PLOT_DPI) if len(run.table) else b""

    @cached_property
    def _word_note(self) -> str:
        from workbench.judging import standing_of

        return standing_of(self.manager.word_facts(), self.manager.family.name).sentence

    def _one_cell(self, choice: Choice) -> Plan:
        plan = self._plan(self.study(choice))
        cell = next(cell for cell in plan.cells if cell.variant.tags == choice.kept)
        trials = tuple(trial for trial in plan.trials if trial.id == cell.trial_id)
        return replace(plan, cells=(cell,), trials=trials)


def _pictures() -> list[Path]:
    """The photographs of the package."""
    folder = data_dir() / "sources"
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES)


def _legend(cell: Cell, found: ControlMap) -> tuple[LegendEntry, ...]:
    control, settings = resolve(cell.control, cell.control_settings)
    return tuple(control.legend(found, settings))


def _rows(measurer: Measurer, cell: Cell, image: np.ndarray, word_note: str) -> tuple[Row, ...]:
    from workbench.measuring.specs import metric_spec

    (measured,) = measurer.measure([(cell.trial_id, image)], {cell.trial_id: [cell]})
    rows = []
    for reading in measured.rows:
        kind, _, tag = reading["metric"].partition(":")
        if kind == "tag_obeyed":
            continue
        spec = metric_spec(reading["metric"])
        rows.append(
            Row(
                label=f"Tag: {tag}" if tag else spec.label,
                value=reading["value"],
                adherence=reading["adherence"],
                higher_is_better=spec.higher_is_better,
                reason=reading["reason"],
                note=word_note if tag else "",
            )
        )
    return tuple(rows)
