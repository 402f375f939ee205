"""What the screen shows, as plain values behind one lock. No widget is known here."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.controls.base import LegendEntry

log = logging.getLogger(__name__)

Observer = Callable[[frozenset[str]], None]


@dataclass(frozen=True)
class Choice:
    """What a person has chosen: everything that determines the one picture on the screen.

    source: a label as in study files ("paperdoll:7" or a path). prompt: all tags, in order.
    kept: the tags that are switched on, in the order of the prompt. scale: conditioning scale.
    base: the base model that draws.
    """

    source: str
    control: str
    prompt: tuple[str, ...]
    kept: tuple[str, ...]
    scale: float = 1.0
    seed: int = 1
    base: str = "render"

    @property
    def name(self) -> str:
        """Of its study, and so of the study's file and run folder; other choices have others."""
        rest = [self.source, *self.prompt, "", *self.kept, "", self.base]
        mark = hashlib.sha256("\n".join([*rest, repr(self.scale)]).encode("utf-8")).hexdigest()[:6]
        return f"notebook-{self.control}-scale-{self.scale:g}-seed-{self.seed}-{mark}"


@dataclass(frozen=True)
class Row:
    """One line of the table of figures. `value` is NaN when there was nothing to compare.

    adherence: 0 = chance, 1 = as good as can be measured; NaN where it is not defined. note: what a
    reader must know of such lines, said once below the table.
    """

    label: str
    value: float
    adherence: float = float("nan")
    higher_is_better: bool | None = None
    reason: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """One generated picture with all that belongs to it. Arrays are uint8 H×W×3 RGB.

    legend: what the colours of the control map mean, where that must be said. warning: that the map
    shows nothing, or hardly anything, in one sentence, else "".
    """

    choice: Choice
    source: NDArray[np.uint8]
    control_map: NDArray[np.uint8]
    image: NDArray[np.uint8]
    rows: tuple[Row, ...]
    seconds: float
    legend: tuple[LegendEntry, ...] = ()
    warning: str = ""


@dataclass(frozen=True)
class StudyRun:
    """How far a study has come. seconds_left is NaN while unknown."""

    running: bool = False
    done: int = 0
    total: int = 0
    seconds_left: float = float("nan")
    phase: str = ""
    folder: str = ""


@dataclass(frozen=True, eq=False)
class Screen:
    """Everything that is shown. Observers are told the names of the fields that changed."""

    choice: Choice
    picture: Picture | None = None
    picture_status: str = ""
    study: StudyRun = field(default_factory=StudyRun)
    study_status: str = ""
    plot_png: bytes = b""


class AppState:
    """Holds one `Screen`, replaces it atomically, tells observers. Safe from any thread.

    Observers run on the thread that made the change, outside the lock, and must read `now` for
    the values: by the time they run, a newer change may have been made. One that fails does not
    keep the others from hearing; `tell` gets its error as a sentence.
    """

    def __init__(self, screen: Screen) -> None:
        self.tell: Callable[[str], None] = lambda _: None
        self._screen = screen
        self._lock = Lock()
        self._observers: list[Observer] = []

    @property
    def now(self) -> Screen:
        """The screen at this moment; a value that never changes afterwards."""
        with self._lock:
            return self._screen

    def change(self, **values: Any) -> Screen:
        """Replace some fields of the screen and tell the observers which really changed."""
        return self.update(lambda _: values)

    def update(self, make: Callable[[Screen], dict[str, Any]]) -> Screen:
        """As `change`, with values computed from the screen while it is locked."""
        with self._lock:
            before = self._screen
            self._screen = after = replace(before, **make(before))
            observers = tuple(self._observers)
        names = (f.name for f in fields(Screen))
        changed = frozenset(n for n in names if not _same(getattr(before, n), getattr(after, n)))
        if changed:
            for observer in observers:
                try:
                    observer(changed)
                except Exception as error:
                    log.exception("an observer of the app's state failed")
                    self.tell(f"The screen could not follow: {error}")
        return after

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Call `observer(names of changed fields)` after every change; returns a way to stop."""
        with self._lock:
            self._observers.append(observer)

        def stop() -> None:
            with self._lock:
                if observer in self._observers:
                    self._observers.remove(observer)

        return stop


def _same(a: object, b: object) -> bool:
    return a is b or a == b
