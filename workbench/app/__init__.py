"""The notebook app: `Workbench()` in a cell shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import ipywidgets as widgets

from workbench.app import html
from workbench.app.engine import ModelEngine
from workbench.app.explorer import Explorer, explore
from workbench.app.redrawing import redrawn
from workbench.app.session import Engine, Session
from workbench.app.sliders import Slider, slider
from workbench.app.state import AppState, Choice, Offer, Preview, Screen, Sheet, Work
from workbench.app.still import Still, still
from workbench.app.views import (
    CanvasView,
    DrawingView,
    MakeView,
    ModelView,
    PromptView,
    RunsView,
    RunView,
    SettingsView,
    SteeringView,
    View,
    columns,
)
from workbench.app.worker import Job, JobQueue, Task, TaskState, Worker

__all__ = [
    "AppState",
    "Choice",
    "Engine",
    "Explorer",
    "Job",
    "JobQueue",
    "Offer",
    "Preview",
    "Screen",
    "Session",
    "Sheet",
    "Slider",
    "Task",
    "TaskState",
    "Work",
    "Workbench",
    "Worker",
    "explore",
    "redrawn",
    "slider",
]

_OPEN: WeakValueDictionary[Path, Workbench] = WeakValueDictionary()
"""The workbenches of this process by their folder of runs: a cell that is run again closes the
former one, whose models and work would go on without any button."""


class Workbench(Still, widgets.VBox):
    """The whole app as one widget. `session` can do by code all that the buttons do.

    Args:
        runs: folder of run folders and uploaded pictures, created when needed. Another workbench
            of this process on the same folder is closed; its pictures are kept.
        family: model family, by name.
        models: folder of its models, if not the usual one.
        device: where they compute ("cuda"); CUDA where there is some, else the CPU, if None.
        engine: in place of these three.
    """

    def __init__(
        self,
        runs: str | Path = "runs",
        *,
        family: str = "paperdoll",
        models: str | Path | None = None,
        device: str | None = None,
        engine: Engine | None = None,
        **options: Any,
    ) -> None:
        place = Path(runs).resolve()
        engine = engine or ModelEngine(family, models_dir=models, device=device)
        if (former := _OPEN.get(place)) is not None:
            former.close()
        self._runs = Path(runs)
        self.message = widgets.HTML()
        self.message.add_class("wb-message")
        super().__init__(**options)
        self.add_class("wb-app")
        self._begin(engine)
        if runs_there := self.session.state.now.runs:
            self.session.open(runs_there[0])
        _OPEN[place] = self

    def _begin(self, engine: Engine) -> None:
        """A session with an engine, and the widgets that show it."""
        self.session = Session(engine, self._runs)

        def tell(text: str) -> None:
            self.message.value = html.note(text) if text else ""
            if text:
                self.run.explorer.come(".wb-message")

        self.run = RunView(self.session, tell)
        self.session.state.tell = tell
        self.canvas = CanvasView(self.session, tell)
        self.steering = SteeringView(self.session, tell, self.canvas.take)
        self.prompt = PromptView(self.session, tell)
        self.drawing = DrawingView(self.session, tell)
        self.settings = SettingsView(self.session, tell, self.steering, self.drawing)
        self.models = ModelView(self.session, tell, engine.family.name, self.use_family)
        self.making = MakeView(self.session, tell, lambda: self.run.explorer.come())
        self.runs = RunsView(self.session, tell)
        picture = columns(
            [self.steering.pictures, self.making.strip_box],
            [
                self.steering.source_box,
                self.canvas.button,
                self.drawing.box,
                self.steering.second_box,
            ],
            [self.prompt.box],
        )
        settings = widgets.VBox([self.settings.box, self.models.box])
        self.tabs = widgets.Tab(
            [widgets.VBox([picture, self.canvas.box]), self.making.panel, settings, self.runs.box],
            titles=("Picture", "Sweep", "Settings", "Run"),
        )
        self.tabs.add_class("wb-setup")
        self.fold = widgets.ToggleButton(
            description="Hide panel", layout={"width": "96px"},
            tooltip="Whether what steers the next picture is shown",
        )  # fmt: skip
        self.fold.add_class("wb-fold")
        self.fold.observe(lambda event: self._fold(folded=event["new"]), names="value")
        work = widgets.HBox(
            [self.fold, self.making.box, self.models.words, self.run.box],
            layout={"flex_flow": "row wrap", "grid_gap": "0 14px"},
        )
        self.children = [
            widgets.HTML(html.STYLE), self.tabs, work, self.making.queue, self.message,
            self.run.explorer,
        ]  # fmt: skip
        for view in self._views:
            view.start()
        self.session.show()

    def _fold(self, *, folded: bool) -> None:
        """Leave the line of work alone of the panel, so that pictures have all of the window."""
        self.tabs.layout.display = "none" if folded else ""
        self.fold.description = "Show panel" if folded else "Hide panel"
        self.run.explorer.come()

    def use_family(self, name: str) -> None:
        """Work with another family of the catalogue; the models of the former are let go of.

        The next picture begins a new run. FamilyError if there is no such family, ValueError while
        pictures are being made.
        """
        if self.session.jobs.unfinished:
            raise ValueError("pictures are being made: wait for them, or press Stop; then again")
        engine = self.session.engine.of_family(name)
        engine.offer()  # what is wrong with it shows before the former is gone
        self._end()
        at, folded = self.tabs.selected_index, self.fold.value
        self._begin(engine)
        self.tabs.selected_index, self.fold.value = at, folded

    def _end(self) -> None:
        for view in self._views:
            view.close()
        self.session.close()

    @property
    def _views(self) -> tuple[View, ...]:
        return (
            self.steering, self.canvas, self.prompt, self.drawing, self.settings, self.models,
            self.making,
            self.runs, self.run,
        )  # fmt: skip

    def still(self) -> str:
        """Some pictures of the newest run."""
        return still(self.session.state.now.runs)

    def __repr__(self) -> str:
        return "The ControlNet workbench"

    def close(self) -> None:
        """Stop all work and let go of the models. What is made is kept."""
        if hasattr(self, "session"):  # a widget that was refused is closed, too
            self._end()
        super().close()
