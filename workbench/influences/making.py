"""Seeing who pulls on the way to every picture of a study, by two more predictions a step.

The pictures are made by the sweep's own road, `generation.generate`: a hook on the denoiser sees
each of its calls, which hold the text and the negative prompt as two halves of one batch, and calls
it once more without the residuals of the ControlNet, on the same latents. What the pipeline gets
stays as it was, so that the picture is the one that the sweep makes. No step is taken from the
other predictions, so a sampler that adds noise adds the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import Any, Self

import numpy as np
from torch import nn

from workbench.controls import ControlMap, MapKey
from workbench.families import Family, get_family
from workbench.families.determinism import deterministic
from workbench.families.manager import ModelManager
from workbench.formats import duration
from workbench.generation import BatchSizer, CancelToken, GenerationError, SampleResult, generate
from workbench.generation.batching import BatchSize, first_size
from workbench.generation.events import Step, StepCallback
from workbench.generation.recovery import memory_errors
from workbench.influences.parts import maps_of, parts_of, products_of, same_text
from workbench.influences.stored import Observation, read_observations, write_observation
from workbench.influences.words import AttentionWatch, word_places
from workbench.store import RunFolder, StoreError, cell_facts
from workbench.store.manifest import merge_manifests
from workbench.study import Plan, Study, StudyError, Trial
from workbench.study.errors import problem
from workbench.sweep.devices import own_device
from workbench.sweep.estimate import check_fit, require_plan
from workbench.sweep.progress import ProgressCallback, ProgressMeter
from workbench.sweep.runner import download
from workbench.sweep.steps import RunSteps, Start, load_manager, planned

log = logging.getLogger(__name__)

MAPS = 5
"""Steps whose maps are kept where nobody says which: the first, the last, and some between."""
TIMED_STEPS = 3
Places = Callable[[str], Mapping[str, tuple[int, ...]]]
_DENOISERS = ("transformer", "unet")
_RESIDUALS = (
    "down_block_additional_residuals",
    "mid_block_additional_residual",
    "block_controlnet_hidden_states",
)
"""Under which names a UNet and a transformer of diffusers are given the ControlNet's outputs."""


@dataclass(frozen=True)
class Cost:
    """What it takes to see who pulls.

    pictures: steered pictures of the study. stored: of these, seen already. steps: of one picture.
    seconds: for the rest; None where nothing was timed. device: where.
    """

    pictures: int
    stored: int
    steps: int
    seconds: float | None = None
    device: str = ""

    @property
    def sentence(self) -> str:
        """The cost in words."""
        left = self.pictures - self.stored
        known = f" ({self.stored} of {self.pictures} are there)" if self.stored else ""
        if not left:
            return f"All {self.pictures} pictures have been looked at: nothing is left to do."
        about = "" if self.seconds is None else f", about {duration(self.seconds)} on {self.device}"
        return (
            f"Four predictions at each of {self.steps} steps for "
            f"{left} {'picture' if left == 1 else 'pictures'}{known}{about}."
        )


@dataclass
class _Way:
    """What is seen on the way to one picture, step after step; `words` are sums over steps."""

    times: list[float] = field(default_factory=list)
    products: list[np.ndarray] = field(default_factory=list)
    maps: dict[int, np.ndarray] = field(default_factory=dict)
    words: dict[str, np.ndarray] = field(default_factory=dict)
    so_far: dict[int, np.ndarray] = field(default_factory=dict)


class Watch:
    """Looks at every call of some denoisers, as long as the context lasts.

    `on_step` is a callback of `generate`: it assigns what the last call showed to its trials.

    Args:
        denoisers: the UNets or transformers of the base models.
        maps_at: steps (1, 2, …) whose maps are kept, with the picture so far.
        then: called after each step.
        places: of the words of a prompt among its tokens; None looks at no words.
    """

    def __init__(
        self,
        denoisers: Sequence[nn.Module],
        maps_at: Sequence[int] = (),
        then: StepCallback | None = None,
        places: Places | None = None,
    ) -> None:
        self.ways: dict[str, _Way] = {}
        self._denoisers, self._maps_at, self._then = denoisers, frozenset(maps_at), then
        self._seen: tuple[float, np.ndarray] | None = None
        self._paid: list[np.ndarray] = []
        self._places = places
        self._attention = {one: AttentionWatch(one) for one in denoisers if places is not None}
        self._looking = False
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for denoiser in self._denoisers:
            handle = denoiser.register_forward_hook(self._look, with_kwargs=True)
            self._stack.callback(handle.remove)
        for attention in self._attention.values():
            for end in attention.watch():
                self._stack.callback(end)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _look(
        self, denoiser: nn.Module, given: tuple[Any, ...], named: dict[str, Any], found: Any
    ) -> None:
        if self._looking:
            return
        attention, shape = self._attention.get(denoiser), tuple(_prediction(found).shape[-2:])
        paid = [attention.taken(shape)] if attention else []
        self._looking = True
        try:
            plain = {name: value for name, value in named.items() if name not in _RESIDUALS}
            without = denoiser(*given, **plain)
        finally:
            self._looking = False
        paid += [attention.taken(shape)] if attention else []
        self._paid = [one for one in paid if one is not None]
        at = named.get("timestep", given[1] if len(given) > 1 else 0.0)
        at = float(at.flatten()[0]) if hasattr(at, "flatten") else float(at)
        self._seen = at, parts_of(_prediction(found), _prediction(without), same_text(given, named))

    def on_step(self, step: Step) -> None:
        """Keep what the denoiser's last call showed; GenerationError if there was none."""
        if self._seen is None or self._seen[1].shape[1] != len(step.trials):
            raise GenerationError(
                "this model's pipeline does not predict with and without the text in one call, "
                "so that nobody can tell who pulls"
            )
        moment, parts = self._seen
        self._seen = None
        products = products_of(parts)
        maps = maps_of(parts) if step.done in self._maps_at else None
        for row, trial in enumerate(step.trials):
            if step.done == 1:  # after a failed batch, begun anew
                self.ways[trial.id] = _Way()
            way = self.ways[trial.id]
            if len(way.times) == step.done:  # a copy that fills the batch
                continue
            way.times.append(moment)
            way.products.append(products[row])
            if maps is not None:
                way.maps[step.done] = maps[row]
                way.so_far[step.done] = step.preview(row)
            if self._paid and self._places is not None:
                both = np.stack([paid[row] for paid in self._paid])
                for word, places in self._places(trial.prompt).items():
                    way.words[word] = way.words.get(word, 0) + both[:, list(places)].sum(axis=1)
        if self._then is not None:
            self._then(step)


def _prediction(found: Any) -> Any:
    return found[0] if isinstance(found, tuple) else found.sample


@dataclass(frozen=True)
class Watched:
    """A picture, and the way to it: None for a failed picture."""

    result: SampleResult
    way: _Way | None


def watch(
    trials: Sequence[Trial],
    maps: Mapping[MapKey, ControlMap],
    manager: ModelManager,
    maps_at: Sequence[int],
    *,
    batch_size: BatchSize | BatchSizer,
    on_step: StepCallback | None = None,
    cancel: CancelToken | None = None,
) -> Iterator[list[Watched]]:
    """As `generation.generate`, with the way to each picture."""
    pipelines = [manager.for_base(base).pipeline(None) for base in {t.base for t in trials}]
    denoisers, places = [_denoiser(one) for one in pipelines], None
    if manager.runtime.compile == "none":  # compiled blocks would not see that they are looked at
        tokenizer, limit = pipelines[0].tokenizer, manager.family.text_limit
        limit = min(limit, int(tokenizer.model_max_length))
        places = cache(partial(word_places, tokenizer, limit=limit))
    with Watch(denoisers, maps_at, on_step, places) as watching:
        for results in generate(
            trials, maps, manager, batch_size=batch_size, on_step=watching.on_step, cancel=cancel
        ):
            yield [
                Watched(result, watching.ways.pop(result.trial.id, None) if result.image is not None
                        else None)
                for result in results
            ]  # fmt: skip


def _denoiser(pipeline: Any) -> nn.Module:
    found = (getattr(pipeline, name, None) for name in _DENOISERS)
    return next(part for part in found if part is not None)


@dataclass
class InfluenceJob:
    """One call of `influence`: what is to be seen, and where it is kept.

    Args:
        study: whose steered pictures are looked at.
        run: its run folder, which need not exist.
        maps_at: steps (1, 2, …) whose maps are kept; five of them if None.
        manager: loaded models; None loads them. device: where; None takes that of `run_study`.

    Raises:
        StudyError: the study cannot be asked.
    """

    study: Study
    run: RunFolder
    maps_at: Sequence[int] | None = None
    manager: ModelManager | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        study = self.study
        if study.guidance_scale <= 1:
            what = "without guidance there is no prediction without the text, so nobody can tell"
            raise StudyError(
                [problem("guidance_scale", f"{what} what the text does", "a number above 1")]
            )
        wrong = [step for step in self.maps_at or () if not 1 <= step <= study.steps]
        if wrong:
            what = f"the study has no step {wrong[0]}, whose maps are to be kept"
            raise StudyError([problem("maps_at", what, f"whole numbers from 1 to {study.steps}")])
        if not self.asked:
            what = "no picture is steered by a control, so nobody can tell what it does"
            raise StudyError([problem("scales", what, "a number above 0, a window with a step")])

    @cached_property
    def family(self) -> Family:
        """The study's family, with the judges that it chose."""
        if self.manager is not None:
            return self.manager.family
        return get_family(self.study.family).with_judges(self.study.judges)

    @cached_property
    def plan(self) -> Plan:
        """The study's plan."""
        return planned(self.study, self.family, self.manager)

    @cached_property
    def asked(self) -> list[Trial]:
        """Trials in which a control steers."""
        return [trial for trial in self.plan.trials if trial.controls]

    @property
    def map_steps(self) -> tuple[int, ...]:
        """The steps whose maps are kept."""
        if self.maps_at is not None:
            return tuple(sorted(set(self.maps_at)))
        spread = np.linspace(1, self.study.steps, MAPS).round()
        return tuple(dict.fromkeys(int(step) for step in spread))

    def missing(self) -> list[Trial]:
        """Those of `asked` that were not looked at, or lack maps that were asked for by step."""
        found, damaged = read_observations(self.run)
        for trial, why in damaged.items():
            log.warning("%s: what was seen of trial %s is made anew: %s", self.run.path, trial, why)
        wanted = set(self.maps_at or ())
        return [t for t in self.asked if t.id not in found or not wanted <= found[t.id].maps.keys()]

    def cost(self) -> Cost:
        """The cost, with the time that a few steps take here; nothing is written."""
        missing = self.missing()
        if not missing:
            return self._cost(missing)
        choice = self.study.runtime.determinism
        with (
            deterministic(choice=choice),
            memory_errors("models were loaded to time a few steps"),
        ):
            manager = self._loaded()
            start = Start(self.run, self.study, self.plan, CancelToken())
            return self._cost(missing, RunSteps(start, manager))

    def make(
        self,
        progress: ProgressCallback | None,
        cancel: CancelToken,
        tell: Callable[[Cost], None],
    ) -> None:
        """Look at what is missing; `tell` gets the cost before that begins.

        Each batch is on the disk before the next one begins.
        """
        missing, meter = self.missing(), ProgressMeter(len(self.asked), progress)
        meter.count_done(len(self.asked) - len(missing))
        if not missing:
            meter.phase("done")
            return
        self._refuse_other_study()
        needed = () if self.manager else require_plan(self.study, self.plan, self.family)
        self.run = RunFolder.prepare(self.run.path)
        if not download(needed, None, meter, cancel):
            return
        with (
            self.run.claim(),
            deterministic(choice=self.study.runtime.determinism),
            memory_errors("models were loaded or pictures were made"),
        ):
            meter.phase("loading")
            steps = RunSteps(Start(self.run, self.study, self.plan, cancel), self._loaded())
            self._begin(steps)
            meter.phase("preparing")
            tell(self._cost(missing, steps))
            meter.phase("generating")
            meter.begin(missing)
            self._look(missing, steps, meter)
            meter.phase("done")

    def _loaded(self) -> ModelManager:
        if self.manager is None:
            self.manager = load_manager(self.study, self.device or own_device(), self.family)
            check_fit(self.study, self.plan, self.manager)
        return self.manager

    def _refuse_other_study(self) -> None:
        if not self.run.path.is_dir():
            return
        old = self.run.read_manifest()
        if old is not None and old.study_hash != self.study.hash:
            raise StoreError(
                f"{self.run.path} is the run of another study, or of this one before it was "
                'changed: name another folder, or bring the run up to date first ("workbench run")'
            )
        now = {label: source.sha256 for label, source in self.plan.sources.items()}
        if old is not None and old.sources is not None and old.sources != now:
            raise StoreError(
                f"the pictures of the study's sources are no longer those of {self.run.path}: name "
                f"another folder, or give {self.run.path} itself, which keeps its own sources"
            )

    def _begin(self, steps: RunSteps) -> None:
        """Begin the run where it is new, else see to it that its models are those in use."""
        manifest, old = steps.describe(), self.run.read_manifest()
        if old is None:
            self.run.begin(self.study, self.plan.sources, manifest, self.plan.cells)
            steps.find_work()  # which keeps the sources' maps
        else:
            merge_manifests(old, manifest)

    def _look(self, missing: Sequence[Trial], steps: RunSteps, meter: ProgressMeter) -> None:
        study, manager = self.study, steps.manager
        sizer = BatchSizer(study.batch_size, manager, fill=study.fill_batches)
        maps = steps.measurer.source_maps

        for found in watch(
            missing, maps, manager, self.map_steps,
            batch_size=sizer, on_step=meter.step, cancel=steps.cancel,
        ):  # fmt: skip
            for one in found:
                self._keep(one)
            newest = [one.result.image for one in found if one.result.image is not None]
            meter.finished([one.result.trial for one in found], newest[-1] if newest else None)

    def _keep(self, one: Watched) -> None:
        trial, image = one.result.trial, one.result.image
        if one.way is None or image is None:
            log.warning("trial %s cannot be looked at: %s", trial.id, one.result.failed_reason)
            return
        cell = self.plan.cells_by_trial[trial.id][0]
        uses = trial.controls
        facts = cell_facts(cell) | {
            "control": " + ".join(use.control for use in uses),
            "control_settings": cell.control_settings if len(uses) == 1 else "",
            "scale": trial.scale,
        }
        write_observation(
            self.run,
            Observation(
                trial,
                facts,
                one.result.made_by,
                np.array(one.way.times),
                np.stack(one.way.products),
                one.way.maps,
                image,
                {word: sums / len(one.way.times) for word, sums in one.way.words.items()},
                one.way.so_far,
            ),
        )

    def _cost(self, missing: Sequence[Trial], steps: RunSteps | None = None) -> Cost:
        """The cost of what is missing; with the steps of a run a few are timed."""
        stored, total = len(self.asked) - len(missing), self.study.steps
        if steps is None or not missing:
            return Cost(len(self.asked), stored, total)
        manager, maps = steps.manager, steps.measurer.source_maps
        batch = missing[: first_size(self.study.batch_size, manager, missing[0].size)]

        def timed(count: int) -> float:
            short = {trial.id: trial for trial in (replace(t, steps=count) for t in batch)}
            started = time.perf_counter()
            list(watch([*short.values()], maps, manager, (), batch_size=len(short)))
            return time.perf_counter() - started

        timed(1)  # to warm up
        first, several = timed(1), timed(1 + TIMED_STEPS)
        each = max(several - first, 0.0) / TIMED_STEPS
        seconds = (first + each * (total - 1)) * len(missing) / len(batch)
        return Cost(len(self.asked), stored, total, seconds, manager.device)
