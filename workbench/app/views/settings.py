"""Settings found by search."""

from __future__ import annotations

import functools
import json
from typing import Any

import ipywidgets as widgets
import yaml

from workbench.app import html
from workbench.app.session import Session
from workbench.app.settings import MORE, found_elsewhere, matches, usual_settings
from workbench.app.state import Screen
from workbench.app.views.base import WIDE, Tell, View, columns
from workbench.app.views.drawing import DrawingView
from workbench.app.views.steering import SteeringView
from workbench.study.fields import ALLOWED


class SettingsView(View):
    """Every setting of a study has a place: those of control and picture, and what is found."""

    fields = frozenset({"choice"})

    def __init__(
        self, session: Session, tell: Tell, steering: SteeringView, drawing: DrawingView
    ) -> None:
        super().__init__(session, tell)
        self._steering, self._drawing = steering, drawing
        self.search = widgets.Text(
            description="Find", placeholder="a setting: precision, seeds, …", **WIDE
        )
        self.search.add_class("wb-find")
        self.search.observe(self.act(lambda _: self._filter()), names="value")
        self.usual = usual_settings()
        self.more = {
            name: widgets.Text(
                description=name.replace("_", " "), tooltip=ALLOWED[name],
                continuous_update=False, **WIDE,
            )
            for name in MORE
        }  # fmt: skip
        for name, widget in self.more.items():
            widget.observe(self.act(functools.partial(self._set, name)), names="value")
            widget.add_class(f"wb-{name.replace('_', '-')}")
        self.found = widgets.HTML()
        self.found.add_class("wb-found")
        more = widgets.VBox([*self.more.values(), self.found])
        self.box = widgets.VBox([self.search, columns([steering.settings], [drawing.more], [more])])

    def _set(self, name: str, event: Any) -> None:
        try:
            value = yaml.safe_load(event["new"] or "null")
        except yaml.YAMLError:
            raise ValueError(f"{name}: write {ALLOWED[name]}") from None
        now = json.loads(self.session.state.now.choice.more or "{}")
        changed = now | {name: self.usual[name] if value is None else value}
        self.session.choose(more=changed)

    def show(self, screen: Screen) -> None:
        chosen = json.loads(screen.choice.more or "{}")
        for name, widget in self.more.items():
            widget.value = _yaml(chosen.get(name, self.usual[name]))
        self._filter()

    def _filter(self) -> None:
        query = self.search.value
        chosen = json.loads(self.session.state.now.choice.more or "{}")
        for name, widget in self.more.items():
            wanted = matches(query, name) if query.strip() else name in chosen
            widget.layout.display = "" if wanted else "none"
        shown = {**self._drawing.settings, **self.more}
        boxes = [(one.box, one.fields) for one in self._steering.controls]
        hits = {name for name in self.more if matches(query, name)}
        for box, fields in [(self._drawing.more, self._drawing.settings), *boxes]:
            there = {name for name, w in fields.items() if matches(query, name, w.description)}
            hits |= there
            for name, widget in fields.items():
                widget.layout.display = "" if name in there else "none"
            box.layout.display = "" if there or not fields or not query.strip() else "none"
        found = found_elsewhere(query, shown)
        rows = (f"<li><b>{html.note(name)}</b>: {html.note(place)}</li>" for name, place in found)
        if found:
            self.found.value = f"<ul>{''.join(rows)}</ul>"
        elif hits or not query.strip():
            self.found.value = ""
        else:
            self.found.value = html.note(f'No setting is called "{query.strip()}".')


def _yaml(value: Any) -> str:
    """A value on one line, as a study file says it."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
