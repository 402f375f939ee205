"""The prompt: what the picture is to show."""

from __future__ import annotations

import functools
from typing import Any

import ipywidgets as widgets

from workbench.app import html
from workbench.app.chips import Chips, Words
from workbench.app.presets import PRESETS
from workbench.app.session import Session
from workbench.app.state import Reading, Screen
from workbench.app.views.base import WIDE, Tell, View

MOST_NAMED = 6
"""So many words that are not read are named below the chips, which mark all of them."""


class PromptView(View):
    """The prompt as text, as chips with a length, and as four presets."""

    fields = frozenset({"choice", "reading"})

    def __init__(self, session: Session, tell: Tell) -> None:
        super().__init__(session, tell)
        self.text = widgets.Text(continuous_update=False, description="Prompt", **WIDE)
        self.text.add_class("wb-prompt")
        self.text.observe(
            self.act(lambda event: session.choose(prompt=event["new"])), names="value"
        )
        self.groups = session.engine.family.tag_groups()
        self.chips = Chips(self.act(self._write), self.groups)
        self.chips.add_class("wb-tags")
        self.tokens = widgets.HTML(layout={"width": "262px"})
        self.tokens.add_class("wb-tokens")
        self.tokens.add_class("wb-quiet")
        self.tokens.add_class("wb-paths")
        self.presets = {name: self._preset(name, tip) for name, tip in PRESETS.items()}
        buttons = widgets.Box(
            list(self.presets.values()), layout={"flex_flow": "row wrap", "width": "262px"}
        )
        buttons.add_class("wb-presets")
        self.box = widgets.VBox([self.text, self.chips, self.tokens, buttons])

    def _preset(self, name: str, tip: str) -> widgets.Button:
        button = widgets.Button(description=name, tooltip=tip)
        button.on_click(self.act(functools.partial(self._take, name)))
        button.add_class(f"wb-preset-{name}")
        return button

    def _take(self, name: str, _: Any) -> None:
        self.session.take_preset(name)

    def _write(self, words: Words) -> None:
        self.session.write(words)

    def show(self, screen: Screen) -> None:
        choice, reading = screen.choice, screen.reading
        self.text.value = ", ".join(choice.prompt)
        self.chips.words = [
            {
                "text": word,
                "on": word in choice.kept,
                "note": self._note(word, choice.kept),
                "read": word not in reading.unread,
            }
            for word in choice.prompt
        ]
        self.tokens.value = html.note(tokens_text(reading))
        (self.tokens.add_class if reading.unread else self.tokens.remove_class)("wb-warns")

    def _note(self, word: str, kept: tuple[str, ...]) -> str:
        """What is odd about a word, or ""."""
        if not self.groups:
            return ""
        group = next((group for group in self.groups.values() if word in group), None)
        if group is None:
            return "not a word that this model has learned"
        others = [other for other in kept if other in group and other != word]
        return f"excludes {others[0]}" if others and word in kept else ""


def tokens_text(reading: Reading) -> str:
    """How much of the prompt is read, in words: "21 of 77 tokens"."""
    if not reading.limit:
        return ""
    if reading.unread:
        words, more = ", ".join(reading.unread[:MOST_NAMED]), len(reading.unread) - MOST_NAMED
        words += f" and {more} more" if more > 0 else ""
        return f"{reading.tokens} tokens, of which {reading.limit} are read. Not read: {words}."
    return f"{reading.tokens} of {reading.limit} tokens"
