"""The notebook app: `Workbench()` in a cell shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import ipywidgets as widgets

from workbench.app import html
from workbench.app.engine import ModelEngine
from workbench.app.explorer import Explorer, explore
from workbench.app.session import Engine, Session
from workbench.app.sliders import Slider, slider
from workbench.app.state import AppState, Choice, Offer, Preview, Screen, Sheet, Work
from workbench.app.views import (
    DrawingView,
    MakeView,
    PromptView,
    RunsView,
    RunView,
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
    "slider",
]

_OPEN: WeakValueDictionary[Path, Workbench] = WeakValueDictionary()
"""The workbenches of this process by their folder of runs: a cell that is run again closes the
former one, whose models and work would go on without any button."""


class Workbench(widgets.VBox):
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
        if (former := _OPEN.get(place)) is not None:
            former.close()
        models_here = engine or ModelEngine(family, models_dir=models, device=device)
        self.session = Session(models_here, Path(runs))
        self.message = widgets.HTML()
        self.message.add_class("wb-message")

        def tell(text: str) -> None:
            self.message.value = html.note(text) if text else ""

        self.session.state.tell = tell
        self.steering = SteeringView(self.session, tell)
        self.prompt = PromptView(self.session, tell)
        self.drawing = DrawingView(self.session, tell)
        self.making = MakeView(self.session, tell)
        self.runs = RunsView(self.session, tell)
        self.run = RunView(self.session, tell)
        picture = columns(
            [self.steering.pictures],
            [self.steering.source_box, self.drawing.box],
            [self.prompt.box],
            [self.making.strip_box],
        )
        settings = columns([self.steering.settings], [self.drawing.more])
        tabs = widgets.Tab(
            [picture, self.making.panel, settings, self.runs.box],
            titles=("Picture", "Sweep", "Settings", "Run"),
        )
        tabs.add_class("wb-setup")
        work = widgets.HBox([self.making.box, self.run.box], layout={"flex_flow": "row wrap"})
        parts = [widgets.HTML(html.STYLE), tabs, work, self.message, self.run.explorer]
        super().__init__(parts, **options)
        self.add_class("wb-app")
        for view in self._views:
            view.start()
        self.session.show()
        if runs_there := self.session.state.now.runs:
            self.session.open(runs_there[0])
        _OPEN[place] = self

    @property
    def _views(self) -> tuple[View, ...]:
        return (self.steering, self.prompt, self.drawing, self.making, self.runs, self.run)

    def close(self) -> None:
        """Stop all work and let go of the models. What is made is kept."""
        for view in self._views:
            view.close()
        self.session.close()
        super().close()
