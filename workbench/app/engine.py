"""The app's way to the rooms below: studies out of choices, control maps, and the models.

Models load when the first picture is made, on the thread that makes it, and stay.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workbench.app.easel import misread, uploaded
from workbench.app.grid import Axes
from workbench.app.settings import MORE, settings_of
from workbench.app.state import Choice, Offer, Preview, Reading
from workbench.cancel import CancelToken
from workbench.controls import (
    CONTROL_NAMES,
    Control,
    ControlMap,
    MapKey,
    get_control,
    network_needs,
    resolve,
)
from workbench.families import Family, LocateError, ModelRef, get_family, know_families
from workbench.families.locate import locate
from workbench.families.reading import text_reader
from workbench.images import SUFFIXES, Picture
from workbench.paths import data_dir
from workbench.prompts import join_tags
from workbench.study import Choices, FamilyChoice, Plan, SourceImage, Study, make_plan
from workbench.study.labels import is_map, is_scene, path_of
from workbench.study.notes import window_note

if TYPE_CHECKING:
    from workbench.explorer import LocalNetworks
    from workbench.families.manager import ModelManager

SCENES = tuple(f"paperdoll:{seed}" for seed in range(900_001, 900_009))


class ModelEngine:
    """Follows `workbench.app.session.Engine` with real models.

    Args:
        family: a family or its name.
        models_dir: where its models lie, if not the usual place.
        device: where they compute ("cuda"); None takes CUDA where there is some, else the CPU.
        study: a study file whose prompt, sources and settings are proposed; the demo of the package
            if None, on the photographs of the package for a family of real models.
    """

    def __init__(
        self,
        family: Family | str = "paperdoll",
        *,
        models_dir: str | Path | None = None,
        device: str | None = None,
        study: str | Path | None = None,
    ) -> None:
        know_families(models_dir)
        self.family = get_family(family) if isinstance(family, str) else family
        self.models_dir = models_dir
        self.device = device
        self.study_path = Path(study) if study else None
        self._loaded_for: Study | None = None  # whose precision and the like `manager` has

    @property
    def lends(self) -> LocalNetworks | None:
        """What reads control maps back from pictures; None: each run's own family, on this disk."""
        return None

    def of_family(self, name: str) -> ModelEngine:
        """An engine like this one for another family; FamilyError if there is none."""
        return ModelEngine(name, models_dir=self.models_dir, device=self.device)

    @cached_property
    def demo(self) -> Study:
        """The study that is proposed."""
        shipped = data_dir() / "studies" / "demo.yaml"
        if self.study_path is not None or self.family.name == "paperdoll":
            return Study.from_yaml(self.study_path or shipped, choices=self.choices)
        values = yaml.safe_load(shipped.read_text("utf-8"))
        settings = ("base", "steps", "guidance_scale", "scheduler")  # the family has its own
        values = {key: value for key, value in values.items() if key not in settings}
        controls = [name for name in values["controls"] if name in self.family.controls]
        values |= {
            "family": self.family.name,
            "controls": controls or [self.family.controls[0]],
            "sources": [str(path) for path in _pictures()],
        }
        return Study.from_dict(values, folder=shipped.parent, choices=self.choices)

    @cached_property
    def choices(self) -> Choices:
        """What studies of this app may name."""
        offered = FamilyChoice.of(self.family)
        return Choices({self.family.name: offered}, lambda name: get_control(name).settings_type)

    def offer(self) -> Offer:
        """The demo's sources, more rendered scenes, pictures in data/sources; usable controls.

        The first choice is the demo's, with a control whose map is there at once if it has one.
        """
        demo, names = self.demo, [name for name in self.family.controls if self._usable(name)]
        scenes = SCENES if self.family.world == "paperdoll" else ()
        sources = tuple(dict.fromkeys([*demo.sources, *scenes, *map(str, _pictures())]))
        kinds = [use.type for use in demo.controls if hasattr(use, "type")] or names
        first = Choice(
            source=sources[0],
            control=next((kind for kind in kinds if not network_needs([(kind, "")])), kinds[0]),
            prompt=demo.tags,
            kept=demo.tags,
            base=demo.base[0],
            steps=demo.steps,
            guidance_scale=demo.guidance_scale,
            scheduler=demo.scheduler,
            negative_prompt=demo.negative_prompt,
            control_start=demo.control_start,
            control_end=demo.control_end,
            more=settings_of(demo),
        )
        return Offer(
            first=first,
            sources=sources,
            controls={name: get_control(name).label for name in names},
            bases=tuple(dict.fromkeys([demo.base[0], *self.family.base])),
            schedulers=FamilyChoice.of(self.family).schedulers,
        )

    def _usable(self, control: str) -> bool:
        return control in CONTROL_NAMES and set(network_needs([(control, "")])) <= set(
            self.family.networks
        )

    def study(self, choice: Choice, axes: Axes | None = None, name: str = "workbench") -> Study:
        """The study of a choice, or of a sweep around it; StudyError for what cannot be.

        Args:
            axes: name of an axis (`grid.AXES`) -> its values; the choice's own where there is none.
        """
        axes = {key: list(values) for key, values in (axes or {}).items() if len(values)}
        kinds = axes.get("control", [choice.control])
        prompt, kept = choice.prompt, choice.kept
        prefix = "length" in axes or kept == prompt[: len(kept)]
        demo = self.demo.model_dump(mode="json")
        own = (
            "sources",
            "controls",
            "captions",
            "source_sha256",
            "scales",
            "seeds",
            "lengths",
            "unit",
            "forms",
            *MORE,
        )
        values = {key: value for key, value in demo.items() if key not in own} | {
            "name": name,
            "base": axes.get("base", [choice.base]),
            "sources": axes.get("source", [choice.source]),
            "controls": [
                self._control(kind, choice, axes.get("second_scale", [choice.second_scale]))
                for kind in kinds
            ],
            "prompt": list(prompt),
            "lengths": axes.get("length", [len(kept)] if prefix else []),
            "shortening": {"method": "prefix"},
            "extra_prompts": {} if prefix else {"insufficient": list(kept)},
            "scales": axes.get("scale", [choice.scale]),
            "seeds": axes.get("seed", [choice.seed]),
            "steps": choice.steps,
            "guidance_scale": choice.guidance_scale,
            "scheduler": choice.scheduler,
            "negative_prompt": choice.negative_prompt,
            "control_start": choice.control_start,
            "control_end": choice.control_end,
            **json.loads(choice.more or "{}"),
        }  # fmt: skip
        return Study.from_dict(values, folder=self.demo.folder, choices=self.choices)

    def _control(self, kind: str, choice: Choice, second_scales: Sequence[float]) -> dict[str, Any]:
        one = _use(kind, choice.settings if kind == choice.control else "")
        if not choice.second:
            return one
        pair = [one, _use(choice.second, choice.second_settings)]
        return {"pair": pair, "scales": {choice.second: second_scales}}

    def plan(self, study: Study) -> Plan:
        """All pictures of a study; StudyError if a source cannot be read."""
        return make_plan(
            study,
            resolution=self.family.resolution,
            choices=self.choices,
            models=self.models_dir,
        )

    def asked(self, choice: Choice, axes: Axes | None = None) -> tuple[str, ...]:
        """Ids of the trials that a choice or a sweep asks for: for a choice, of its one picture.

        A sweep in which lengths do not vary keeps the tags that the choice keeps.
        """
        plan = self.plan(self.study(choice, axes))
        if axes and axes.get("length"):
            return tuple(trial.id for trial in plan.trials)
        kept = choice.kept
        setting = "length" if kept == choice.prompt[: len(kept)] else "insufficient"
        wanted = (cell.trial_id for cell in plan.cells if cell.variant.setting == setting)
        return tuple(dict.fromkeys(wanted))

    def missing(self, study: Study) -> str:
        """One sentence if a model that the study needs cannot be had, else "".

        A model that only has to be downloaded is not missing. No network is touched.
        """
        try:
            for ref in self._needed(study):
                locate(ref, self.models_dir)
        except LocateError as error:
            return f"No pictures can be made yet: {error}."
        return ""

    def to_download(self, study: Study) -> tuple[str, ...]:
        """The models that the study needs and that are not on this disk, by title."""
        places = {ref.title: locate(ref, self.models_dir) for ref in self._needed(study)}
        return tuple(title for title, place in places.items() if place.folder is None)

    def about(self, choice: Choice) -> str:
        """Which models make a choice and where they compute, and what is in the way, in words.

        What is in the way: a device that is not there, and models that are missing or that the
        first picture downloads. No network is touched and no model is loaded.
        """
        from workbench.sweep.devices import device_problem, own_device

        device = self.device or own_device()
        text = f"{self.family.name} ({choice.base}) on {device}"
        if problem := device_problem(device):
            return f"{text}. No pictures can be made yet: {problem}."
        study = self.study(choice)
        if missing := self.missing(study):
            return f"{text}. {missing}"
        if titles := self.to_download(study):
            names = ", ".join(title.partition("@")[0] for title in titles)
            return f"{text}. The first picture downloads {len(titles)} models: {names}."
        return text

    def _needed(self, study: Study) -> list[ModelRef]:
        from workbench.sweep.needs import models_needed

        return models_needed(study, self.plan(study), self.family.with_judges(study.judges))

    @cached_property
    def manager(self) -> ModelManager:
        """The family's models; used by the thread that makes pictures only."""
        from workbench.sweep.devices import own_device
        from workbench.sweep.steps import load_manager

        models = None if self.models_dir is None else str(self.models_dir)
        family = self.family.with_judges(self.demo.judges)
        return load_manager(
            self._loaded_for or self.demo, self.device or own_device(), family, models
        )

    def make(
        self,
        study: Study,
        folder: Path,
        trials: Collection[str],
        progress: Callable[[Any], None],
        cancel: CancelToken,
    ) -> None:
        """Make some of a study's pictures in a run folder, models downloaded first if need be."""
        from workbench.sweep import run_trials

        if self._loaded_for is None or loading(study) != loading(self._loaded_for):
            self.__dict__.pop("manager", None)
            self._loaded_for = study
        run_trials(study, folder, trials, manager=self.manager, progress=progress, cancel=cancel)

    def read(self, choice: Choice) -> Reading:
        """What the text encoder reads of the words that a choice keeps; no model is loaded."""
        reader = text_reader(self.family, choice.base, self.models_dir)
        if reader is None:
            return Reading()
        text = join_tags(choice.kept)
        unread = (
            tag
            for place, tag in enumerate(choice.kept)
            if reader.tokens(join_tags(choice.kept[: place + 1])) > reader.limit
        )
        return Reading(reader.tokens(text), reader.limit, tuple(unread))

    def preview(self, choice: Choice) -> Preview:
        """Source and control map of a choice. No model that generates is loaded."""
        from workbench.measuring.sourcemaps import map_warnings

        plan = self.plan(self.study(choice))
        (source,) = plan.sources.values()
        cells = {cell.control: cell for cell in plan.cells}
        maps: dict[MapKey, ControlMap] = {}
        for cell in cells.values():
            control, settings = resolve(cell.control, cell.control_settings)
            maps[cell.map_key] = self._map(control, settings, source)
        cell = cells[choice.control]
        control, settings = resolve(cell.control, cell.control_settings)
        found = maps[cell.map_key]
        warnings = [
            window_note(choice.steps, choice.control_start, choice.control_end),
            *map_warnings(plan, maps),
            *self._unseen(choice),
            misread(Path(path_of(choice.source)), control) if source.is_map else "",
        ]
        return Preview(
            source=source.image,
            control_map=found.picture,
            legend=tuple(control.legend(found, settings)),
            warning=" ".join(filter(None, warnings)),
            shows=source.tags,
            second_map=maps[cells[choice.second].map_key].picture if choice.second else None,
        )

    def picture(self, choice: Choice) -> Picture:
        """The source of a choice, at the size of the family's pictures; no network is needed."""
        (source,) = self.plan(self.study(choice)).sources.values()
        return source.image

    def _map(self, control: Control[Any], settings: Any, source: SourceImage) -> ControlMap:
        if source.is_map:
            return control.from_picture_for(source.image, settings)
        needs = control.needs_for(settings)
        if lacking := sorted(set(needs) - self.networks.names):
            raise LocateError(f"the map needs the network {lacking[0]}, which is not on this disk")
        (found,) = control.extract([source.image], settings, self.networks.lend(needs))
        return found

    @cached_property
    def networks(self) -> LocalNetworks:
        """Of the threads that show things; those of `manager` belong to that which makes them."""
        from workbench.explorer import LocalNetworks

        return LocalNetworks(self.family.with_judges(self.demo.judges), models=self.models_dir)

    def _unseen(self, choice: Choice) -> list[str]:
        if self.family.world != "paperdoll" or is_scene(choice.source) or is_map(choice.source):
            return []
        return [
            "This small model has seen nothing but its own drawn figures: it follows the map of a "
            "photograph, and cannot draw what the photograph shows."
        ]

    def add_source(self, name: str, data: bytes, folder: Path) -> str:
        """Keep a picture that was uploaded; returns it as a source. ImageError if it is none."""
        uploaded(name, data)
        suffix = Path(name).suffix.lower()
        stem = re.sub(r"[^\w-]+", "-", Path(name).stem).strip("-")[:40] or "picture"
        mark = hashlib.sha256(data).hexdigest()[:8]
        path = folder.resolve() / f"{stem}-{mark}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    def close(self) -> None:
        """Let go of all models."""
        for name in ("manager", "networks"):
            self.__dict__.pop(name, None)


def loading(study: Study) -> tuple[object, ...]:
    """What of a study models are loaded for."""
    return study.dtype, study.runtime, study.safety_checker


def _use(kind: str, settings: str) -> dict[str, Any]:
    """A control type as a study file says it; settings as JSON, "" for the usual ones."""
    return {"type": kind} | ({"settings": json.loads(settings)} if settings else {})


def _pictures() -> list[Path]:
    """The photographs of the package."""
    folder = data_dir() / "sources"
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES and _reads(p))


def _reads(path: Path) -> bool:
    """Whether a file looks like a picture, so that one that is none hides no other."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP", "BMP", "TIFF")):
            return True
    except OSError:
        return False
