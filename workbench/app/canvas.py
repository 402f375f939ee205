"""The canvas as a widget: what a person draws, paints, moves or crops is told when it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget


class Canvas(anywidget.AnyWidget):
    """Shows one scene at a time and tells of every change that a person has finished.

    changed: called with the message of a change and its buffers, on the thread of the message.
    """

    _esm = Path(__file__).with_name("canvas.js")
    _css = Path(__file__).with_name("canvas.css")

    def __init__(self, changed: Callable[[Mapping[str, Any], Sequence[Any]], None]) -> None:
        super().__init__()
        self._changed = changed
        self._scene: tuple[dict[str, Any], list[bytes]] | None = None
        self.on_msg(self._heard)

    def begin(self, scene: Mapping[str, Any], buffers: Sequence[bytes]) -> None:
        """Show a scene: a mode with what it needs, see `canvas.js`."""
        self._scene = ({"kind": "begin", **scene}, list(buffers))
        self.send(*self._scene)

    def say(self, text: str) -> None:
        """Tell a person how it stands, in one line."""
        self.send({"kind": "said", "text": text})

    def _heard(self, _: Any, message: Mapping[str, Any], buffers: Sequence[Any]) -> None:
        if message.get("do") != "ready":
            self._changed(message, buffers)
        elif self._scene is not None:  # the page is new, or was loaded again
            self.send(*self._scene)
