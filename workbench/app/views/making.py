"""One picture, a strip or a sweep: what varies, what it takes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from workbench.app import html
from workbench.app.grid import Axes
from workbench.app.session import Session
from workbench.app.state import Screen
from workbench.app.views.base import WIDE, Tell, View, columns, list_sources, named
from workbench.app.worker import Job
from workbench.study.ranges import expand_numbers

STRIPS = {"scale": "scales", "seed": "seeds", "control": "control types", "base": "base models"}
"""Axis -> what its strip is said to hold."""


class MakeView(View):
    """One picture, or a sweep: what varies, what it takes.

    begun: called when a person has asked for pictures, and they are queued.
    """

    fields = frozenset({"choice", "offer", "work", "price"})

    def __init__(self, session: Session, tell: Tell, begun: Callable[[], object]) -> None:
        super().__init__(session, tell)
        self._begun = begun
        half = {"layout": {"width": "120px"}}
        self.make = widgets.Button(description="Make picture", button_style="primary")
        self.stop = widgets.Button(description="Stop", disabled=True)
        self.sweep = widgets.Button(description="Sweep", button_style="primary", **half)
        self.make.on_click(self._asking(lambda: session.make()))
        self.stop.on_click(self.act(lambda _: session.stop()))
        self.sweep.on_click(self._asking(lambda: session.make(self.axes())))
        self.pause = widgets.Button(
            description="Pause", tooltip="Sweeps wait; single pictures go on"
        )
        self.pause.on_click(self.act(lambda _: self._pause()))
        self.queue = widgets.VBox()
        self.queue.add_class("wb-queue")
        for name in ("make", "stop", "pause", "sweep"):
            getattr(self, name).add_class(f"wb-{name}")
        for button, width in ((self.make, "112px"), (self.stop, "64px"), (self.pause, "80px")):
            button.layout.width = width  # one line with how the work goes
        offer, several = session.state.now.offer, {**WIDE, "rows": 5}
        kinds = [(label, name) for name, label in offer.controls.items()]
        text = functools.partial(widgets.Text, continuous_update=False, **WIDE)
        self.inputs = {
            "length": text(description="Lengths", placeholder="2, 4, 7"),
            "scale": text(description="Scales", value="0..1.6 step 0.4"),
            "second_scale": text(description="2nd scales", placeholder="0, 0.5, 1"),
            "seed": text(description="Seeds", placeholder="1, 2"),
            "base": widgets.SelectMultiple(options=offer.bases, description="Bases", **WIDE),
            "control": widgets.SelectMultiple(options=kinds, description="Controls", **several),
            "source": widgets.SelectMultiple(
                options=named(offer.sources), description="Sources", **several
            ),
        }
        self.inputs["base"].rows = min(5, len(offer.bases))
        if len(offer.bases) == 1:
            self.inputs["base"].layout.display = "none"
        for name, widget in self.inputs.items():
            widget.add_class(f"wb-sweep-{name}")
            widget.observe(self.act(lambda _: self._ask()), names="value")
        self.price = widgets.HTML()
        self.price.add_class("wb-price")
        hint = widgets.HTML(html.note("What is left empty stays as it is chosen for one picture."))
        hint.add_class("wb-quiet")
        first = [self.inputs[name] for name in ("scale", "second_scale", "length", "seed", "base")]
        lists = [self.inputs[name] for name in ("control", "source")]
        self.panel = columns([*first, hint], lists, [self.price, self.sweep])
        self.panel.add_class("wb-sweep-panel")
        self.box = widgets.HBox([self.make, self.stop, self.pause])
        self.strips = {axis: self._strip(axis) for axis in session.strips}
        self.twin = widgets.Button(
            description="Text alone", tooltip="The same picture without the control", **half
        )
        self.twin.on_click(self._asking(lambda: session.make_twin()))
        self.twin.add_class("wb-twin")
        strips = widgets.Box(
            [self.twin, *self.strips.values()], layout={"flex_flow": "row wrap", "width": "256px"}
        )
        title = widgets.HTML(html.caption("Strips", "What is chosen here, varied by one click"))
        self.strip_box = widgets.VBox([title, strips])
        self._asked: object = None
        self._queued: object = None

    def _asking(self, ask: Callable[[], Job | None]) -> Callable[[Any], None]:
        def action(_: Any) -> None:
            if ask() is not None:
                self._begun()

        return self.act(action)

    def _pause(self) -> None:
        (self.session.resume if self.session.jobs.held else self.session.pause)()

    def _waiting(self, job: Job) -> widgets.HBox:
        """The line of a job that waits."""
        button = widgets.Button(description="Drop", layout={"width": "70px"})
        button.tooltip = f"Forget this: {job.about}"
        button.on_click(self.act(lambda _: self.session.drop(job)))
        words = widgets.HTML(html.note(f"waiting: {job.about}"))
        return widgets.HBox([button, words])

    def _strip(self, axis: str) -> widgets.Button:
        """A button for the strip of an axis."""
        values = self.session.strips[axis]
        button = widgets.Button(
            description=f"{len(values)} {STRIPS[axis]}",
            tooltip="From the chosen seed on" if axis == "seed" else ", ".join(map(str, values)),
            layout={"width": "120px"},
        )
        button.on_click(self._asking(lambda: self.session.make_strip(axis)))
        button.add_class(f"wb-strip-{axis}")
        return button

    def axes(self) -> Axes:
        """What varies, as `Session.make` takes it. ValueError for numbers that are none."""
        axes: dict[str, list[Any]] = {}
        for name, widget in self.inputs.items():
            value = widget.value
            if name == "second_scale" and not self.session.state.now.choice.second:
                continue
            if isinstance(value, str):
                value = _numbers(name, value, whole=not name.endswith("scale"))
            if value:
                axes[name] = list(value)
        if not axes:
            raise ValueError("nothing varies: give at least one value for one of the rows")
        return axes

    def _ask(self) -> None:
        try:
            self.session.ask_price(self.axes())
        except ValueError as error:
            self.session.no_price(f"This sweep cannot be made: {error}.")

    def show(self, screen: Screen) -> None:
        work = screen.work
        self.stop.disabled = not (work.running or work.queue)
        at_work = work.running and work.title == "sweep"
        self.pause.layout.display = "" if at_work or work.queue or work.held else "none"
        self.pause.description = "Resume" if work.held else "Pause"
        if work.queue != self._queued:
            self._queued = work.queue
            self.queue.children = [self._waiting(job) for job in work.queue]
        self.price.value = html.note(screen.price)
        sources = self.inputs["source"]
        kept = sources.value
        if list_sources(sources, screen.offer.sources):
            sources.value = [one for one in kept if one in screen.offer.sources]
        about = (screen.choice, screen.work.running)
        if about != self._asked:
            self._asked = about
            second = "" if screen.choice.second else "none"
            self.inputs["second_scale"].layout.display = second
            lengths = {0, len(screen.choice.prompt) // 2, len(screen.choice.prompt)}
            self.inputs["length"].placeholder = ", ".join(map(str, sorted(lengths)))
            for axis, values in self.session.strips.items():
                self.strips[axis].description = f"{len(values)} {STRIPS[axis]}"
            self._ask()


def _numbers(name: str, text: str, *, whole: bool) -> list[Any]:
    """Numbers as people write them: "0, 0.5, 1" or "0..2 step 0.5". ValueError for others."""
    if not text.strip():
        return []
    if ".." in text:
        found = list(expand_numbers(text))
    else:
        try:
            found = [float(part) for part in text.replace(";", ",").split(",") if part.strip()]
        except ValueError:
            raise ValueError(f"{name}: {text!r} is no list of numbers") from None
    if not whole:
        return found
    if odd := [value for value in found if not float(value).is_integer()]:
        raise ValueError(f"{name}: {odd[0]:g} is not a whole number")
    return [int(value) for value in found]
