"""What is made and how the work goes: the explorer and the line above it."""

from __future__ import annotations

import time

import ipywidgets as widgets

from workbench.app import html
from workbench.app.explorer import Explorer
from workbench.app.session import Session
from workbench.app.state import Screen
from workbench.app.views.base import Tell, View

FOLLOW_SHARE = 4.0
"""While a sweep runs, the explorer rests this many times as long as its last update took."""


class RunView(View):
    """The explorer of the run on the screen, and how the work goes."""

    fields = frozenset({"sheet", "work", "status"})

    def __init__(self, session: Session, tell: Tell) -> None:
        super().__init__(session, tell)
        self.explorer = Explorer(make=self._make)
        self.explorer.observe(lambda _: self._look(), names="picked")
        self.bar = widgets.FloatProgress(min=0, max=1, layout={"width": "140px"})
        self.text, self.status = widgets.HTML(), widgets.HTML()
        self.text.add_class("wb-progress")
        self.status.add_class("wb-status")
        self.box = widgets.HBox([self.bar, self.text, self.status])
        self._known: tuple[object, int] = (None, -1)
        self._rest_until = 0.0

    def _make(self, trial: str) -> None:
        try:
            self.session.make_trial(trial)
        except Exception as error:
            self._tell(f"That failed: {error}")

    def _look(self) -> None:
        self.session.state.change(in_hand=self.explorer.in_hand)

    def show(self, screen: Screen) -> None:
        work = screen.work
        self.bar.value = work.done / work.total if work.total and work.running else 0.0
        self.bar.layout.display = "" if work.running else "none"
        self.text.value = html.note(html.progress_text(work))
        self.status.value = html.note(screen.status)
        self.follow(screen)

    def follow(self, screen: Screen) -> None:
        """Queue an update of the explorer, if there is more to see than it shows."""
        sheet = screen.sheet
        key = (None, -1) if sheet is None else (sheet.folder, sheet.version)
        if key == self._known:
            return
        resting = screen.work.running and time.monotonic() < self._rest_until
        if resting and key[0] == self._known[0]:
            return
        self._known = key
        self.session.reader.submit("explorer", lambda _: self._update())

    def _update(self) -> None:
        from workbench.runs import open_run
        from workbench.store import StoreError

        began = time.monotonic()
        sheet = self.session.state.now.sheet
        run = None
        if sheet is not None:
            try:
                run = open_run(sheet.folder)
            except StoreError:  # its first picture is being made
                run = None
        cells = sheet.plan.cells if sheet is not None and sheet.plan is not None else ()
        self.explorer.show(run, cells)
        if sheet is not None and sheet.newest:
            self.explorer.pick(sheet.newest)
        self._look()
        took = time.monotonic() - began
        self._rest_until = time.monotonic() + FOLLOW_SHARE * took

    def close(self) -> None:
        super().close()
        self.explorer.close()
