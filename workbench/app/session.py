"""What a person can do in the app, without any widget: choose, draw, run a study, save it.

Every method returns at once; the work runs on the one worker thread and reports through the state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from workbench.app.state import AppState, Choice, Picture, Screen, StudyRun
from workbench.app.worker import Task, TaskState, Worker
from workbench.formats import duration
from workbench.generation.cancel import CancelToken
from workbench.prompts import parse_tags

DRAW, STUDY = "draw", "study"
PROGRESS_SECONDS = 0.2  # a browser digests about 24 updates a second; five look smooth
PLOT_SECONDS = 5.0
PLOT_SHARE = 0.1  # of the time goes into live plots at most


@dataclass(frozen=True)
class Offer:
    """What can be chosen: labels of sources, control name -> label, the prompt's tags, base models.

    What comes first is chosen at the start.
    """

    sources: tuple[str, ...]
    controls: Mapping[str, str]
    prompt: tuple[str, ...]
    bases: tuple[str, ...] = ("render",)


class Engine(Protocol):
    """The rooms below, as the app uses them. Only the worker thread calls draw, run and plot."""

    def missing(self, choice: Choice | None = None) -> str:
        """One sentence that says what the choice (None: the demo study) needs and cannot have, or
        "" when nothing is in the way."""
        ...

    def to_download(self, choice: Choice) -> tuple[str, ...]:
        """The models which the choice needs and which must be downloaded first, by title."""
        ...

    def offer(self) -> Offer:
        """What can be chosen."""
        ...

    def draw(
        self, choice: Choice, cancel: CancelToken, progress: Callable[[Any], None]
    ) -> Picture | None:
        """Generate and measure one picture; None if cancelled. Tells the progress of downloads."""
        ...

    def run(self, folder: Path, progress: Callable[[Any], None], cancel: CancelToken) -> None:
        """Run the demo study into a folder; goes on with what the folder already holds."""
        ...

    def plot(self, folder: Path) -> bytes:
        """The trade-off plot of a run folder as PNG, or b"" when it holds nothing to plot."""
        ...

    def study_yaml(self, choice: Choice) -> str:
        """A study file that reproduces the picture of this choice."""
        ...


class Session:
    """One person at one screen. `runs` is the folder that run folders and study files go to."""

    def __init__(self, engine: Engine, runs: Path = Path("runs")) -> None:
        self.engine = engine
        self.runs = Path(runs)
        self.offer = engine.offer()
        first = Choice(
            source=self.offer.sources[0],
            control=next(iter(self.offer.controls)),
            prompt=self.offer.prompt,
            kept=self.offer.prompt,
            base=self.offer.bases[0],
        )
        self.state = AppState(Screen(first, picture_status=engine.missing(first)))
        self.worker = Worker()
        self._last: dict[str, Task] = {}

    @property
    def demo_folder(self) -> Path:
        """Where the demo study's run lies."""
        return self.runs / "demo"

    def choose(self, **values: Any) -> Choice:
        """Change some of the choice (see `Choice`) and draw the picture if anything changed.

        `kept` may come in any order; it is brought into the order of the prompt. Another `prompt`
        (tags, or a text with commas) is kept whole unless `kept` says otherwise.
        Raises ValueError for a source, control or base model that is not on offer, for an empty
        prompt, and for a tag that the prompt does not have.
        """
        before = self.state.now.choice
        choice = self.state.update(lambda s: {"choice": self._checked(s.choice, values)}).choice
        if choice != before:
            self.draw()
        return choice

    def _checked(self, choice: Choice, values: Mapping[str, Any]) -> Choice:
        if "prompt" in values:
            given = values["prompt"]
            prompt = parse_tags(given if isinstance(given, str) else ",".join(given))
            if not prompt:
                raise ValueError("the prompt has no tag at all")
            values = {"kept": prompt, **values, "prompt": prompt}
        choice = replace(choice, **values)
        kept = tuple(tag for tag in choice.prompt if tag in set(choice.kept))
        unknown = [tag for tag in choice.kept if tag not in choice.prompt]
        if unknown:
            raise ValueError(f"the prompt has no tag {unknown[0]!r}")
        if choice.source not in self.offer.sources:
            raise ValueError(f"there is no source {choice.source!r}")
        if choice.control not in self.offer.controls:
            raise ValueError(f"there is no control type {choice.control!r}")
        if choice.base not in self.offer.bases:
            raise ValueError(f"there is no base model {choice.base!r}")
        return replace(choice, kept=kept)

    def draw(self) -> Task | None:
        """Queue the picture of the present choice; an older picture still under way is dropped."""
        choice = self.state.now.choice
        if missing := self.engine.missing(choice):
            self.state.change(picture_status=missing)
            return None
        busy = self.state.now.study.running
        self.state.change(picture_status="Waiting for the study …" if busy else "Drawing …")

        def show(picture: Picture | None) -> None:
            def fields(screen: Screen) -> dict[str, Any]:
                if picture is None or screen.choice != picture.choice:
                    return {}
                status = f"Drawn in {picture.seconds:.1f} s."

                if picture.warning:
                    status += f" {picture.warning}"
                return {"picture": picture, "picture_status": status}

            self.state.update(fields)

        return self._submit(
            DRAW,
            lambda cancel: self.engine.draw(choice, cancel, self._tell_download),
            on_start=lambda: self.state.change(picture_status=self._begins(choice)),
            on_result=show,
            on_end=lambda task: self._tell_failure(task, "picture_status"),
        )

    def _begins(self, choice: Choice) -> str:
        """What is said when a picture's turn has come."""
        models = ", ".join(self.engine.to_download(choice))
        return f"To be downloaded first: {models} …" if models else "Drawing …"

    def _tell_download(self, progress: Any) -> None:
        """Show how far a download is that a picture waits for."""
        left = progress.seconds_left
        rest = f", {duration(left)} left" if left else ""
        text = f"Downloading models: {progress.done} of {progress.total} MB{rest} …"
        self.state.change(picture_status=text)

    def run_demo(self) -> Task | None:
        """Queue the demo study; does nothing while it is running already."""
        if self.engine.missing():
            self.state.change(study_status=self.engine.missing())
            return None
        task = self._last.get(STUDY)
        if task is not None and not task.state.final:
            return task
        folder = self.demo_folder
        start = StudyRun(running=True, phase="waiting", folder=str(folder))
        self.state.change(study=start, study_status="")
        live = _LivePlot(self, folder)

        def ended(task: Task) -> None:
            self.state.update(lambda s: {"study": replace(s.study, running=False)})
            self._tell_failure(task, "study_status")
            if task.state is TaskState.DONE:
                self.state.change(study_status=f"Done. The run is kept in {folder}.")
            elif task.state is TaskState.CANCELLED:
                text = f"Stopped. What is done is kept in {folder}; run again to go on."
                self.state.change(study_status=text)
            live.plot()

        return self._submit(
            STUDY, lambda cancel: self.engine.run(folder, live, cancel), on_end=ended
        )

    def cancel_demo(self) -> None:
        """Ask the demo study to stop after its present step; what is done is kept."""
        if self.state.now.study.running:
            self.state.change(study_status="Stopping …")
            self.worker.cancel(STUDY)

    def show_earlier_run(self) -> Task | None:
        """Queue the plot of a demo run that is already on the disk, if there is one."""
        if not (self.demo_folder / "study.yaml").is_file():
            return None
        return self._submit(
            "earlier",
            lambda _: self.engine.plot(self.demo_folder),
            on_result=lambda png: self.state.change(plot_png=png),
        )

    def save_study(self, path: Path | None = None) -> Path:
        """Write the study file that reproduces the picture on the screen; returns its path.

        Each choice has a file, and a run folder, of its own, named after it.
        """
        choice = self.state.now.choice
        path = path or self.runs / f"{choice.name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.engine.study_yaml(choice), encoding="utf-8")
        return path

    def wait(self, timeout: float | None = None) -> Screen:
        """Wait until nothing is queued or running and return the screen.

        For scripts and the last cell of a notebook; never call it from a widget's callback.
        Raises TimeoutError after `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        for task in tuple(self._last.values()):
            left = None if end is None else max(0.0, end - time.monotonic())
            if not task.wait(left):
                raise TimeoutError(f"{task.name} is still {task.state.value}")
        return self.state.now

    def close(self) -> None:
        """Cancel all work and end the worker thread."""
        self.worker.close()

    def _submit(self, name: str, work: Callable[[CancelToken], Any], **callbacks: Any) -> Task:
        task = self._last[name] = self.worker.submit(name, work, **callbacks)
        return task

    def _tell_failure(self, task: Task, field: str) -> None:
        if task.state is TaskState.FAILED:
            self.state.change(**{field: f"That failed: {task.error}"})
        elif task.state is TaskState.CANCELLED and field == "picture_status":
            self.state.change(picture_status="Stopped.")


class _LivePlot:
    """Takes a study's progress, shows it five times a second and its plot now and then."""

    def __init__(self, session: Session, folder: Path) -> None:
        self._session = session
        self._folder = folder
        self._shown = self._next_plot = 0.0
        self._phase = ""

    def __call__(self, progress: Any) -> None:
        now = time.monotonic()
        ended = progress.total and progress.done >= progress.total
        if now - self._shown < PROGRESS_SECONDS and progress.phase == self._phase and not ended:
            return
        self._shown, self._phase = now, progress.phase
        left = progress.seconds_left
        values = {
            "done": progress.done,
            "total": progress.total,
            "seconds_left": math.nan if left is None else float(left),
            "phase": progress.phase,
        }
        state = self._session.state
        state.update(lambda s: {"study": replace(s.study, **values)})
        downloading = bool(getattr(progress, "unit", ""))
        if progress.done and not downloading and now >= self._next_plot:
            self.plot()
            took = time.monotonic() - now
            self._next_plot = time.monotonic() + max(PLOT_SECONDS, took / PLOT_SHARE)

    def plot(self) -> None:
        """Draw the plot of what is there; a plot that fails must not stop the study."""
        try:
            png = self._session.engine.plot(self._folder)
        except Exception as error:
            self._session.state.change(study_status=f"The plot could not be drawn: {error}")
            return
        if png:
            self._session.state.change(plot_png=png)
