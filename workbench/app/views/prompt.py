"""The prompt: what the picture is to show."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from workbench.app.session import Session
from workbench.app.state import Screen
from workbench.app.views.base import WIDE, Tell, View


class PromptView(View):
    """The prompt as text, as tags that can be switched off, and as a length."""

    fields = frozenset({"choice"})

    def __init__(self, session: Session, tell: Tell) -> None:
        super().__init__(session, tell)
        self.text = widgets.Text(continuous_update=False, description="Prompt", **WIDE)
        self.text.add_class("wb-prompt")
        self.text.observe(
            self.act(lambda event: session.choose(prompt=event["new"])), names="value"
        )
        self.length = widgets.BoundedIntText(
            min=0, description="Length", tooltip="So many tags are kept, from the first", **WIDE
        )
        self.length.add_class("wb-length")
        self.length.observe(self.act(self._cut), names="value")
        self.tags: list[widgets.ToggleButton] = []
        self._tag_box = widgets.Box(layout={"flex_flow": "row wrap", "width": "262px"})
        self._tag_box.add_class("wb-tags")
        self.box = widgets.VBox([self.text, self._tag_box, self.length])

    def _cut(self, event: Any) -> None:
        self.session.choose(kept=self.session.state.now.choice.prompt[: event["new"]])

    def _make_tags(self, prompt: tuple[str, ...]) -> None:
        self.tags = [
            widgets.ToggleButton(description=tag, tooltip="Click to leave out, or to keep")
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
        self.text.value = ", ".join(choice.prompt)
        if choice.prompt != tuple(button.description for button in self.tags):
            self._make_tags(choice.prompt)
        for button in self.tags:
            button.value = button.description in choice.kept
        self.length.max = len(choice.prompt)
        self.length.value = len(choice.kept)
