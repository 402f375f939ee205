"""What steers the picture: source, control type with its settings, the map at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from workbench.app import html
from workbench.app.session import MAX_SCALE, Session
from workbench.app.state import Screen
from workbench.app.upload import Upload
from workbench.app.views.base import WIDE, Tell, View, list_sources, named, number
from workbench.controls import get_control
from workbench.images import encode_png


class SteeringView(View):
    """What steers the picture: source, control types with their settings, the maps at once.

    take: what becomes of a picture that is given, by its name and bytes.
    """

    fields = frozenset({"choice", "offer", "preview", "preview_status"})

    def __init__(self, session: Session, tell: Tell, take: Callable[[str, bytes], object]) -> None:
        super().__init__(session, tell)
        self.take = take
        there = session.state.now.offer
        kinds = [(label, name) for name, label in there.controls.items()]
        first = session.state.now.choice
        self.source = self.choosing(
            "source", widgets.Dropdown(options=named(there.sources), value=first.source,
                                       description="Source", **WIDE))  # fmt: skip
        self.control = self.choosing(
            "control", widgets.Dropdown(options=kinds, value=first.control,
                                        description="Control", **WIDE))  # fmt: skip
        self.second = self.choosing(
            "second", widgets.Dropdown(options=[("(none)", ""), *kinds], value=first.second,
                                       description="+ second",
                                       tooltip="A second control that steers with the first",
                                       **WIDE))  # fmt: skip
        self.second_scale = self.choosing(
            "second_scale", number(0, MAX_SCALE, 0.1, description="Its scale")
        )
        self.upload = Upload(self._take, lambda text: tell(f"That failed: {text}"))
        self.images = [widgets.HTML(layout={"width": "118px"}) for _ in range(3)]
        for name, image in zip(("source", "map", "second-map"), self.images, strict=True):
            image.add_class(f"wb-{name}-image")
        self.legend, self.status = widgets.HTML(), widgets.HTML()
        self.status.add_class("wb-preview-status")
        self.status.add_class("wb-quiet")
        self.controls = [
            _Settings(self, session.state.now.offer.controls, name)
            for name in ("settings", "second_settings")
        ]
        self.settings = widgets.VBox([one.box for one in self.controls])
        self.source_box = widgets.VBox([self.source, self.upload, self.control])
        self.second_box = widgets.VBox([self.second, self.second_scale])
        images = widgets.Box(self.images, layout={"flex_flow": "row wrap"})
        self.pictures = widgets.VBox([images, self.legend, self.status], layout={"width": "250px"})
        self._shown: object = ""  # so that places stand before there is a map

    def _take(self, name: str, data: bytes) -> None:
        self._tell("")
        self.take(name, data)

    def show(self, screen: Screen) -> None:
        choice, preview = screen.choice, screen.preview
        list_sources(self.source, screen.offer.sources)
        self.source.value, self.control.value = choice.source, choice.control
        self.second.value, self.second_scale.value = choice.second, choice.second_scale
        for widget in (self.second_scale, self.images[2]):
            widget.layout.display = "" if choice.second else "none"
        self.controls[0].show(choice.control, choice.settings)
        self.controls[1].show(choice.second, choice.second_settings)
        self.status.value = html.note(screen.preview_status)
        for image in self.images:
            (image.add_class if screen.preview_status == "…" else image.remove_class)("wb-stale")
        if preview is not self._shown:
            self._shown = preview
            maps = (preview.control_map, preview.second_map) if preview else (None, None)
            arrays = (preview.source if preview else None, *maps)
            names = ("source", "control map", "second map")
            for image, array, text in zip(self.images, arrays, names, strict=True):
                image.value = html.picture(None if array is None else encode_png(array), text)
            self.legend.value = html.legend(preview.legend) if preview else ""


class _Settings:
    """Widgets out of a control type's own description of its settings.

    They set the field `name` of the choice.
    """

    def __init__(self, view: View, labels: Mapping[str, str], name: str) -> None:
        self._view, self._labels, self._name = view, labels, name
        self._control = ""
        self.fields: dict[str, Any] = {}
        self.box = widgets.VBox()

    def show(self, control: str, text: str) -> None:
        """Show the settings (JSON) of a control type; none at all for ""."""
        if not control:
            self._control, self.box.children = "", ()
            return
        kind = get_control(control).settings_type
        if control != self._control:
            self._control = control
            fields = kind.model_json_schema()["properties"]
            made = {name: _setting(name, field) for name, field in fields.items()}
            self.fields = {name: widget for name, widget in made.items() if widget is not None}
            for widget in self.fields.values():
                widget.observe(self._view.act(lambda _: self._set()), names="value")
            about = (kind.__doc__ or "").partition("\n\n")[2].replace("\n    ", " ").strip()
            quiet = f"<span class='wb-quiet'>{html.note(about)}</span>"
            help_ = widgets.HTML(quiet, layout={"width": "420px"})
            title = widgets.HTML(html.caption(f"{self._labels[control]}: settings"))
            self.box.children = [title, *self.fields.values(), help_]
        values = kind.model_validate_json(text or "{}").model_dump(mode="json")
        for name, widget in self.fields.items():
            widget.value = values[name]

    def _set(self) -> None:
        values = {name: widget.value for name, widget in self.fields.items()}
        self._view.session.choose(**{self._name: values})


def _setting(name: str, field: dict[str, Any]) -> Any:
    """The widget for one setting, from its JSON schema; None for what has no simple one."""
    low, high = field.get("minimum"), field.get("maximum")
    span = "" if low is None or high is None else f"from {low:g} to {high:g}"
    shown = {**WIDE, "description": name.replace("_", " "), "tooltip": span}
    if "enum" in field:
        return widgets.Dropdown(options=field["enum"], **shown)
    kind = field.get("type")
    if kind == "boolean":
        return widgets.Checkbox(indent=False, **shown)
    if kind not in ("integer", "number"):
        return None
    return widgets.FloatText(step=1 if high is None or high > 10 else high / 20, **shown)
