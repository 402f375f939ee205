"""Thin ipywidgets over one session: widgets change the choice, the state changes the widgets.

Callbacks only queue work. The state may change on any thread, so widgets are updated under a lock,
always from the state as it is at that moment.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from threading import RLock, get_ident
from typing import Any

import ipywidgets as widgets
import numpy as np

from workbench.app import html
from workbench.app.session import Session
from workbench.app.state import Screen
from workbench.images import encode_png

SIDE = "208px"


def to_png(image: np.ndarray) -> bytes:
    """A picture (uint8 H×W×3) as PNG for `widgets.Image`."""
    return encode_png(image)


class View:
    """Widgets that show part of the screen. `fields` are the fields of `Screen` it shows."""

    fields: frozenset[str] = frozenset()
    box: widgets.Widget

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        self.session = session
        self._tell = tell
        self._lock = RLock()
        self._filler: int | None = None  # the thread that sets widgets from the state

    def start(self) -> None:
        """Show the state as it is and follow it from now on."""
        self.session.state.observe(self._changed)
        self._changed(self.fields)

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
                action(event)
            except Exception as error:
                self._tell(f"That failed: {error}")

        return callback


class Chooser(View):
    """Source, control type, one toggle for each tag, scale, seed."""

    fields = frozenset({"choice"})

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        super().__init__(session, tell)
        offer = session.offer
        wide = {"layout": {"width": "330px"}, "style": {"description_width": "95px"}}
        sources = [(_source_label(s), s) for s in offer.sources]
        self.source = widgets.Dropdown(options=sources, description="Source", **wide)
        kinds = [(label, name) for name, label in offer.controls.items()]
        self.control = widgets.Dropdown(options=kinds, description="Control type", **wide)
        self.base = widgets.Dropdown(options=offer.bases, description="Base model", **wide)
        if len(offer.bases) == 1:
            self.base.layout.display = "none"
        self.scale = widgets.FloatSlider(
            min=0, max=2, step=0.1, description="Scale", continuous_update=False, **wide
        )
        self.seed = widgets.BoundedIntText(min=0, max=2**32 - 1, description="Seed", **wide)
        self.tags: list[widgets.ToggleButton] = []
        for name in ("source", "control", "base", "scale", "seed"):
            widget = getattr(self, name)
            widget.observe(self.act(functools.partial(self._choose, name)), names="value")
            widget.add_class(f"wb-{name}")
        self._tag_box = widgets.Box(layout={"flex_flow": "row wrap", "width": "330px"})
        self._tag_box.add_class("wb-tags")
        heading = widgets.HTML(html.caption("Prompt", "Tags that are pressed are kept."))
        choices = [self.source, self.control, self.base, self.scale, self.seed]
        self.box = widgets.VBox([*choices, heading, self._tag_box])

    def _choose(self, name: str, event: Any) -> None:
        self.session.choose(**{name: event["new"]})

    def _make_tags(self, prompt: tuple[str, ...]) -> None:
        """One toggle for each tag of another prompt."""
        self.tags = [
            widgets.ToggleButton(description=tag, tooltip="Keep this tag in the prompt")
            for tag in prompt
        ]
        keep = self.act(lambda _: self.session.choose(kept=self._kept()))
        for button in self.tags:
            button.observe(keep, names="value")
        self._tag_box.children = self.tags

    def _kept(self) -> tuple[str, ...]:
        return tuple(button.description for button in self.tags if button.value)

    def show(self, screen: Screen) -> None:
        choice = screen.choice
        self.source.value, self.control.value = choice.source, choice.control
        self.base.value = choice.base
        self.scale.value, self.seed.value = choice.scale, choice.seed
        if choice.prompt != tuple(button.description for button in self.tags):
            self._make_tags(choice.prompt)
        for button in self.tags:
            button.value = button.description in choice.kept
            button.button_style = "info" if button.value else ""


class PictureView(View):
    """Source, control map and generated picture side by side, and their figures."""

    fields = frozenset({"picture", "picture_status"})

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        super().__init__(session, tell)
        self.images = [widgets.Image(layout={"width": SIDE, "height": SIDE}) for _ in range(3)]
        self.captions = [widgets.HTML() for _ in range(3)]
        self.status = widgets.HTML()
        self.status.add_class("wb-picture-status")
        self.table = widgets.HTML()
        self.table.add_class("wb-figures")
        for name, image in zip(("source", "map", "result"), self.images, strict=True):
            image.add_class(f"wb-{name}-image")
            image.add_class("wb-picture")
        pairs = zip(self.images, self.captions, strict=True)
        columns = [widgets.VBox(pair, layout={"width": "220px"}) for pair in pairs]
        self.box = widgets.VBox([widgets.HBox(columns), self.status, self.table])
        self._shown: object = None

    def show(self, screen: Screen) -> None:
        self.status.value = html.note(screen.picture_status)
        picture = screen.picture
        if picture is self._shown:
            return
        self._shown = picture
        if picture is None:
            return
        choice = picture.choice
        prompt = ", ".join(choice.kept) or "(no prompt)"
        texts = (
            ("Source", _source_label(choice.source)),
            ("Control map", self.session.offer.controls[choice.control]),
            ("Picture", f"{prompt}; {choice.base}, scale {choice.scale:g}, seed {choice.seed}"),
        )
        arrays = (picture.source, picture.control_map, picture.image)
        for caption, image, text, array in zip(
            self.captions, self.images, texts, arrays, strict=True
        ):
            caption.value = html.caption(*text)
            image.value = to_png(array)
        if picture.legend:
            self.captions[1].value += f"<br>{html.legend(picture.legend)}"
        self.table.value = html.table(picture.rows)


class StudyView(View):
    """Buttons, progress and the live plot of the demo study."""

    fields = frozenset({"study", "study_status", "plot_png"})

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        super().__init__(session, tell)
        wide = {"width": "180px"}
        self.run = widgets.Button(
            description="Run the demo study", button_style="primary", layout=wide
        )
        self.stop = widgets.Button(description="Stop", disabled=True, layout={"width": "90px"})
        self.save = widgets.Button(
            description="Save this picture's study", layout={"width": "220px"}
        )
        self.run.on_click(self.act(lambda _: session.run_demo()))
        self.stop.on_click(self.act(lambda _: session.cancel_demo()))
        self.save.on_click(self.act(lambda _: tell(f"Saved: {session.save_study()}")))
        for name in ("run", "stop", "save"):
            getattr(self, name).add_class(f"wb-{name}")
        self.bar = widgets.FloatProgress(min=0, max=1, layout={"width": "420px"})
        self.text, self.status = widgets.HTML(), widgets.HTML()
        self.text.add_class("wb-progress")
        self.status.add_class("wb-study-status")
        self.plot = widgets.Image(layout={"max_width": "980px", "display": "none"})
        self.plot.add_class("wb-plot")
        self.box = widgets.VBox(
            [
                widgets.HBox([self.run, self.stop, self.save]),
                widgets.HBox([self.bar, self.text]),
                self.status,
                self.plot,
            ]
        )

    def show(self, screen: Screen) -> None:
        study = screen.study
        self.run.disabled, self.stop.disabled = study.running, not study.running
        self.bar.value = study.done / study.total if study.total else 0.0
        self.bar.bar_style = "info" if study.running else ""
        self.text.value = html.note(html.progress_text(study))
        self.status.value = html.note(screen.study_status)
        if screen.plot_png and self.plot.value != screen.plot_png:
            self.plot.value = screen.plot_png
            self.plot.layout.display = ""


def _source_label(source: str) -> str:
    """A short name: "scene 900001" for a rendered scene, the file's name for a picture."""
    kind, _, seed = source.partition(":")
    return f"scene {seed}" if kind == "paperdoll" else source.rpartition("/")[2]
