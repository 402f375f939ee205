"""The run on the screen, and others."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from workbench.app import html
from workbench.app.compare import comparison_html
from workbench.app.session import Session
from workbench.app.state import Screen
from workbench.app.views.base import WIDE, Tell, View, columns


class RunsView(View):
    """The run on the screen, and others: open, go on, rename, copy, delete, take away."""

    fields = frozenset({"runs", "opening", "sheet", "choice", "in_hand", "doomed", "compared"})

    def __init__(self, session: Session, tell: Tell) -> None:
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
        self.other = widgets.Dropdown(description="Compare", **WIDE)
        self.other.tooltip = "Another run, beside the one on the screen"
        self.other.add_class("wb-other")
        self.other.observe(self.act(self._compare), names="value")
        self.compared = widgets.HTML()
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
            self.other,
        ]
        title = widgets.HTML(html.caption("The picture that is chosen, in Python"))
        self.box = widgets.VBox([columns(run, [title, self.code]), self.compared])
        self._coded: object = None
        self._shown: object = None
        self._compared: object = None

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

    def _compare(self, event: Any) -> None:
        if event["new"]:
            self.session.compare(event["new"])

    def _show_compared(self, screen: Screen, here: Path | None) -> None:
        others = [(path.name, path) for path in screen.runs if path != here]
        options: list[tuple[str, Path | str]] = [("(with no other run)", ""), *others]
        if tuple(options) != tuple(self.other.options):
            kept = self.other.value
            self.other.options = options
            self.other.value = kept if kept in dict(options).values() else ""
        self.other.disabled = here is None
        if screen.compared is not self._compared:
            self._compared = screen.compared
            found = screen.compared
            self.compared.value = "" if found is None else comparison_html(found)
            if found is None:
                self.other.value = ""

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
        chosen = screen.opening if screen.opening in there else here
        self.runs.value = chosen or ""  # None would show no option at all
        self.complete.disabled = sheet is None or sheet.plan is None
        others = (self.report, self.rename, self.duplicate, self.delete, *self.taken.values())
        for button in others:
            button.disabled = sheet is None
        self._show_compared(screen, here)
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
