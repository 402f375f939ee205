"""The canvas in the app: what a person gives by hand is the source at once."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np

from workbench.app import easel
from workbench.app.canvas import Canvas
from workbench.app.easel import Medium, Mode
from workbench.app.said import said
from workbench.app.session import Session
from workbench.app.state import Choice, Preview, Screen
from workbench.app.views.base import Tell, View
from workbench.app.worker import Task, TaskState
from workbench.cancel import CancelToken
from workbench.controls.pose import PoseControl
from workbench.families import LocateError
from workbench.images import ImageError, Picture, encode_png, fit_image_to, read_with_text
from workbench.study.labels import MAP, is_map, path_of

log = logging.getLogger(__name__)

TASK = "canvas"
SHOWN_SIDE = 640
"""A picture is shown at most this large while a part of it is chosen."""
OPENS = {Mode.DRAW: "Draw it", Mode.PAINT: "Paint it", Mode.JOINTS: "Move joints"}
"""What the button says that opens the canvas."""
_UNDO = "Ctrl+Z undoes."
_PEN = (
    "With a mouse, a finger or a pen. By keyboard: arrow keys move (with Shift by 8 pixels), the "
    f"space bar puts the pen down and lifts it, [ and ] change the width, {{}}. {_UNDO}"
)
HELP = {
    Mode.DRAW: _PEN.format("B and E take brush and eraser"),
    Mode.PAINT: _PEN.format("B, E and F take brush, eraser and fill"),
    Mode.JOINTS: (
        "Drag a joint; with Shift the whole person moves. A click with the right button hides or "
        "shows it. By keyboard: Tab goes to a joint, arrow keys move it, the space bar hides or "
        f"shows it. {_UNDO}"
    ),
    Mode.CROP: (
        "Pictures are square here. Drag the frame, or a corner of it. By keyboard: arrow keys move "
        f"it, + and - change its size, with Shift in larger steps. {_UNDO}"
    ),
}
_numbers = count(1)


@dataclass(frozen=True, eq=False)
class _Begun:
    """What is on the canvas.

    number: tells the messages of this scene from late ones. choice: when it was opened. medium:
    None where a part of a picture is chosen; `picture` is that one, else None. name: what the
    names of files begin with. side: of the maps, in pixels.
    """

    number: int
    choice: Choice
    medium: Medium | None
    name: str
    side: int
    picture: Picture | None = None

    @property
    def scene(self) -> dict[str, Any]:
        """What every scene has."""
        mode = Mode.CROP if self.medium is None else self.medium.mode
        return {
            "mode": mode.value,
            "number": self.number,
            "topic": self.name if self.medium is None else self.medium.about,
            "id": f"wb-canvas-help-{self.number}",
            "help": HELP[mode],
            "side": self.side,
        }

    def work(
        self, message: Mapping[str, Any], data: Sequence[bytes]
    ) -> tuple[Picture, dict[str, str]]:
        """The picture that a message tells, and the text to keep in it. ValueError for none."""
        if self.picture is not None:
            box = message.get("box")
            return easel.cropped(self.picture, box if isinstance(box, list) else []), {}
        if self.medium is not None and self.medium.mode is Mode.JOINTS:
            return easel.skeleton(easel.people_of(message.get("people")), self.side)
        if self.medium is None or len(data) != 1 or len(data[0]) != self.side**2:
            raise ValueError(f"the canvas must send {self.side} × {self.side} pixels")
        marks = np.frombuffer(data[0], np.uint8).reshape(self.side, self.side)
        return self.medium.picture(marks), {}


class CanvasView(View):
    """The button that opens the canvas, and the canvas, whose work becomes the source."""

    fields = frozenset({"choice"})

    def __init__(self, session: Session, tell: Tell) -> None:
        super().__init__(session, tell)
        self.button = widgets.Button(layout={"width": "140px"})
        self.button.add_class("wb-draw")
        self.button.on_click(self.act(lambda _: self.open()))
        self.canvas = Canvas(self._heard)
        self.close_button = widgets.Button(
            description="Close the canvas", layout={"width": "140px"}
        )
        self.close_button.on_click(self.act(lambda _: self._put_away()))
        self.box = widgets.VBox([self.canvas, self.close_button], layout={"display": "none"})
        self._begun: _Begun | None = None
        self._over: Choice | None = None  # the last one whose source was no drawn map
        self._draft = ""  # the source that the canvas made last
        self._is_new = False  # whether it may be taken back

    def show(self, screen: Screen) -> None:
        choice = screen.choice
        medium = self._medium(choice)
        self.button.disabled = medium is None
        self.button.description = OPENS[medium.mode] if medium else "Draw it"
        label = screen.offer.controls[choice.control]
        can = "give the map by hand" if medium else "its maps are not drawn by hand here"
        self.button.tooltip = f"{label}: {can}"
        if not is_map(choice.source):
            self._over = choice
        if self._begun is not None and not self._belongs(choice, self._begun):
            self.hide()

    def _medium(self, choice: Choice) -> Medium | None:
        """How the map of a choice is made by hand; where it says nothing the family's way."""
        usual = self.session.engine.family.settings_for(choice.control)
        return easel.medium_of(choice.control, choice.settings or json.dumps(usual))

    def _belongs(self, choice: Choice, begun: _Begun) -> bool:
        """Whether the canvas is still about the choice."""
        same = (choice.control, choice.settings) == (begun.choice.control, begun.choice.settings)
        about_it = choice.source in (begun.choice.source, self._draft)
        return about_it and (same or begun.medium is None)

    def _put_away(self) -> None:
        self.hide()
        self.button.focus()  # the button in focus goes

    def close(self) -> None:
        super().close()
        self.canvas.close()

    def hide(self) -> None:
        """Put the canvas away; what was drawn stays the source."""
        self._begun = None
        self.box.layout.display = "none"

    def open(self) -> Task:
        """Queue the canvas for the control type of the choice; it goes on from what was drawn.

        ValueError for a control type whose maps are not drawn.
        """
        choice = self.session.state.now.choice
        medium = self._medium(choice)
        if medium is None:
            raise ValueError(f"{choice.control} is not drawn by hand here")
        return self.session.viewer.submit(
            TASK, lambda _: self._open(choice, medium), on_end=self._ended
        )

    def take(self, name: str, data: bytes) -> Task:
        """Queue a picture of one's own: it becomes the source, and what of it is to be chosen."""
        return self.session.viewer.submit(
            TASK, lambda _: self._crop(name, data), on_end=self._ended
        )

    def _open(self, choice: Choice, medium: Medium) -> None:
        begun = _Begun(
            next(_numbers), choice, medium, choice.control, self.session.engine.family.resolution
        )
        self._draft, self._is_new = "", False  # what was drawn before stays
        drawn = self._look(choice) if is_map(choice.source) else None
        over = choice if drawn is None else self._over
        under = None if over is None else replace(choice, source=over.source)
        found = None if under is None else self._look(under)
        label = f"Canvas of {medium.control.label}, {begun.side} × {begun.side} pixels"
        if medium.mode is Mode.JOINTS:
            scene, parts = self._joints(begun, drawn, found)
        else:
            scene, parts = _marks(begun, medium, drawn, found)
        source = b"" if under is None else encode_png(self.session.engine.picture(under))
        self._begin(begun, {"label": label, **scene}, [source, *parts])

    def _begin(self, begun: _Begun, scene: Mapping[str, Any], parts: Sequence[bytes]) -> None:
        self._begun = begun
        self.box.layout.display = ""
        self.canvas.begin({**begun.scene, **scene}, parts)

    def _look(self, choice: Choice) -> Preview | None:
        """Source and map of a choice; None where its map cannot be had."""
        try:
            return self.session.engine.preview(choice)
        except (LocateError, ValueError, OSError) as error:
            log.info("the canvas begins without the map of %s: %s", choice.source, error)
            return None

    def _joints(
        self, begun: _Begun, drawn: Preview | None, found: Preview | None
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The people at first, those that can be taken instead, and how they are drawn."""
        standing = easel.standing(self.session.engine.family.world)
        detected = None if found is None else easel.joints_in(found.control_map, {})
        people = detected
        if drawn is not None:
            _, text = read_with_text(path_of(begun.choice.source))
            people = easel.joints_in(drawn.control_map, text)
        if people is None or not len(people):
            people = standing
        return {
            "people": people.tolist(),
            "found": None if detected is None or not len(detected) else detected.tolist(),
            "standing": standing.tolist(),
            "names": easel.JOINT_NAMES,
            "limbs": PoseControl.limbs,
            "colours": PoseControl.colours,
        }, []

    def _crop(self, name: str, data: bytes) -> None:
        picture = easel.uploaded(name, data)
        height, width = picture.shape[:2]
        if height == width:
            self.session.upload(name, data)
            return
        box = easel.centred(height, width)
        side = self.session.engine.family.resolution
        self._draft, self._is_new = "", False
        self._use(easel.cropped(picture, box), Path(name).stem, {})
        choice = self.session.state.now.choice
        begun = _Begun(next(_numbers), choice, None, Path(name).stem, side, picture)
        scale = min(SHOWN_SIDE / max(height, width), 1)
        shape = (max(round(height * scale), 1), max(round(width * scale), 1))
        scene = {
            "box": box,
            "centre": box,
            "wide": width,
            "high": height,
            "least": min(easel.LEAST_CROP, height, width),
            "alt": name,
        }
        self._begin(begun, scene, [encode_png(fit_image_to(picture, shape))])
        self._say_source()

    def _ended(self, task: Task) -> None:
        if task.state is not TaskState.FAILED:
            return
        text = said(task.error)
        if self._begun is None or isinstance(task.error, ImageError):
            self._tell(f"That failed: {text}")
        else:
            self.canvas.say(f"{text[:1].upper()}{text[1:]}.")

    def _heard(self, message: Mapping[str, Any], buffers: Sequence[Any]) -> None:
        """Something was drawn: callbacks return at once, the newest state alone is worked out."""
        begun = self._begun
        if begun is None or message.get("of") != begun.number:
            return
        data = [bytes(buffer) for buffer in buffers]
        self.session.viewer.submit(
            TASK, lambda cancel: self._take(begun, message, data, cancel), on_end=self._ended
        )

    def _take(
        self, begun: _Begun, message: Mapping[str, Any], data: Sequence[bytes], cancel: CancelToken
    ) -> None:
        picture, text = begun.work(message, data)
        if not cancel.cancelled and self._belongs(self.session.state.now.choice, begun):
            if begun.medium is None:
                self._use(picture, begun.name, text)
            else:
                self._use(picture, begun.name, {easel.MAP_KEY: begun.name, **text}, kind=MAP)

    def _use(self, picture: Picture, name: str, text: dict[str, str], kind: str = "") -> None:
        path, new = easel.keep(picture, self.session.shelf.sources, name, text)
        source, former = f"{kind}{path}", self._draft if self._is_new else ""
        if source != self._draft:
            self._draft, self._is_new = source, new
            self.session.use_source(source, in_place_of=former)
            self._say_source()

    def _say_source(self) -> None:
        self.canvas.say(f"This is the source now: {Path(path_of(self._draft)).name}")


def _marks(
    begun: _Begun, medium: Medium, drawn: Preview | None, found: Preview | None
) -> tuple[dict[str, Any], list[bytes]]:
    """The marks at first, those of the source's own map, and the palette."""
    side = begun.side
    start = None if found is None else medium.marks(found.control_map)
    marks = start if start is not None and medium.names else np.zeros((side, side), np.uint8)
    if drawn is not None:
        marks = medium.marks(drawn.control_map)
    scene = {
        "names": medium.names,
        "mark": 0 if medium.names else 255,
        "width": easel.brush_width(begun.choice.control, side),
    }
    return scene, [
        marks.tobytes(),
        b"" if start is None else start.tobytes(),
        medium.palette.tobytes(),
    ]
