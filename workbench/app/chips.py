"""The words of a prompt as chips that are switched off, brought into order, edited and added."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

Words = Sequence[tuple[str, bool]]
"""Each word as it was typed, and whether it is switched on."""


class Chips(anywidget.AnyWidget):
    """Chips, a list of words to add, and a slider that cuts the prompt from its end.

    Args:
        changed: called with the words as a person wants them; what is shown follows `words` alone.
        groups: label -> words that can be added.

    `words` are dicts: text, on, note ("" or what is odd about it) and read (by the text encoder).
    `heard` counts what was asked for; what `words` say in between is not shown.
    """

    _esm = Path(__file__).with_name("chips.js")
    _css = Path(__file__).with_name("chips.css")
    words: Any = traitlets.List().tag(sync=True)
    heard: Any = traitlets.Int(0).tag(sync=True)
    groups: Any = traitlets.Dict().tag(sync=True)

    def __init__(
        self, changed: Callable[[Words], object], groups: Mapping[str, Sequence[str]]
    ) -> None:
        self._changed = changed
        shown = {name.replace("_", " "): list(words) for name, words in groups.items()}
        super().__init__(words=[], groups=shown)
        self.on_msg(self._asked)

    def _asked(self, _: Any, message: Any, __: Sequence[Any]) -> None:
        words = message.get("words") if isinstance(message, Mapping) else None
        if not isinstance(words, list) or not all(isinstance(word, Mapping) for word in words):
            return
        self._changed([(str(word.get("text", "")), bool(word.get("on"))) for word in words])
        stamp = message.get("stamp")
        self.heard = stamp if isinstance(stamp, int) else self.heard
        self.send_state(["words", "heard"])  # what was refused must not look chosen
