"""What the screen shows, as plain values behind one lock. No widget is known here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.controls.base import LegendEntry
from workbench.study import Plan, Study

if TYPE_CHECKING:
    from workbench.app.worker import Job

log = logging.getLogger(__name__)

LOOK_SIZE = 256
"""Pixels to a side at which a picture in the making is shown."""
Observer = Callable[[frozenset[str]], None]


@dataclass(frozen=True)
class Choice:
    """What a person has chosen: everything that determines one picture.

    source: a label as in study files ("paperdoll:7" or a path). prompt: all tags, in order.
    kept: the tags that are switched on, in the order of the prompt. scale: conditioning scale.
    base: the base model that draws. settings: of the control type, as JSON; "" for its defaults.
    second: another control type that steers at the same time, with a scale and settings of its own;
    "" for none.
    control_start, control_end: the part of the steps in which the control works, as shares of them.
    more: further fields of a study (`workbench.app.settings.MORE`) as JSON, "" where all are as
    usual. The rest are the settings of the same names of a study.
    """

    source: str
    control: str
    prompt: tuple[str, ...]
    kept: tuple[str, ...]
    scale: float = 1.0
    seed: int = 1
    base: str = "render"
    settings: str = ""
    second: str = ""
    second_scale: float = 1.0
    second_settings: str = ""
    steps: int = 20
    guidance_scale: float = 5.0
    scheduler: str = "unipc"
    negative_prompt: str = ""
    control_start: float = 0.0
    control_end: float = 1.0
    more: str = ""


@dataclass(frozen=True)
class Offer:
    """What can be chosen, and what is chosen at first.

    sources: as in study files. controls: name -> label of the types that this family can do.
    bases: names of base models. schedulers: names of samplers.
    """

    first: Choice
    sources: tuple[str, ...]
    controls: Mapping[str, str]
    bases: tuple[str, ...]
    schedulers: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """What the text encoder reads of the words that are kept.

    tokens, limit: how many there are and how many it reads, start and end included; 0 while that
    cannot be told. unread: words that it does not read to their end.
    """

    tokens: int = 0
    limit: int = 0
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Preview:
    """What steers a picture, before it is made. Arrays are uint8 H×W×3 RGB.

    legend: what the colours of the control map mean, where that must be said. warning: that the map
    shows nothing, or hardly anything, in one sentence, else "". shows: the words of the source,
    where they are known. second_map: that of the second control, if there is one.
    """

    source: NDArray[np.uint8]
    control_map: NDArray[np.uint8]
    legend: tuple[LegendEntry, ...] = ()
    warning: str = ""
    shows: tuple[str, ...] = ()
    second_map: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class Sheet:
    """The run on the screen: its folder, its study, and the plan of that.

    study: None where it no longer fits what is installed. plan: None there, and where the sources
    cannot be read any more; such a run can be looked at and not gone on with. version: another
    one whenever there may be more of it on the disk. newest: id of the trial that was asked for by
    itself and made last, "" if there is none. beside: that which was made to be compared with it.
    """

    folder: Path
    study: Study | None = None
    plan: Plan | None = None
    version: int = 0
    newest: str = ""
    beside: str = ""


@dataclass(frozen=True)
class Work:
    """What is being made. seconds_left is NaN while unknown. queue: the jobs that wait, in order.
    held: sweeps are held back.

    step, steps: the denoising steps that the batch at work has done, of how many; 0 between two.
    look: what a single picture looks like by now, as PNG of at most `LOOK_SIZE` pixels; b"" before
    its first step, and in a sweep.
    """

    title: str = ""
    running: bool = False
    done: int = 0
    total: int = 0
    seconds_left: float = float("nan")
    phase: str = ""
    queue: tuple[Job, ...] = ()
    held: bool = False
    step: int = 0
    steps: int = 0
    look: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, eq=False)
class Comparison:
    """How run B differs from run A, in words, and their trade-offs as pictures.

    settings: name -> (in A, in B), of those that differ. told: what else is to be said, a sentence
    each. details: all of it, as `workbench diff` prints it. light, dark: both trade-offs as PNG for
    the two themes, b"" where there is none; alt says in words what they show.
    """

    a: str
    b: str
    settings: Mapping[str, tuple[str, str]]
    told: tuple[str, ...]
    details: str
    light: bytes = b""
    dark: bytes = b""
    alt: str = ""


@dataclass(frozen=True, eq=False)
class Screen:
    """Everything that is shown. Observers are told the names of the fields that changed.

    status: how the last work ended, or why there is none. price: what the sweep in hand would
    take, as a sentence. runs: the run folders that can be opened, newest first. opening: the one
    that is being opened. in_hand: id of the trial whose picture the explorer shows, "" if there is
    none. doomed: the run that a person was asked about before it is deleted, and how many pictures
    it has; None if nobody was asked. models: which models make the pictures, where, and what of
    them is yet to be had. reading: what the text encoder reads of the choice. compared: the run on
    the screen beside another one.
    """

    choice: Choice
    offer: Offer
    preview: Preview | None = None
    preview_status: str = ""
    sheet: Sheet | None = None
    work: Work = field(default_factory=Work)
    status: str = ""
    price: str = ""
    runs: tuple[Path, ...] = ()
    opening: Path | None = None
    in_hand: str = ""
    doomed: tuple[Path, int] | None = None
    models: str = ""
    reading: Reading = field(default_factory=Reading)
    compared: Comparison | None = None


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

    def update(self, make: Callable[[Screen], Mapping[str, Any]]) -> Screen:
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
