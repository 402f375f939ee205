"""What is made and how the work goes: the explorer and the line above it."""

from __future__ import annotations

import time
from typing import Any

import ipywidgets as widgets

from workbench.app import html
from workbench.app.explorer import Explorer
from workbench.app.said import said
from workbench.app.session import Session
from workbench.app.state import Screen, Sheet, Work
from workbench.app.views.base import Tell, View

FOLLOW_SHARE = 40.0
"""While a sweep runs, the explorer rests this many times as long as its last update took."""
FOLLOW_SECONDS = 0.2, 0.5
"""New pictures are shown no sooner after others, and as far as that costs too much no later."""


class RunView(View):
    """The explorer of the run on the screen, and how the work goes."""

    fields = frozenset({"sheet", "work", "status"})

    def __init__(self, session: Session, tell: Tell) -> None:
        super().__init__(session, tell)
        self.explorer = Explorer(make=self._make, networks=session.engine.lends)
        self.explorer.observe(lambda _: self._look(), names="picked")
        self.bar = widgets.FloatProgress(min=0, max=1, layout={"width": "140px"})
        self.text, self.status = widgets.HTML(), widgets.HTML()
        self.text.add_class("wb-progress")
        self.status.add_class("wb-status")
        self.box = widgets.HBox([self.bar, self.text, self.status])
        self._known: tuple[object, int] = (None, -1)
        self._rest_until = self._whole_from = 0.0
        self._grown = False  # means and intervals are of before
        self._shown: tuple[object, object] = (None, None)

    def _make(self, trial: str) -> None:
        try:
            self.session.make_trial(trial)
        except Exception as error:
            self._tell(f"That failed: {said(error)}")

    def _look(self) -> None:
        self.session.state.change(in_hand=self.explorer.in_hand)

    def show(self, screen: Screen) -> None:
        work = screen.work
        self.bar.value = work.done / work.total if work.total and work.running else 0.0
        self.bar.layout.display = "" if work.running else "none"
        self.text.value = html.note(html.progress_text(work))
        self.status.value = html.note(screen.status)
        self.explorer.making = _in_the_making(work)
        self.follow(screen)

    def follow(self, screen: Screen) -> None:
        """Queue an update of the explorer, if there is more to see than it shows."""
        sheet = screen.sheet
        key = (None, -1) if sheet is None else (sheet.folder, sheet.version)
        behind = self._grown and not screen.work.running
        if key == self._known and not behind:
            return
        resting = screen.work.running and time.monotonic() < self._rest_until
        if resting and key[0] == self._known[0]:
            return
        self._known, self._grown = key, False
        self.session.reader.submit("explorer", lambda _: self._update())

    def _update(self) -> None:
        began = time.monotonic()
        now = self.session.state.now
        sheet = now.sheet
        folder, plan = self._shown
        same = sheet is not None and folder == sheet.folder and plan is sheet.plan
        # What is new goes to its place at once; means and intervals of all follow at leisure.
        later = same and now.work.running and began < self._whole_from
        self._grown = later and self.explorer.grow()
        if not (self._grown and self.session.state.now.work.running):
            self._grown = False
            self._show_whole(sheet)
            self._whole_from = time.monotonic() + FOLLOW_SHARE * (time.monotonic() - began)
        if sheet is not None and sheet.newest:
            near = (now.choice.control, now.choice.source)
            self.explorer.pick(sheet.newest, sheet.beside, near)
        self._look()
        rest = FOLLOW_SHARE * (time.monotonic() - began)
        self._rest_until = time.monotonic() + min(max(rest, FOLLOW_SECONDS[0]), FOLLOW_SECONDS[1])

    def _show_whole(self, sheet: Sheet | None) -> None:
        from workbench.runs import open_run
        from workbench.store import StoreError

        run = None
        if sheet is not None:
            try:
                run = open_run(sheet.folder)
            except StoreError:  # its first picture is being made
                run = None
        cells = sheet.plan.cells if sheet is not None and sheet.plan is not None else ()
        self.explorer.show(run, cells)
        self._shown = (None, None) if sheet is None or run is None else (sheet.folder, sheet.plan)

    def close(self) -> None:
        super().close()
        self.explorer.close()


def _in_the_making(work: Work) -> dict[str, Any]:
    """What the explorer shows of a single picture while it is made."""
    if not work.running or work.title != "picture":
        return {}
    told = f"step {work.step} of {work.steps}" if work.steps else f"{work.phase} …"
    return {"told": told, "look": work.look}
