"""How a picture is drawn: its settings, and the models that draw."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress

import ipywidgets as widgets

from workbench.app import html
from workbench.app.session import MAX_SCALE, MAX_SEED, Session
from workbench.app.state import Screen
from workbench.app.views.base import WIDE, Tell, View, number
from workbench.families import FamilyError, load_catalogue

WHOLE = ("seed", "steps")


class DrawingView(View):
    """Scale, seed, base model, and under More what is seldom changed."""

    fields = frozenset({"choice"})

    def __init__(self, session: Session, tell: Tell) -> None:
        super().__init__(session, tell)
        offer = session.state.now.offer
        first = session.state.now.choice
        # As text, since number fields of ipywidgets make 13 of 1e3 and 15 of 1.5 without a word.
        whole = functools.partial(widgets.Text, continuous_update=False, **WIDE)
        self.inputs = {
            "scale": number(0, MAX_SCALE, 0.1, description="Scale"),
            "seed": whole(description="Seed", tooltip=f"A whole number from 0 to {MAX_SEED}"),
            "base": widgets.Dropdown(
                options=offer.bases, value=first.base, description="Base model", **WIDE
            ),
            "steps": whole(description="Steps", tooltip="A whole number from 1 to 1000"),
            "guidance_scale": number(1, 30, 0.5, description="Guidance"),
            "scheduler": widgets.Dropdown(
                options=offer.schedulers, value=first.scheduler, description="Sampler", **WIDE
            ),
            "negative_prompt": widgets.Text(
                description="Negative", continuous_update=False, **WIDE
            ),
        }
        share = functools.partial(
            number, 0, 1, 0.05, style={"description_width": "90px"},
            tooltip="A share of the steps, from 0 to 1",
        )  # fmt: skip
        self.inputs |= {
            "control_start": share(description="Control start"),
            "control_end": share(description="Control end"),
        }
        for name, widget in self.inputs.items():
            self.choosing(name, widget, _whole if name in WHOLE else None)
        if len(offer.bases) == 1:
            self.inputs["base"].layout.display = "none"
        first_tab = ("scale", "seed", "base")
        self.settings = {name: w for name, w in self.inputs.items() if name not in first_tab}
        title = widgets.HTML(html.caption("The picture: settings"))
        self.more = widgets.VBox([title, *self.settings.values()])
        self.box = widgets.VBox([self.inputs[n] for n in ("scale", "seed", "base")])

    def show(self, screen: Screen) -> None:
        for name, widget in self.inputs.items():
            value = getattr(screen.choice, name)
            widget.value = str(value) if name in WHOLE else value


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


class ModelView(View):
    """Which models make the pictures and where, in words, and the choice of another family.

    use: takes the name of a family that is chosen.
    """

    fields = frozenset({"models"})

    def __init__(
        self,
        session: Session,
        tell: Tell,
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
