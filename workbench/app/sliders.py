"""A figure with sliders: `slider(function, scale=[0, 0.5, 1])` as the last line of a cell."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from itertools import product
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from workbench.app.still import Still
from workbench.formats import significant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

DPI = 72
"""Dots to an inch at which a figure is shown; it is drawn at twice as many."""
_ONE_AT_A_TIME = Lock()
"""Models and matplotlib's fonts are not for several threads."""


class Slider(Still, anywidget.AnyWidget):
    """What `slider` returns. `index` is where the sliders stand and can be set.

    Each slider is the browser's own, as those of ipywidgets have no name for a screen reader.
    Figures are drawn on a thread of their own, as callbacks may come on any, and are kept.
    """

    _esm = Path(__file__).with_name("sliders.js")
    _css = Path(__file__).with_name("sliders.css")
    choices: Any = traitlets.List().tag(sync=True)
    index: Any = traitlets.List().tag(sync=True)
    frames: Any = traitlets.Dict().tag(sync=True)

    def __init__(
        self, function: Callable[..., Figure], values: dict[str, Sequence[Any]], first: list[int]
    ) -> None:
        self._function, self._values = function, values
        self._worker = ThreadPoolExecutor(1, "slider")
        choices = [
            (name.replace("_", " "), [_said(value) for value in of]) for name, of in values.items()
        ]
        super().__init__(choices=choices, index=first, frames={})
        self.observe(self._moved, "index")

    def draw(self, index: Sequence[int]) -> None:
        """Draw the figure for one place of the sliders, if it has not been drawn."""
        key = ",".join(str(place) for place in index)
        if key in self.frames:
            return
        places = zip(self._values.items(), index, strict=True)
        with _ONE_AT_A_TIME:
            frame = _frame(self._function(**{name: of[place] for (name, of), place in places}))
        self.frames = {**self.frames, key: frame}

    def close(self) -> None:
        """Let go of the thread."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _moved(self, change: dict[str, Any]) -> None:
        self._worker.submit(self._follow, list(change["new"]))

    def _follow(self, index: list[int]) -> None:
        if index != self.index:
            return  # the slider has moved on
        try:
            self.draw(index)
        except Exception as error:
            log.exception("the figure of a slider could not be drawn")
            key = ",".join(str(place) for place in index)
            told = f"This figure cannot be drawn: {type(error).__name__}: {error}"
            self.frames = {**self.frames, key: {"png": "", "alt": "", "width": 0, "error": told}}

    def still(self) -> str:
        """The figures drawn so far, each under the values it belongs to."""
        parts = []
        for key, frame in self.frames.items():
            places = zip(self.choices, map(int, key.split(",")), strict=True)
            head = ", ".join(f"{name} = {of[place]}" for (name, of), place in places)
            parts.append(
                f"<figure><figcaption>{escape(head)}</figcaption>"
                f"<img src='data:image/png;base64,{frame['png']}' alt='{escape(frame['alt'])}' "
                f"width='{frame['width']}'>{escape(frame['error'])}</figure>"
            )
        return "".join(parts)

    def __repr__(self) -> str:
        return f"Slider({', '.join(self._values)})"


def slider(
    function: Callable[..., Figure], /, *, precompute: bool = True, **values: Sequence[Any]
) -> Slider:
    """A figure with one slider for each argument, to be the last line of a cell.

    >>> def waves(count):
    ...     figure = matplotlib.figure.Figure()
    ...     figure.subplots().plot(numpy.sin(numpy.linspace(0, 6.3 * count)))
    ...     return figure
    >>> slider(waves, count=[1, 2, 3])  # doctest: +SKIP

    Args:
        function: called with one value of each argument; returns a matplotlib Figure made without
            pyplot (`wb.plots` makes such), whose `alt`, if it has one, is read to the blind.
        precompute: draw all figures at once, so that moving is instant and a saved notebook needs
            no kernel; False draws the first, and each other one when the slider comes to it.
        values: for each argument, by name, what its slider may be set to, in order.

    Raises:
        ValueError: no argument, or one without a value.
        TypeError: `function` returned no Figure. Other errors of its first calls come through;
            those of later ones are shown below the slider.
    """
    empty = [name for name, of in values.items() if not len(of)]
    if not values or empty:
        what = f'the argument "{empty[0]}" has none' if empty else "no argument is named"
        raise ValueError(f"a slider needs values to choose from: {what}")
    made = Slider(function, {name: list(of) for name, of in values.items()}, [0] * len(values))
    places = product(*(range(len(of)) for of in values.values()))
    with made.hold_trait_notifications():
        for place in places if precompute else [(0,) * len(values)]:
            made.draw(place)
    return made


def _frame(figure: Figure) -> dict[str, Any]:
    from matplotlib.figure import Figure

    from workbench.plots import to_png

    if not isinstance(figure, Figure):
        raise TypeError(f"a slider shows a matplotlib Figure, not {type(figure).__name__}")
    return {
        "png": base64.b64encode(to_png(figure, 2 * DPI)).decode(),
        "alt": str(getattr(figure, "alt", "")),
        "width": round(figure.get_size_inches()[0] * DPI),
        "error": "",
    }


def _said(value: Any) -> str:
    """A value as the slider tells it."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return significant(value) if plain else str(value)
