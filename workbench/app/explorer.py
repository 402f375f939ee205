"""The explorer of a run as a widget: the module of the page, with a kernel behind it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from workbench.analysis import control_type
from workbench.app.still import Still
from workbench.explorer import LocalNetworks, View, ViewChoice, explorer_data, grow, unmade
from workbench.explorer.page import module, style
from workbench.explorer.pictures import SIDE
from workbench.runs import Run, open_run
from workbench.store import StoreError, build_table
from workbench.study import Cell

log = logging.getLogger(__name__)

CHOICE = ViewChoice(pictures=20_000, at_once=False)
"""A notebook shows larger runs than a page, which carries its pictures with it."""
LARGE = 2048
"""A picture that is asked for at full size has at most so many pixels a side."""
MOST = 400
"""So many pictures are sent for one request at the most."""


class Explorer(Still, anywidget.AnyWidget):
    """The explorer of one run. Pictures are sent when they come into sight.

    Args:
        run: the run; nothing of it is changed. None shows that there is none yet.
        planned: cells that are shown even if they have not been made.
        make: called with a trial when its empty place is clicked; None makes nothing.
        networks: read control maps back from pictures; the run's own, on this disk, if None.

    `picked` is where the reader is: control, source, seed, prompt and scale by name. It can be set.
    So can `beside`, the place whose picture is pinned beside, and `making`: how far a picture in
    the making is, in words ("told"), and what it looks like by now ("look", PNG); {} for none. What
    was in hand is then marked as the one before.
    """

    _esm = module()
    _css = style()
    data = traitlets.Dict().tag(sync=True)
    picked = traitlets.Dict().tag(sync=True)
    makes = traitlets.Bool(False).tag(sync=True)
    beside = traitlets.Dict().tag(sync=True)
    making = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        run: Run | None = None,
        planned: Sequence[Cell] = (),
        make: Callable[[str], object] | None = None,
        networks: LocalNetworks | None = None,
    ) -> None:
        self.run, self.planned = run, tuple(planned)
        self._networks = networks
        self._make = make
        self._worker = ThreadPoolExecutor(1, "explorer")
        self._view = None if run is None else self._look(run)
        self._unmade = {} if self._view is None else unmade(self._view)
        data = _vacant() if self._view is None else self._data(self._view)
        super().__init__(data=data, makes=make is not None)
        self.on_msg(self._asked)

    def show(self, run: Run | None, planned: Sequence[Cell] = ()) -> None:
        """Show a run as it is now: another one, or the same, which may have grown.

        The reader stays where they are, if the run has that place.
        """
        same = run is not None and self.run is not None and run.path == self.run.path
        before = self._view if same else None
        self.run, self.planned = run, tuple(planned)
        self._view = None if run is None else self._look(run, before)
        self._unmade = {} if self._view is None else unmade(self._view)
        self.data = _vacant() if self._view is None else self._data(self._view)

    def _look(self, run: Run, before: View | None = None) -> View:
        return run.view(CHOICE, planned=self.planned, before=before, networks=self._networks)

    def grow(self) -> bool:
        """Put the pictures into their places that the run has got since `show` or the last call.

        Only these are read and sent; means and intervals stay as they are. False if there is more
        to see than that, which `show` shows.
        """
        view, run = self._view, self.run
        if view is None or run is None:
            return False
        new = sorted(self._unmade.keys() & set(run.folder.trial_ids()))
        records = []
        for trial in new:
            with suppress(StoreError):  # it is being written
                records.append(run.folder.read_record(trial))
        put = grow(view, records, self._unmade, view.pictures.readable())
        if put is None:
            return False
        for record in records:
            del self._unmade[record.trial.id]
        if put:
            self.send({"kind": "grown", "cells": put})
        return True

    def refresh(self) -> None:
        """Look at the run again, which may have grown; the reader stays where they are."""
        if self.run is not None:
            self.show(self.run.refresh(), self.planned)

    def pick(self, trial: str, beside: str = "", near: tuple[str, str] = ("", "")) -> None:
        """Go to a picture and pin another one beside it, if there is one.

        Nothing happens where the run has none of that id. `near` are a control type and a source:
        where the picture lies at several places, that of these.
        """
        view = self._view
        if view is None:
            return
        shown = view.shown
        self.beside = {}  # so that the same place, asked for again, is told again
        for name, one in (("picked", trial), ("beside", beside)):
            places = [shown.place(cell) for cell, t in enumerate(shown.trials) if t == one]
            if places:
                setattr(self, name, max(places, key=lambda at: _nearness(at, near)))

    def come(self, to: str = "") -> None:
        """Scroll the page, if need be, so that the explorer is seen; or what is `to`.

        Args:
            to: CSS selector of another part of the app.
        """
        self.send({"kind": "come", "to": to})

    @property
    def in_hand(self) -> str:
        """Id of the trial where the reader is, if its picture has been made; else ""."""
        view = self._view
        cell = None if view is None else view.shown.cell_at(self.picked)
        if view is None or cell is None or view.shown.data["cells"]["sample"][cell] < 0:
            return ""
        return view.shown.trials[cell]

    def close(self) -> None:
        """Let go of the run and its networks."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _data(self, view: View) -> dict[str, Any]:
        """Pictures keep their numbers as long as `catalogue` says the same."""
        return view.shown.data | {"catalogue": f"{id(view.catalogue):x}"}

    def _asked(self, _: Any, message: Mapping[str, Any], __: Sequence[Any]) -> None:
        """Callbacks return at once: reading and encoding is the worker's."""
        view = self._view
        if view is None:
            return
        if message.get("kind") in ("pictures", "large"):
            side = LARGE if message["kind"] == "large" else SIDE
            self._worker.submit(self._deliver, view, message.get("numbers"), side)
        elif message.get("kind") == "make" and self._make is not None:
            cell = view.shown.cell_at(message.get("place"))
            if cell is not None:
                self._make(view.shown.trials[cell])

    def _deliver(self, view: View, numbers: object, side: int) -> None:
        try:
            wanted = numbers[:MOST] if isinstance(numbers, list) else []
            there = view.catalogue.pictures
            number = {there[n]: n for n in wanted if isinstance(n, int) and 0 <= n < len(there)}
            sent: list[int] = []
            files: list[bytes] = []
            for key, file in view.pictures.files(list(number), side):
                sent.append(number[key])
                files.append(file)
            self.send({"kind": "pictures" if side == SIDE else "large", "numbers": sent}, files)
        except Exception:
            log.exception("the explorer could not send pictures")

    def still(self) -> str:
        """The trade-off as a picture."""
        if self.run is None:
            return ""
        place = escape(str(self.run.path))  # so that a page for a class knows its run
        return f'<div class="wb-run" data-run="{place}">{self.run._repr_html_()}</div>'

    def __repr__(self) -> str:
        return "Explorer()" if self.run is None else f"Explorer({self.run!r})"


def _nearness(place: Mapping[str, Any], near: tuple[str, str]) -> tuple[bool, bool]:
    return control_type(place["control"]) == near[0], place["source"] == near[1]


def explore(run: Run | str | Path) -> Explorer:
    """The explorer of a run, or of a run folder, to be the last line of a cell.

    StoreError if there is no run there.
    """
    return Explorer(run if isinstance(run, Run) else open_run(run))


@cache
def _vacant() -> dict[str, Any]:
    """What is shown where there is no run."""
    note = "No picture has been made yet: choose what steers it, then press Make picture."
    return explorer_data(build_table([]), notes=[note]).data
