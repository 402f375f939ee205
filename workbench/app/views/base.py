"""What all views have: they follow the state under a lock, and turn errors into sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import RLock, get_ident
from typing import Any

import ipywidgets as widgets

from workbench.app.said import said
from workbench.app.session import Session
from workbench.app.state import Screen

WIDE = {"layout": {"width": "262px"}, "style": {"description_width": "78px"}}
"""Options of a widget with a description, as wide as a column."""
Tell = Callable[[str], None]
"""Shows a sentence in the line for messages; "" clears it."""


class View:
    """Widgets that show part of the screen. `fields` are the fields of `Screen` it shows."""

    fields: frozenset[str] = frozenset()
    box: widgets.Widget

    def __init__(self, session: Session, tell: Tell) -> None:
        self.session = session
        self._tell = tell
        self._lock = RLock()
        self._filler: int | None = None  # the thread that sets widgets from the state
        self._ends: list[Callable[[], None]] = []

    def start(self) -> None:
        """Show the state as it is and follow it from now on."""
        self._ends.append(self.session.state.observe(self._changed))
        self._changed(self.fields)

    def close(self) -> None:
        """Follow the state no longer."""
        for end in self._ends:
            end()

    def _changed(self, names: frozenset[str]) -> None:
        if names & self.fields:
            with self._lock:
                self._filler = get_ident()
                try:
                    self.show(self.session.state.now)
                finally:
                    self._filler = None

    def show(self, screen: Screen) -> None:
        """Bring the widgets in line with the screen."""

    def act(self, action: Callable[[Any], object]) -> Callable[[Any], None]:
        """A callback that turns an error into a sentence and ignores the view's own changes."""

        def callback(event: Any) -> None:
            if self._filler == get_ident():
                return
            try:
                self._tell("")
                action(event)
            except Exception as error:
                self._tell(f"That failed: {said(error)}")
                self._changed(self.fields)  # what was refused must not look chosen

        return callback

    def choosing(self, name: str, widget: Any, read: Callable[[Any], Any] | None = None) -> Any:
        """The widget, whose value is that field of the choice from now on, as `read` reads it."""

        def choose(event: Any) -> None:
            value = event["new"]
            self.session.choose(**{name: read(value) if read else value})

        widget.observe(self.act(choose), names="value")
        widget.add_class(f"wb-{name.replace('_', '-')}")
        return widget


def number(low: float, high: float, step: float, **options: Any) -> widgets.FloatText:
    """A field for a number, whose range is told and not enforced.

    The bounded fields of ipywidgets make the nearest end of what is typed beyond it, without a
    word; what is typed here arrives, and is refused in a sentence.
    """
    return widgets.FloatText(
        step=step, tooltip=options.pop("tooltip", f"From {low:g} to {high:g}"), **WIDE | options
    )


def columns(*parts: Iterable[widgets.Widget]) -> widgets.HBox:
    """Widgets in columns, side by side where there is room."""
    return widgets.HBox(
        [widgets.VBox(list(part)) for part in parts],
        layout={"flex_flow": "row wrap", "grid_gap": "0 14px"},
    )


def list_sources(widget: Any, sources: Iterable[str]) -> bool:
    """Bring what a widget lists in line with the sources on offer; whether it was not."""
    there = named(sources)
    if list(widget.options) == there:
        return False
    widget.options = there
    return True


def named(sources: Iterable[str]) -> list[tuple[str, str]]:
    return [(_source_label(source), source) for source in sources]


def _source_label(source: str) -> str:
    """A short name: "scene 900001" for a rendered scene, the file's name for a picture."""
    kind, _, seed = source.partition(":")
    return f"scene {seed}" if kind == "paperdoll" else source.rpartition("/")[2]
