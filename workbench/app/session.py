"""What a person can do in the app, without any widget: choose, make, sweep, stop, open a run.

Every picture is a trial in a run folder. One picture is a sweep of one cell: both extend the run
on the screen where its study can hold them, and begin a new run where it cannot.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from workbench.app.compare import compare
from workbench.app.grid import Axes, extended, python_lines
from workbench.app.presets import preset
from workbench.app.progress import Live
from workbench.app.said import plain, said
from workbench.app.settings import more_settings, settings_of
from workbench.app.shelf import Shelf, free
from workbench.app.state import (
    AppState,
    Choice,
    Comparison,
    Offer,
    Preview,
    Reading,
    Screen,
    Sheet,
    Work,
)
from workbench.app.worker import Job, JobQueue, Task, TaskState, Worker
from workbench.cancel import CancelToken
from workbench.controls import get_control
from workbench.families import Family
from workbench.formats import duration
from workbench.images import Picture
from workbench.prompts import parse_tags, webui_syntax
from workbench.study import Choices, PairChoice, Plan, Study, StudyError
from workbench.study.errors import structure_problems
from workbench.study.labels import path_of

if TYPE_CHECKING:
    from workbench.explorer import LocalNetworks

PREVIEW, PRICE, MODELS, CHANGE, READING = "preview", "price", "models", "change", "reading"
MAX_SCALE, MAX_SEED = 10.0, 2**32 - 1
STRIP_SCALES, STRIP_SEEDS = (0.0, 0.4, 0.8, 1.2, 1.6), 4
"""What the strips of scales and of seeds hold; the first seed is that of the choice."""
TAKEN = ("csv", "parquet", "imagefolder")
"""The forms in which a run is taken away."""


class Engine(Protocol):
    """What the session needs of the rooms below; see `workbench.app.engine.ModelEngine`."""

    @property
    def choices(self) -> Choices: ...
    @property
    def family(self) -> Family: ...
    @property
    def lends(self) -> LocalNetworks | None: ...

    def of_family(self, name: str) -> Engine: ...

    def offer(self) -> Offer: ...
    def study(self, choice: Choice, axes: Axes | None = None, name: str = ...) -> Study: ...
    def plan(self, study: Study) -> Plan: ...
    def asked(self, choice: Choice, axes: Axes | None = None) -> tuple[str, ...]: ...
    def missing(self, study: Study) -> str: ...
    def about(self, choice: Choice) -> str: ...
    def read(self, choice: Choice) -> Reading: ...
    def to_download(self, study: Study) -> tuple[str, ...]: ...
    def preview(self, choice: Choice) -> Preview: ...
    def picture(self, choice: Choice) -> Picture: ...
    def add_source(self, name: str, data: bytes, folder: Path) -> str: ...
    def make(
        self,
        study: Study,
        folder: Path,
        trials: Collection[str],
        progress: Callable[[Any], None],
        cancel: CancelToken,
    ) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class _Order:
    """Some trials of a run that are to be made.

    newest: that which was asked for by hand, and is shown when it is there; "" for none. beside:
    that which is shown beside it.
    """

    sheet: Sheet
    trials: Collection[str]
    newest: str = ""
    beside: str = ""


class Session:
    """One person at one screen.

    Args:
        engine: the models.
        runs: the folder of run folders, and of pictures that are uploaded.
    """

    def __init__(self, engine: Engine, runs: Path = Path("runs")) -> None:
        self.engine = engine
        self.shelf = Shelf(Path(runs))
        offer = engine.offer()
        self.state = AppState(Screen(offer.first, offer, runs=self.shelf.runs()))
        self.viewer = Worker("workbench-preview")
        # Of its own, so that a run is shown while the map of the choice waits for its network.
        self.reader = Worker("workbench-reader")
        self.jobs = JobQueue(self._tell_work, self._tell_end)
        self._pace: float | None = None  # seconds a picture
        self._warm = False
        self._versions = count(1)
        self._sheets: dict[Path, Sheet] = {}  # each run as it is known here
        self._ordered: set[str] = set()  # sources with which a picture was asked for
        self._at_work: Job | None = None  # what `Screen.work` speaks of
        self._place: Path | None = None  # the run of the job under way, or that ended last

    def choose(self, **values: Any) -> Choice:
        """Change some of the choice (see `Choice`), and show its source and control map.

        `kept` may come in any order; it is brought into the order of the prompt. Another `prompt`
        (tags, or a text with commas) is kept whole unless `kept` says otherwise. `settings` may be
        a mapping. Another control type has its default settings.
        Raises ValueError for what is not on offer or cannot be; the choice then stays.
        """
        before = self.state.now.choice
        choice = self.state.update(lambda s: {"choice": self._checked(s, values)}).choice
        if choice != before:
            self.show()
        return choice

    def _checked(self, screen: Screen, values: Mapping[str, Any]) -> Choice:
        values, offer = dict(values), screen.offer
        _check_words(values)
        if "prompt" in values:
            given = values["prompt"]
            prompt = parse_tags(given if isinstance(given, str) else ",".join(given))
            if not prompt:
                raise ValueError("the prompt has no tag at all")
            values = {"kept": prompt, **values, "prompt": prompt}
        for kind, settings in (("control", "settings"), ("second", "second_settings")):
            if values.get(kind, getattr(screen.choice, kind)) != getattr(screen.choice, kind):
                values = {settings: "", **values}
        choice = replace(screen.choice, **values)
        unknown = [tag for tag in choice.kept if tag not in choice.prompt]
        if unknown:
            raise ValueError(f"the prompt has no tag {unknown[0]!r}")
        for what, value, there in (
            ("source", choice.source, offer.sources),
            ("control type", choice.control, offer.controls),
            ("base model", choice.base, offer.bases),
            ("sampler", choice.scheduler, offer.schedulers),
        ):
            if value not in there:
                raise ValueError(f"there is no {what} {value!r}; there are: {', '.join(there)}")
        _number("scale", choice.scale, 0, MAX_SCALE)
        _number("seed", choice.seed, 0, MAX_SEED, whole=True)
        _number("steps", choice.steps, 1, 1000, whole=True)
        _number("guidance_scale", choice.guidance_scale, 1, 30)
        _number("control_start", choice.control_start, 0, 1)
        _number("control_end", choice.control_end, 0, 1)
        _number("second_scale", choice.second_scale, 0, MAX_SCALE)
        self._check_second(choice, offer)
        if choice.control_start >= choice.control_end:
            raise ValueError(
                f"the control must start before it ends, not at {choice.control_start:g} with its "
                f"end at {choice.control_end:g}"
            )
        kept = tuple(tag for tag in choice.prompt if tag in set(choice.kept))
        second = _settings(choice.second, choice.second_settings) if choice.second else ""
        choice = replace(
            choice, kept=kept, settings=_settings(choice.control, choice.settings),
            second_settings=second, more=more_settings(choice.more),
        )  # fmt: skip
        try:
            self.engine.study(choice)
        except StudyError as error:  # says what further settings cannot be
            raise ValueError(said(error)) from None
        return choice

    def _check_second(self, choice: Choice, offer: Offer) -> None:
        """ValueError for a second control that cannot steer together with the first."""
        if not choice.second:
            return
        if choice.second not in offer.controls:
            there = ", ".join(offer.controls)
            raise ValueError(f"there is no control type {choice.second!r}; there are: {there}")
        if choice.second == choice.control:
            label = offer.controls[choice.second]
            raise ValueError(f"{label} cannot be both controls: choose another one of the two")
        if problem := self.engine.family.pair_problem(choice.control, choice.second):
            raise ValueError(problem)

    def show(self) -> Task:
        """Queue source and control map of the choice; older ones under way are dropped."""
        choice = self.state.now.choice
        self.state.change(preview_status="…")

        def shown(found: Preview) -> None:
            self.state.change(preview=found, preview_status=found.warning)

        def failed(task: Task) -> None:
            if task.state is TaskState.FAILED:
                self.state.change(preview=None, preview_status=f"No map: {said(task.error)}")

        task = self.viewer.submit(
            PREVIEW,
            lambda _: self.engine.preview(choice),
            on_result=shown,
            on_end=failed,
        )
        self.viewer.submit(MODELS, lambda _: self._show_models(choice))
        self.reader.submit(READING, lambda _: self.state.change(reading=self.engine.read(choice)))
        return task

    def _show_models(self, choice: Choice) -> None:
        self.state.change(models=self.engine.about(choice))

    def write(self, words: Iterable[tuple[str, bool]]) -> Choice:
        """Choose the prompt word by word, each with whether it is kept; as `choose`.

        A comma in a word makes it two; a word that comes again is left out.
        """
        kept: dict[str, bool] = {}
        for text, on in words:
            for tag in parse_tags(text):
                kept.setdefault(tag, on)
        return self.choose(prompt=tuple(kept), kept=tuple(tag for tag, on in kept.items() if on))

    def take_preset(self, name: str) -> Choice:
        """Choose one of the four settings in which ControlNets are compared (`presets.PRESETS`)."""
        now = self.state.now
        shows = () if now.preview is None else now.preview.shows
        groups = self.engine.family.tag_groups()
        prompt, kept = preset(name, now.choice.prompt, groups, shows)
        return self.choose(prompt=prompt, kept=kept)

    def upload(self, name: str, data: bytes) -> Choice:
        """Keep a picture beside the runs, offer it as a source and choose it.

        ImageError if it cannot be read.
        """
        source = self.engine.add_source(name, data, self.shelf.sources)
        self._offer_sources([source])
        return self.choose(source=source)

    def use_source(self, source: str, *, in_place_of: str = "") -> Choice:
        """Offer a source and choose it.

        in_place_of: a source in the folder of uploaded pictures that it replaces: an earlier state
            of the same drawing. It is deleted, unless a picture was asked for with it.
        """
        self._offer_sources([source])
        choice = self.choose(source=source)
        if in_place_of and in_place_of != source and in_place_of not in self._ordered:
            self._forget(in_place_of)
        return choice

    def _forget(self, source: str) -> None:
        def less(screen: Screen) -> dict[str, Any]:
            left = tuple(one for one in screen.offer.sources if one != source)
            return {"offer": replace(screen.offer, sources=left)}

        self.state.update(less)
        path = Path(path_of(source))
        if path.parent == self.shelf.sources.resolve():
            path.unlink(missing_ok=True)

    def _offer_sources(self, sources: Collection[str]) -> None:
        def more(screen: Screen) -> dict[str, Any]:
            both = tuple(dict.fromkeys([*screen.offer.sources, *sources]))
            return {"offer": replace(screen.offer, sources=both)}

        self.state.update(more)

    def make(self, axes: Axes | None = None) -> Job | None:
        """Queue the picture of the choice, or with axes a sweep around it.

        It goes into the run on the screen if that can hold it, else into a new one. A single
        picture goes between two batches of a sweep. What is there already is not made again.

        Args:
            axes: name of an axis (`workbench.app.grid.AXES`) -> its values.

        Returns:
            None, with the reason on the screen, if a model is missing. StudyError for axes that
            cannot be.
        """
        return self._order(self.state.now.choice, axes)

    def make_twin(self) -> Job | None:
        """Queue the picture of the choice, and beside it what its text alone makes; as `make`.

        The text alone is the same picture at scale 0.
        """
        choice = self.state.now.choice
        axes: dict[str, list[float]] = {"scale": sorted({0.0, choice.scale})}
        if choice.second:
            axes["second_scale"] = sorted({0.0, choice.second_scale})
        return self._order(choice, axes, beside=replace(choice, scale=0.0, second_scale=0.0))

    @property
    def strips(self) -> Mapping[str, tuple[Any, ...]]:
        """Axis -> what `make_strip` varies of it; only the axes of which there is more than one."""
        choice, offer = self.state.now.choice, self.state.now.offer
        seed = min(choice.seed, MAX_SEED - STRIP_SEEDS + 1)
        values: dict[str, tuple[Any, ...]] = {
            "scale": STRIP_SCALES,
            "seed": tuple(range(seed, seed + STRIP_SEEDS)),
            "control": tuple(name for name in offer.controls if name != choice.second),
            "base": offer.bases,
        }
        return {axis: several for axis, several in values.items() if len(several) > 1}

    def make_strip(self, axis: str) -> Job | None:
        """Queue a strip (see `strips`) of what is chosen: a sweep of one axis; as `make`.

        ValueError for an axis of which there is no strip.
        """
        if axis not in self.strips:
            raise ValueError(f"there is no strip of {axis!r}; there are: {', '.join(self.strips)}")
        return self.make({axis: self.strips[axis]})

    def _order(
        self, choice: Choice, axes: Axes | None = None, beside: Choice | None = None
    ) -> Job | None:
        """Queue what is asked for; with `beside` it is by hand, and compared with that choice."""
        wanted = self.engine.study(choice, axes)
        if missing := self.engine.missing(wanted):
            self.state.change(status=missing)
            return None
        by_hand = not axes or beside is not None

        self._ordered.update(wanted.sources)

        def find() -> _Order:
            trials = self.engine.asked(choice, axes)
            newest = trials[0] if len(trials) == 1 else ""
            other = ""
            if beside is not None:
                newest, other = self.engine.asked(choice)[0], self.engine.asked(beside)[0]
                trials = tuple(dict.fromkeys((newest, other)))
            return _Order(self._sheet_for(wanted), trials, newest, other)

        return self._submit(find, urgent=by_hand, about=_about(axes or {}, beside))

    def make_trial(self, trial: str) -> Job | None:
        """Queue one picture of the run on the screen, such as one that its sheet lacks."""
        sheet = self.state.now.sheet
        if (
            sheet is None
            or not sheet.plan
            or not sheet.study
            or trial not in sheet.plan.trials_by_id
        ):
            return None
        if missing := self.engine.missing(sheet.study):
            self.state.change(status=missing)
            return None

        return self._submit(
            lambda: _Order(self._sheets.get(sheet.folder, sheet), (trial,), trial), urgent=True
        )

    def complete(self) -> Job | None:
        """Queue all that the run on the screen lacks."""
        sheet = self.state.now.sheet
        if sheet is None or sheet.plan is None:
            return None
        ids = tuple(sheet.plan.trials_by_id)
        return self._submit(
            lambda: _Order(self._sheets.get(sheet.folder, sheet), ids), urgent=False,
            about=f"what {sheet.folder.name} lacks",
        )  # fmt: skip

    def _submit(
        self, find: Callable[[], _Order], *, urgent: bool, about: str = "one picture"
    ) -> Job:
        """Queue the making of some trials; `find` says which and of which run, in their turn.

        Work that was interrupted goes on in its own run, as that is by then, and leaves the screen
        to whatever is on it.
        """
        begun: list[_Order] = []

        def work(cancel: CancelToken) -> None:
            on_screen = True
            self._place = begun[0].sheet.folder if begun else None
            if begun:
                folder, now = begun[0].sheet.folder, self.state.now.sheet
                order = replace(begun[0], sheet=self._sheets[folder])
                on_screen = now is not None and now.folder == folder
            else:
                order = find()
                begun.append(order)
            if on_screen:
                self._show_sheet(replace(order.sheet, newest="", beside=""))
            self._make(order, cancel)

        title = "picture" if urgent else "sweep"
        return self.jobs.submit(Job(title, work, urgent=urgent, about=about))

    def _sheet_for(self, wanted: Study) -> Sheet:
        """The run on the screen with a study that holds what is wanted, or a new run."""
        now = self.state.now.sheet
        grown = None
        if now is not None and now.plan is not None and now.study is not None:
            grown = extended(now.study, wanted, self.engine.choices)
        if now is None or grown is None:
            folder = self.shelf.new()
            folder.mkdir(parents=True)  # so that nothing else takes the name
            study = wanted.model_copy(update={"name": folder.name})
            return Sheet(folder, study, self.engine.plan(study))
        return replace(now, study=grown, plan=self.engine.plan(grown))

    def _make(self, order: _Order, cancel: CancelToken) -> None:
        """Make what is missing of some trials of a run, and tell as it comes."""
        sheet = order.sheet
        self._place = sheet.folder
        self._sheets[sheet.folder] = sheet

        def tell(values: dict[str, Any]) -> None:
            self.state.update(lambda s: {"work": replace(s.work, **values)})

        live = Live(tell, self._grow, look_at=order.newest)
        assert sheet.study is not None
        self.engine.make(sheet.study, sheet.folder, order.trials, live, cancel)
        if self._warm:  # the first picture waits for models and for chance and ceiling
            self._pace = live.pace or self._pace
        self._warm = True
        if not cancel.cancelled:
            self._grow(order.newest, order.beside)

    def _show_sheet(self, sheet: Sheet) -> None:
        self._sheets[sheet.folder] = sheet
        now = self.state.now
        same = now.sheet is not None and now.sheet.folder == sheet.folder
        self.state.change(
            sheet=replace(sheet, version=next(self._versions)), doomed=None,
            compared=now.compared if same else None,
        )  # fmt: skip

    def _grow(self, newest: str = "", beside: str = "") -> None:
        """There is more of the run at work on the disk; another one on the screen stays as is."""

        def more(screen: Screen) -> dict[str, Any]:
            sheet = screen.sheet
            if sheet is None or sheet.folder != self._place:
                return {}
            version = next(self._versions)
            return {"sheet": replace(sheet, version=version, newest=newest, beside=beside)}

        self.state.update(more)

    def stop(self) -> None:
        """Stop what is being made after its present step, and forget what waits."""
        running, waiting = self.jobs.now
        self.jobs.stop()
        if running is None and waiting:  # else the end of what is made says so
            self.state.change(status="Stopped. Nothing waits any more.")

    def pause(self) -> None:
        """Hold sweeps back: one under way stops after its present step. Single pictures go on."""
        self.jobs.hold(True)

    def resume(self) -> None:
        """Let sweeps go on where they were held back."""
        self.jobs.hold(False)

    def drop(self, job: Job) -> None:
        """Forget a sweep or a picture that waits."""
        self.jobs.drop(job)

    def compare(self, other: Path) -> Task:
        """Queue the comparison of the run on the screen with another one (`Screen.compared`).

        ValueError if there is no run on the screen, or if it is the same.
        """
        folder = self._run_here()
        if other.resolve() == folder.resolve():
            raise ValueError("that is the run on the screen itself: choose another one")
        self.state.change(status=f"Comparing {folder} with {other} …")

        def show(found: Comparison) -> None:
            sheet = self.state.now.sheet
            if sheet is not None and sheet.folder == folder:  # no other one was opened meanwhile
                told = f"{folder} beside {other}: see the tab Run."
                self.state.change(compared=found, status=told)

        def failed(task: Task) -> None:
            if task.state is TaskState.FAILED:
                told = f"{folder} and {other} cannot be compared: {said(task.error)}"
                self.state.change(compared=None, status=told)

        return self.reader.submit(
            "compare", lambda _: compare(folder, other), on_result=show, on_end=failed
        )

    def ask_price(self, axes: Axes) -> Task:
        """Queue the answer to what a sweep would take: pictures, those that are there, time."""
        choice, sheet = self.state.now.choice, self.state.now.sheet

        def answer(_: CancelToken) -> str:
            try:
                ids = set(self.engine.asked(choice, axes))
            except StudyError as error:  # as typed: nothing has failed
                return f"This sweep cannot be made: {said(error)}."
            there = 0
            if sheet is not None and (sheet.folder / "study.yaml").is_file():
                from workbench.store import RunFolder

                there = len(ids & RunFolder.open(sheet.folder).scan(strict=False).records.keys())
            text = f"{len(ids)} pictures, {there} of them there already"
            if self._pace is not None and len(ids) > there:
                text += f", about {duration(self._pace * (len(ids) - there))}"
            return f"{text}."

        def told(text: str) -> None:
            self.state.change(price=text)

        def failed(task: Task) -> None:
            if task.state is TaskState.FAILED:
                self.state.change(price=f"This sweep cannot be made: {said(task.error)}")

        return self.reader.submit(PRICE, answer, on_result=told, on_end=failed)

    def no_price(self, reason: str) -> None:
        """Say in place of a price why there is none."""
        self.reader.cancel(PRICE)
        self.state.change(price=reason)

    def open(self, folder: str | Path) -> Task:
        """Queue a run folder to be shown. No model is loaded. The choice follows its study."""
        folder = Path(folder)

        def look(_: CancelToken) -> Sheet:
            from workbench.runs import open_run

            study = plan = None
            run = open_run(folder)
            with suppress(StudyError, ValueError, OSError):
                study = run.study
                plan = self.engine.plan(study) if self._is_ours(study) else None
            return Sheet(folder, study, plan)

        def show(sheet: Sheet) -> None:
            self._show_sheet(sheet)
            note = "What is made extends it; New run begins another."
            if not sheet.plan:
                note = "It can be looked at, not gone on with."
            self.state.change(status=f"This is {folder}. {note}")
            if sheet.plan and sheet.study:
                self._follow(sheet.study)

        def ended(task: Task) -> None:
            self.state.change(opening=None)
            if task.state is TaskState.FAILED:
                self.find_runs()
                self.state.change(status=f"{folder} cannot be opened: {said(task.error)}")

        self.state.change(status=f"Opening {folder} …", opening=folder)
        return self.reader.submit("open", look, on_result=show, on_end=ended)

    def _is_ours(self, study: Study) -> bool:
        """Whether it is a grid of what can be chosen here: a list of tags, cut from its end."""
        tags = isinstance(study.prompt, tuple) and study.unit == "tags" and not study.forms
        plain = not any(map(webui_syntax, (", ".join(study.tags), study.negative_prompt)))
        known = study.family in self.engine.choices.families
        return known and tags and plain and not study.captions

    def _follow(self, study: Study) -> None:
        """Choose what a study begins with."""
        self._offer_sources(study.sources)
        use = study.controls[0]
        one, *rest = use.pair if isinstance(use, PairChoice) else (use,)
        axes = use.axes(study.scales) if isinstance(use, PairChoice) else (study.scales,)
        scale, *second_scale = [axis[len(axis) // 2] for axis in axes]
        self.choose(
            source=study.sources[0], control=one.type, settings=one.settings, prompt=study.tags,
            second=rest[0].type if rest else "",
            second_settings=rest[0].settings if rest else "",
            second_scale=second_scale[0] if rest else 1.0,
            scale=scale, seed=study.seeds[0], base=study.base[0], steps=study.steps,
            guidance_scale=study.guidance_scale, scheduler=study.scheduler,
            negative_prompt=study.negative_prompt, control_start=study.control_start,
            control_end=study.control_end, more=settings_of(study),
        )  # fmt: skip

    def new_run(self) -> None:
        """Begin a new run with the next picture."""
        told = "The next picture begins a new run."
        self.state.change(sheet=None, in_hand="", doomed=None, compared=None, status=told)

    def find_runs(self) -> tuple[Path, ...]:
        """Look for run folders; newest first."""
        return self.state.change(runs=self.shelf.runs()).runs

    def rename(self, name: str) -> Task:
        """Queue another name for the folder of the run on the screen.

        As for `duplicate` and `delete`, ValueError if there is no run, or while anything is being
        made; what else is in the way is said on the screen.
        """
        return self._change_run(
            lambda run: self.shelf.rename(run, name), "{run} is now {place}.", moved=True
        )

    def duplicate(self) -> Task:
        """Queue a copy of the run on the screen, which is then on the screen in its place."""
        return self._change_run(self.shelf.duplicate, "{place} is a copy of {run}.")

    def ask_delete(self) -> Task:
        """Queue the question whether the run on the screen is to be deleted (`Screen.doomed`)."""
        folder = self._resting_run()

        def look(_: CancelToken) -> int:
            from workbench.store import RunFolder

            return len(RunFolder.open(folder).trial_ids())

        def ask(pictures: int) -> None:
            self.state.change(doomed=(folder, pictures))

        return self.reader.submit("ask", look, on_result=ask)

    def keep(self) -> None:
        """Answer the question of `ask_delete` with no."""
        self.state.change(doomed=None)

    def delete(self) -> Task:
        """Queue the end of the run on the screen; ValueError if `ask_delete` did not ask first."""
        doomed, folder = self.state.now.doomed, self._resting_run()
        if doomed is None or doomed[0] != folder:
            raise ValueError("ask first whether the run is to be deleted")
        return self._change_run(self.shelf.delete, "{run} is deleted.", moved=True)

    def _resting_run(self) -> Path:
        if any(task.name == CHANGE and not task.ended.is_set() for task in self.reader.tasks):
            raise ValueError("a run is being changed already: wait for that")
        if self.jobs.unfinished:
            raise ValueError("pictures are being made: wait for them, or press Stop; then again")
        return self._run_here()

    def _change_run(
        self, change: Callable[[Path], Path | None], told: str, *, moved: bool = False
    ) -> Task:
        folder = self._resting_run()

        def show(place: Path | None) -> None:
            sheet = self.state.now.sheet
            if moved:
                self._sheets.pop(folder, None)
            if sheet is not None and sheet.folder == folder:
                if place is None:
                    self.state.change(sheet=None, in_hand="", doomed=None, compared=None)
                else:
                    self._show_sheet(replace(sheet, folder=place, newest="", beside=""))
            self.find_runs()
            self.state.change(status=told.format(run=folder, place=place))

        def failed(task: Task) -> None:
            if task.state is TaskState.FAILED:
                self.state.change(
                    status=f"{folder} stays as it is: {said(task.error)}", doomed=None
                )

        return self.reader.submit(CHANGE, lambda _: change(folder), on_result=show, on_end=failed)

    def code(self, axes: Axes | None = None) -> str:
        """Python that makes the same pictures as `make` would. StudyError for what cannot be."""
        return python_lines(self.engine.study(self.state.now.choice, axes), "runs/by-hand")

    def report(self) -> Path:
        """Write the report of the run on the screen; returns its path.

        ValueError if there is no run with pictures.
        """
        from workbench.runs import open_run

        return open_run(self._run_here()).report()

    def _run_here(self) -> Path:
        """The folder of the run on the screen; ValueError if there is none with pictures."""
        sheet = self.state.now.sheet
        if sheet is None or not (sheet.folder / "study.yaml").is_file():
            raise ValueError("there is no run on the screen yet: make a picture or open a run")
        return sheet.folder

    def take_away(self, form: str) -> Task:
        """Queue the run on the screen to be written for other programs, beside its folder.

        Into ``<run>-taken``: "csv" and "parquet" write its table (``table.csv``), anew each time;
        "imagefolder" the pictures with ``metadata.jsonl`` (``pictures-1``, then ``pictures-2``).
        ValueError for another form, or if there is no run with pictures.
        """
        folder = self._run_here()
        if form not in TAKEN:
            raise ValueError(f"there is no form {form!r}; there are: {', '.join(TAKEN)}")
        place = folder.with_name(f"{folder.name}-taken")

        def write(_: CancelToken) -> Path:
            from workbench.runs import open_run

            run = open_run(folder)
            place.mkdir(exist_ok=True)
            if form == "imagefolder":
                return run.to_imagefolder(free(place / "pictures"))
            target = place / f"table.{form}"
            return run.to_csv(target) if form == "csv" else run.to_parquet(target)

        def told(path: Path) -> None:
            self.state.change(status=f"Written: {path}")

        def failed(task: Task) -> None:
            if task.state is TaskState.FAILED:
                self.state.change(status=f"{folder} cannot be taken away: {said(task.error)}")

        self.state.change(status=f"Writing {place} …")
        return self.reader.submit(f"take {form}", write, on_result=told, on_end=failed)

    def wait(self, timeout: float | None = None) -> Screen:
        """Wait until nothing is queued or running and return the screen.

        For scripts and tests; never call it from a widget's callback.
        Raises TimeoutError after `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            return None if end is None else max(0.0, end - time.monotonic())

        while (end_of_work := self._unfinished()) is not None:
            if not end_of_work.wait(left()):
                raise TimeoutError("work is still under way")
        return self.state.now

    def _unfinished(self) -> Event | None:
        waits: tuple[Job | Task, ...] = (
            *self.jobs.unfinished,
            *self.viewer.tasks,
            *self.reader.tasks,
        )
        return next((one.ended for one in waits if not one.ended.is_set()), None)

    def close(self) -> None:
        """Stop all work, end the threads and let go of the models. What is made is kept."""
        self.jobs.close()
        self.viewer.close()
        self.reader.close()
        self.engine.close()

    def _tell_work(self) -> None:
        def fields(screen: Screen) -> dict[str, Any]:
            # Looked up here, so that the last to tell is right.
            (running, queue), held = self.jobs.now, self.jobs.held
            if running is None:
                return {"work": Work(screen.work.title, queue=queue, held=held)}
            same = screen.work.running and self._at_work is running
            work = screen.work if same else Work(running.title, phase="starting")
            self._at_work = running
            return {"work": replace(work, running=True, queue=queue, held=held), "status": ""}

        self.state.update(fields)

    def _tell_end(self, job: Job) -> None:
        self._drop_empty()
        self.find_runs()
        place = self._place  # not of the run on the screen, which may be another one by now
        where = "" if place is None else f" in {place}"
        if job.state is TaskState.FAILED:
            self.state.change(status=f"That failed: {said(job.error)}")
        elif job.state is TaskState.CANCELLED:
            self._grow()
            there = place is not None and (place / "study.yaml").is_file()
            kept = f"What is made is kept{where}" if there else "Nothing was made yet"
            self.state.change(status=f"Stopped. {kept}.")
        else:
            self.state.change(status=f"Done. It is kept{where}.")

    def _drop_empty(self) -> None:
        """Remove the folders of runs that failed or were stopped before they began."""
        if self.jobs.now[1]:
            return  # what waits may be for one of them
        for folder in tuple(self._sheets):
            if (folder / "study.yaml").exists() or not self.shelf.drop_empty(folder):
                continue
            self._sheets.pop(folder, None)
            sheet = self.state.now.sheet
            if sheet is not None and sheet.folder == folder:
                self.state.change(sheet=None, in_hand="")


def _about(axes: Axes, beside: object) -> str:
    """What a job makes, in a few words: "sweep of 5 scales × 2 seeds"."""
    if beside is not None:
        return "a picture and its text alone"
    told = " × ".join(
        f"{len(values)} {name.replace('_', ' ')}{'s' * (len(values) != 1)}"
        for name, values in axes.items()
        if len(values)
    )
    return f"sweep of {told}" if told else "one picture"


def _check_words(values: Mapping[str, Any]) -> None:
    """ValueError for words that mean something to another program, and nothing here."""
    for name in ("prompt", "negative_prompt"):
        given = values.get(name, "")
        if found := webui_syntax(given if isinstance(given, str) else ", ".join(given)):
            raise ValueError(
                f"{found} is syntax of the webui, which is not done here: write plain words"
            )


def _settings(control: str, given: str | Mapping[str, Any]) -> str:
    """Settings of a control type as JSON, "" for its usual ones; ValueError if they are none."""
    kind = get_control(control).settings_type
    raw = given if isinstance(given, str) else json.dumps(dict(given))
    try:
        chosen = kind.model_validate_json(raw or "{}")
    except ValidationError as error:
        if not error.errors()[0]["loc"]:
            raise ValueError(
                f'settings are names and values such as {{"low": 50}}, not {raw}'
            ) from None
        problems = structure_problems(error, keys={"": list(kind.model_fields)}, allowed={})
        raise ValueError(". ".join(map(plain, problems))) from None
    return "" if chosen.canonical() == kind().canonical() else chosen.canonical()


def _number(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> None:
    """ValueError unless the value is a number between the two; with `whole`, an integer."""
    kind = int if whole else (int, float)
    if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
        what = "a whole number" if whole else "a number"
        raise ValueError(f"{name} must be {what} from {low:g} to {high:.10g}, not {value!r}")
