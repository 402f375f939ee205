"""The notebook app: `Workbench()` in a cell shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets as widgets

from workbench.app import html
from workbench.app.explorer import Explorer, explore
from workbench.app.session import Engine, Offer, Session
from workbench.app.state import AppState, Choice, Picture, Row, Screen, StudyRun
from workbench.app.views import Chooser, PictureView, StudyView
from workbench.app.worker import Task, TaskState, Worker

__all__ = [
    "AppState",
    "Choice",
    "Engine",
    "Explorer",
    "Offer",
    "Picture",
    "Row",
    "Screen",
    "Session",
    "StudyRun",
    "Task",
    "TaskState",
    "Workbench",
    "Worker",
    "explore",
]


class Workbench(widgets.VBox):
    """The whole app as one widget. `session` can do by code all that the buttons do.

    runs: folder for run folders and saved studies, created when needed.
    family: model family, by name. models: folder of its models, if not the usual one. device: where
    they compute ("cuda"); CUDA where there is some, else the CPU, if None.
    engine: in place of all three.
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
        if engine is None:
            from workbench.app.engine import ModelEngine

            engine = ModelEngine(family, models_dir=models, device=device)
        self.session = Session(engine, Path(runs))
        message = widgets.HTML()
        message.add_class("wb-message")

        def tell(text: str) -> None:
            message.value = html.note(text)

        self.session.state.tell = tell
        self.chooser = Chooser(self.session, tell)
        self.pictures = PictureView(self.session, tell)
        self.study = StudyView(self.session, tell)
        upper = widgets.HBox(
            [self.chooser.box, self.pictures.box],
            layout={"flex_flow": "row wrap", "grid_gap": "0 20px"},
        )
        title = widgets.HTML(html.STYLE + html.caption("The demo study"))
        super().__init__([upper, title, self.study.box, message], **options)
        self.add_class("wb-app")
        for view in (self.chooser, self.pictures, self.study):
            view.start()
        self.session.draw()
        self.session.show_earlier_run()
