"""Thin ipywidgets over one session: widgets change the choice, the state changes the widgets.

Callbacks only queue work. The state may change on any thread, so widgets are updated under a lock,
always from the state as it is at that moment.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from threading import RLock, get_ident
from typing import Any

import ipywidgets as widgets

from workbench.app import html
from workbench.app.explorer import Explorer
from workbench.app.grid import Axes
from workbench.app.session import MAX_SCALE, MAX_SEED, Session
from workbench.app.state import Screen
from workbench.controls import get_control
from workbench.families import FamilyError, load_catalogue
from workbench.images import encode_png
from workbench.study.ranges import expand_numbers

WIDE = {"layout": {"width": "262px"}, "style": {"description_width": "78px"}}
STRIPS = {"scale": "scales", "seed": "seeds", "control": "control types", "base": "base models"}
FOLLOW_SHARE = 4.0
"""While a sweep runs, the explorer rests this many times as long as its last update took."""


class View:
    """Widgets that show part of the screen. `fields` are the fields of `Screen` it shows."""

    fields: frozenset[str] = frozenset()
    box: widgets.Widget

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        self.session = session
        self._tell = tell
        self._lock = RLock()
        self._filler: int | None = None  # the thread that sets widgets from the state
        self._ends: list[Callable[[], None]] = []

    def start(self) -> None:
        """Show the state as it is and follow it from now on."""
        self._ends.append(self.session.state.observe(self._changed))
        self._changed(self.fields)

    def close(self) -> None:
        """Follow the state no longer."""
        for end in self._ends:
            end()

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
                self._tell("")
                action(event)
            except Exception as error:
                self._tell(f"That failed: {error}")
                self._changed(self.fields)  # what was refused must not look chosen

        return callback

    def choosing(self, name: str, widget: Any) -> Any:
        """The widget, whose value is that field of the choice from now on."""
        widget.observe(
            self.act(lambda event: self.session.choose(**{name: event["new"]})), names="value"
        )
        widget.add_class(f"wb-{name.replace('_', '-')}")
        return widget


class SteeringView(View):
    """What steers the picture: source, control type with its settings, the map at once."""

    fields = frozenset({"choice", "offer", "preview", "preview_status"})

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        super().__init__(session, tell)
        offer = session.state.now.offer
        kinds = [(label, name) for name, label in offer.controls.items()]
        first = session.state.now.choice
        self.source = self.choosing(
            "source", widgets.Dropdown(options=_named(offer.sources), value=first.source,
                                       description="Source", **WIDE))  # fmt: skip
        self.control = self.choosing(
            "control", widgets.Dropdown(options=kinds, value=first.control,
                                        description="Control", **WIDE))  # fmt: skip
        self.upload = widgets.FileUpload(
            accept="image/*", description="Own picture", layout={"width": "140px"},
            tooltip="PNG, JPEG, WebP, BMP or TIFF, up to 32 MB; its centred square is used",
        )  # fmt: skip
        self.upload.add_class("wb-upload")
        self.upload.observe(self.act(self._take), names="value")
        self.images = [widgets.HTML(layout={"width": "118px"}) for _ in range(2)]
        for name, image in zip(("source", "map"), self.images, strict=True):
            image.add_class(f"wb-{name}-image")
        self.legend, self.status = widgets.HTML(), widgets.HTML()
        self.status.add_class("wb-preview-status")
        self.status.add_class("wb-quiet")
        self._settings_of = ""
        self._fields: dict[str, Any] = {}
        self.settings = widgets.VBox()
        self.source_box = widgets.VBox([self.source, self.upload, self.control])
        self.pictures = widgets.VBox(
            [widgets.HBox(self.images), self.legend, self.status], layout={"width": "250px"}
        )
        self._shown: object = None

    def _take(self, event: Any) -> None:
        for file in event["new"]:
            self.session.upload(file["name"], bytes(file["content"]))

    def show(self, screen: Screen) -> None:
        choice, preview = screen.choice, screen.preview
        if len(self.source.options) != len(screen.offer.sources):
            self.source.options = _named(screen.offer.sources)
        self.source.value, self.control.value = choice.source, choice.control
        self._show_settings(choice.control, choice.settings)
        self.status.value = html.note(screen.preview_status)
        for image in self.images:
            (image.add_class if screen.preview_status == "…" else image.remove_class)("wb-stale")
        if preview is not self._shown:
            self._shown = preview
            arrays = (preview.source, preview.control_map) if preview else (None, None)
            for image, array, text in zip(
                self.images, arrays, ("source", "control map"), strict=True
            ):
                image.value = html.picture(None if array is None else encode_png(array), text)
            self.legend.value = html.legend(preview.legend) if preview else ""

    def _show_settings(self, control: str, text: str) -> None:
        """Widgets out of the control type's own description of its settings."""
        kind = get_control(control).settings_type
        if control != self._settings_of:
            self._settings_of = control
            fields = kind.model_json_schema()["properties"]
            made = {name: _setting(name, field) for name, field in fields.items()}
            self._fields = {name: widget for name, widget in made.items() if widget is not None}
            for widget in self._fields.values():
                widget.observe(self.act(lambda _: self._set()), names="value")
            about = (kind.__doc__ or "").partition("\n\n")[2].replace("\n    ", " ").strip()
            quiet = f"<span class='wb-quiet'>{html.note(about)}</span>"
            help_ = widgets.HTML(quiet, layout={"width": "420px"})
            label = self.session.state.now.offer.controls[control]
            title = widgets.HTML(html.caption(f"{label}: settings"))
            self.settings.children = [title, *self._fields.values(), help_]
        values = kind.model_validate_json(text or "{}").model_dump(mode="json")
        for name, widget in self._fields.items():
            widget.value = values[name]

    def _set(self) -> None:
        self.session.choose(settings={name: w.value for name, w in self._fields.items()})


class PromptView(View):
    """The prompt as text, as tags that can be switched off, and as a length."""

    fields = frozenset({"choice"})

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
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


class DrawingView(View):
    """Scale, seed, base model, and under More what is seldom changed."""

    fields = frozenset({"choice"})

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        super().__init__(session, tell)
        offer = session.state.now.offer
        first = session.state.now.choice
        whole = functools.partial(widgets.BoundedIntText, **WIDE)
        self.inputs = {
            "scale": widgets.BoundedFloatText(
                min=0, max=MAX_SCALE, step=0.1, description="Scale", **WIDE
            ),
            "seed": whole(min=0, max=MAX_SEED, description="Seed"),
            "base": widgets.Dropdown(
                options=offer.bases, value=first.base, description="Base model", **WIDE
            ),
            "steps": whole(min=1, max=1000, description="Steps"),
            "guidance_scale": widgets.BoundedFloatText(
                min=1, max=30, step=0.5, description="Guidance", **WIDE
            ),
            "scheduler": widgets.Dropdown(
                options=offer.schedulers, value=first.scheduler, description="Sampler", **WIDE
            ),
            "negative_prompt": widgets.Text(
                description="Negative", continuous_update=False, **WIDE
            ),
        }
        share = functools.partial(
            widgets.BoundedFloatText, min=0, max=1, step=0.05, layout=WIDE["layout"],
            style={"description_width": "90px"}, tooltip="A share of the steps, from 0 to 1",
        )  # fmt: skip
        self.inputs |= {
            "control_start": share(description="Control start"),
            "control_end": share(description="Control end"),
        }
        for name, widget in self.inputs.items():
            self.choosing(name, widget)
        if len(offer.bases) == 1:
            self.inputs["base"].layout.display = "none"
        rest = [w for name, w in self.inputs.items() if name not in ("scale", "seed", "base")]
        self.more = widgets.VBox([widgets.HTML(html.caption("The picture: settings")), *rest])
        self.box = widgets.VBox([self.inputs[n] for n in ("scale", "seed", "base")])

    def show(self, screen: Screen) -> None:
        for name, widget in self.inputs.items():
            widget.value = getattr(screen.choice, name)


class ModelView(View):
    """Which models make the pictures and where, in words, and the choice of another family.

    use: takes the name of a family that is chosen.
    """

    fields = frozenset({"models"})

    def __init__(
        self,
        session: Session,
        tell: Callable[[str], None],
        family: str,
        use: Callable[[str], object],
    ) -> None:
        super().__init__(session, tell)
        names = [family]
        with suppress(FamilyError):
            names += [name for name, one in load_catalogue().items() if one.controls]
        names = list(dict.fromkeys(names))
        self._family_in_use = family
        self.family = widgets.Dropdown(options=names, value=family, description="Family", **WIDE)
        self.family.add_class("wb-family")
        self.family.observe(self.act(lambda event: use(event["new"])), names="value")
        self.words = widgets.HTML(layout={"max_width": "520px"})
        for name in ("wb-models", "wb-quiet", "wb-paths"):
            self.words.add_class(name)
        hint = widgets.HTML(html.note("Another family begins a new run; its models load then."))
        hint.add_class("wb-quiet")
        self.box = widgets.VBox([widgets.HTML(html.caption("Models")), self.family, hint])

    def show(self, screen: Screen) -> None:
        self.family.value = self._family_in_use
        self.words.value = html.note(screen.models)


class MakeView(View):
    """One picture, or a sweep: what varies, what it takes."""

    fields = frozenset({"choice", "offer", "work", "price"})

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        super().__init__(session, tell)
        half = {"layout": {"width": "120px"}}
        self.make = widgets.Button(description="Make picture", button_style="primary", **half)
        self.stop = widgets.Button(description="Stop", disabled=True, **half)
        self.sweep = widgets.Button(description="Sweep", button_style="primary", **half)
        self.make.on_click(self.act(lambda _: session.make()))
        self.stop.on_click(self.act(lambda _: session.stop()))
        self.sweep.on_click(self.act(lambda _: session.make(self.axes())))
        for name in ("make", "stop", "sweep"):
            getattr(self, name).add_class(f"wb-{name}")
        offer, several = session.state.now.offer, {**WIDE, "rows": 5}
        kinds = [(label, name) for name, label in offer.controls.items()]
        text = functools.partial(widgets.Text, continuous_update=False, **WIDE)
        self.inputs = {
            "length": text(description="Lengths", placeholder="2, 4, 7"),
            "scale": text(description="Scales", value="0..1.6 step 0.4"),
            "seed": text(description="Seeds", placeholder="1, 2"),
            "base": widgets.SelectMultiple(options=offer.bases, description="Bases", **WIDE),
            "control": widgets.SelectMultiple(options=kinds, description="Controls", **several),
            "source": widgets.SelectMultiple(
                options=_named(offer.sources), description="Sources", **several
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
        first = [self.inputs[name] for name in ("scale", "length", "seed", "base")]
        lists = [self.inputs[name] for name in ("control", "source")]
        self.panel = columns([*first, hint], lists, [self.price, self.sweep])
        self.panel.add_class("wb-sweep-panel")
        self.box = widgets.HBox([self.make, self.stop])
        self.strips = {axis: self._strip(axis) for axis in session.strips}
        self.twin = widgets.Button(
            description="Text alone", tooltip="The same picture without the control", **half
        )
        self.twin.on_click(self.act(lambda _: session.make_twin()))
        self.twin.add_class("wb-twin")
        strips = widgets.Box(
            [self.twin, *self.strips.values()], layout={"flex_flow": "row wrap", "width": "256px"}
        )
        title = widgets.HTML(html.caption("Strips", "What is chosen here, varied by one click"))
        self.strip_box = widgets.VBox([title, strips])
        self._asked: object = None

    def _strip(self, axis: str) -> widgets.Button:
        """A button for the strip of an axis."""
        values = self.session.strips[axis]
        button = widgets.Button(
            description=f"{len(values)} {STRIPS[axis]}",
            tooltip="From the chosen seed on" if axis == "seed" else ", ".join(map(str, values)),
            layout={"width": "120px"},
        )
        button.on_click(self.act(lambda _: self.session.make_strip(axis)))
        button.add_class(f"wb-strip-{axis}")
        return button

    def axes(self) -> Axes:
        """What varies, as `Session.make` takes it. ValueError for numbers that are none."""
        axes: dict[str, list[Any]] = {}
        for name, widget in self.inputs.items():
            value = widget.value
            if isinstance(value, str):
                value = _numbers(name, value, whole=name != "scale")
            if value:
                axes[name] = list(value)
        if not axes:
            raise ValueError("nothing varies: give at least one value for one of the rows")
        return axes

    def _ask(self) -> None:
        self.session.ask_price(self.axes())

    def show(self, screen: Screen) -> None:
        self.stop.disabled = not (screen.work.running or screen.work.waiting)
        self.price.value = html.note(screen.price)
        sources = self.inputs["source"]
        if len(sources.options) != len(screen.offer.sources):
            kept = sources.value
            sources.options = _named(screen.offer.sources)
            sources.value = kept
        about = (screen.choice, screen.work.running)
        if about != self._asked:
            self._asked = about
            lengths = {0, len(screen.choice.prompt) // 2, len(screen.choice.prompt)}
            self.inputs["length"].placeholder = ", ".join(map(str, sorted(lengths)))
            try:
                self._ask()
            except ValueError as error:
                self.price.value = html.note(str(error))


class RunsView(View):
    """The run on the screen, and others: open, go on, rename, copy, delete, take away."""

    fields = frozenset({"runs", "sheet", "choice", "in_hand", "doomed"})

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        super().__init__(session, tell)
        self.runs = widgets.Dropdown(description="Run", **WIDE)
        self.runs.add_class("wb-runs")
        self.runs.observe(self.act(self._open), names="value")
        self.name = widgets.Text(description="Name", continuous_update=False, **WIDE)
        self.name.add_class("wb-run-name")
        button = self._button
        self.new = button("new", "New run", session.new_run)
        self.rename = button(
            "rename", "Rename", lambda: session.rename(self.name.value), "Of the run's folder"
        )
        self.complete = button(
            "complete", "Complete", session.complete, "Make every picture that the sheet lacks"
        )
        self.report = button("report", "Write report", lambda: tell(f"Written: {session.report()}"))
        self.duplicate = button("duplicate", "Duplicate", session.duplicate)
        self.delete = button("delete", "Delete", session.ask_delete, "You are asked first")
        self.doom = button("doom", "Really delete?", self._delete)
        self.doom.button_style, self.doom.layout.width = "danger", "220px"
        self.keep = button("keep", "Keep", self._keep)
        self.question = widgets.HBox([self.doom, self.keep])
        every = "The table of all readings"
        self.taken = {
            form: button(f"take-{form}", label, functools.partial(session.take_away, form), tip)
            for form, label, tip in (
                ("csv", "CSV", every),
                ("parquet", "Parquet", every),
                ("imagefolder", "ImageFolder", "The pictures with metadata.jsonl"),
            )
        }
        self.code = widgets.Textarea(
            disabled=True, description="", layout={"width": "520px", "height": "170px"}
        )
        self.code.add_class("wb-code")
        self.study = widgets.HTML(layout={"width": "430px"})
        self.study.add_class("wb-quiet")
        self.study.add_class("wb-paths")
        away = widgets.HTML(html.caption("Take away"))
        away.layout.width = "104px"
        run = [
            widgets.HBox([self.runs, self.new]),
            widgets.HBox([self.name, self.rename]),
            widgets.HBox([self.complete, self.report, self.duplicate, self.delete]),
            self.question,
            widgets.HBox([away, *self.taken.values()]),
            self.study,
        ]
        title = widgets.HTML(html.caption("The picture that is chosen, in Python"))
        self.box = columns(run, [title, self.code])
        self._coded: object = None
        self._shown: object = None

    def _button(
        self, name: str, text: str, action: Callable[[], object], tip: str = ""
    ) -> widgets.Button:
        button = widgets.Button(description=text, tooltip=tip, layout={"width": "104px"})
        button.on_click(self.act(lambda _: action()))
        button.add_class(f"wb-{name}")
        return button

    def _delete(self) -> None:
        self.session.delete()
        self.runs.focus()  # the button in focus goes

    def _keep(self) -> None:
        self.session.keep()
        self.delete.focus()

    def _open(self, event: Any) -> None:
        if event["new"]:
            self.session.open(event["new"])

    def show(self, screen: Screen) -> None:
        sheet = screen.sheet
        here = None if sheet is None else sheet.folder
        there = screen.runs if here is None or here in screen.runs else (here, *screen.runs)
        options: list[tuple[str, Path | str]] = [
            ("(a new run)", ""),
            *((path.name, path) for path in there),
        ]
        if tuple(options) != tuple(self.runs.options):
            self.runs.options = options
        self.runs.value = here or ""  # None would show no option at all
        self.complete.disabled = sheet is None or sheet.plan is None
        others = (self.report, self.rename, self.duplicate, self.delete, *self.taken.values())
        for button in others:
            button.disabled = sheet is None
        if here != self._shown:  # what is being typed stays
            self._shown, self.name.value = here, "" if here is None else here.name
        self.question.layout.display = "none" if screen.doomed is None else ""
        if screen.doomed is not None:
            many = screen.doomed[1]
            self.doom.description = f"Really delete {many} picture{'' if many == 1 else 's'}?"
        where = [] if sheet is None else [f"Study file: {sheet.folder / 'study.yaml'}"]
        if sheet is not None and screen.in_hand:
            png = sheet.folder / "trials" / screen.in_hand / "sample.png"
            where.append(f"Picture in hand, with its settings inside: {png}")
        self.study.value = "<br>".join(map(html.note, where))
        if screen.choice is not self._coded:
            self._coded = screen.choice
            self.code.value = self.session.code()


class RunView(View):
    """The explorer of the run on the screen, and how the work goes."""

    fields = frozenset({"sheet", "work", "status"})

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        super().__init__(session, tell)
        self.explorer = Explorer(make=self._make)
        self.explorer.observe(lambda _: self._look(), names="picked")
        self.bar = widgets.FloatProgress(min=0, max=1, layout={"width": "140px"})
        self.text, self.status = widgets.HTML(), widgets.HTML()
        self.text.add_class("wb-progress")
        self.status.add_class("wb-status")
        self.box = widgets.HBox([self.bar, self.text, self.status])
        self._known: tuple[object, int] = (None, -1)
        self._rest_until = 0.0

    def _make(self, trial: str) -> None:
        try:
            self.session.make_trial(trial)
        except Exception as error:
            self._tell(f"That failed: {error}")

    def _look(self) -> None:
        self.session.state.change(in_hand=self.explorer.in_hand)

    def show(self, screen: Screen) -> None:
        work = screen.work
        self.bar.value = work.done / work.total if work.total and work.running else 0.0
        self.bar.layout.display = "" if work.running else "none"
        self.text.value = html.note(html.progress_text(work))
        self.status.value = html.note(screen.status)
        self.follow(screen)

    def follow(self, screen: Screen) -> None:
        """Queue an update of the explorer, if there is more to see than it shows."""
        sheet = screen.sheet
        key = (None, -1) if sheet is None else (sheet.folder, sheet.version)
        if key == self._known:
            return
        resting = screen.work.running and time.monotonic() < self._rest_until
        if resting and key[0] == self._known[0]:
            return
        self._known = key
        self.session.reader.submit("explorer", lambda _: self._update())

    def _update(self) -> None:
        from workbench.runs import open_run
        from workbench.store import StoreError

        began = time.monotonic()
        sheet = self.session.state.now.sheet
        run = None
        if sheet is not None:
            try:
                run = open_run(sheet.folder)
            except StoreError:  # its first picture is being made
                run = None
        cells = sheet.plan.cells if sheet is not None and sheet.plan is not None else ()
        self.explorer.show(run, cells)
        if sheet is not None and sheet.newest:
            self.explorer.pick(sheet.newest)
        self._look()
        took = time.monotonic() - began
        self._rest_until = time.monotonic() + FOLLOW_SHARE * took

    def close(self) -> None:
        super().close()
        self.explorer.close()


def columns(*parts: Iterable[widgets.Widget]) -> widgets.HBox:
    """Widgets in columns, side by side where there is room."""
    return widgets.HBox(
        [widgets.VBox(list(part)) for part in parts],
        layout={"flex_flow": "row wrap", "grid_gap": "0 14px"},
    )


def _named(sources: Iterable[str]) -> list[tuple[str, str]]:
    return [(_source_label(source), source) for source in sources]


def _source_label(source: str) -> str:
    """A short name: "scene 900001" for a rendered scene, the file's name for a picture."""
    kind, _, seed = source.partition(":")
    return f"scene {seed}" if kind == "paperdoll" else source.rpartition("/")[2]


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
    if low is not None and high is not None:
        text = widgets.BoundedIntText if kind == "integer" else widgets.BoundedFloatText
        return text(
            min=low, max=high, step=1 if high > 10 or kind == "integer" else high / 20, **shown
        )
    return (widgets.IntText if kind == "integer" else widgets.FloatText)(**shown)
