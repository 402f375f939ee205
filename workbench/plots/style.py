"""The look that all figures share: two themes, colour-blind-safe series, axes and text helpers.

Nothing here touches ``pyplot`` or ``rcParams``: figures may be drawn from any thread.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from workbench.analysis.frames import count_tags
from workbench.formats import number

if TYPE_CHECKING:
    import pandas as pd

BODY = 10.5
"""Font size of labels in points; at half size they are still 5 pt."""
SMALL = 9.5
"""Font size of ticks and notes in points."""


@dataclass(frozen=True)
class Theme:
    """Colours of one look. ``neutral`` is the series colour that Okabe and Ito print in black."""

    name: str
    paper: str
    ink: str
    muted: str
    grid: str
    band: str
    neutral: str


LIGHT = Theme("light", "#ffffff", "#1a1a1a", "#5c5c5c", "#e3e3e3", "#f1f0ec", "#000000")
"""Dark lines on white; the default."""
DARK = Theme("dark", "#16181c", "#e9e7e2", "#a9a7a1", "#33363c", "#202329", "#ffffff")
"""Light lines on black."""


class RunViews(Protocol):
    """What figures of a whole run read of it (see `workbench.Run`)."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Control type -> what people call it."""
        ...

    def tradeoff(self) -> pd.DataFrame:
        """As `analysis.tradeoff` returns it."""
        ...

    def sweet_spots(self) -> pd.DataFrame:
        """As `analysis.sweet_spot` returns it."""
        ...

    def ranking(self) -> pd.DataFrame:
        """The first table of `analysis.ranking`."""
        ...


def views_of(given: pd.DataFrame | RunViews) -> RunViews | None:
    """The run that a figure was given in place of a frame, None for a frame."""
    return None if hasattr(given, "columns") else given


OKABE_ITO: tuple[str, ...] = (
    "#0072B2",  # blue
    "#D55E00",  # vermilion
    "#009E73",  # bluish green
    "#CC79A7",  # reddish purple
    "#E69F00",  # orange
    "#56B4E9",  # sky blue
)
"""Okabe and Ito (2008), *Color Universal Design*, without yellow, which is lost on white."""

_ON_DARK = {"#0072B2": "#3D9BDC", "#D55E00": "#EF7B2C", "#009E73": "#17B890"}
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES: tuple[Any, ...] = (
    "-",
    (0, (6, 2)),
    (0, (6, 2, 1.5, 2)),
    (0, (1.5, 1.5)),
    (0, (10, 3)),
    (0, (3, 1.5, 1, 1.5, 1, 1.5)),
    "-",
)


@dataclass(frozen=True)
class SeriesStyle:
    """How one curve is told from the others: by colour, by marker and by line, each alone."""

    colour: str
    marker: str
    line: Any


def series_style(index: int, theme: Theme = LIGHT) -> SeriesStyle:
    """Return the style of the ``index``-th curve (0, 1, …).

    Colours repeat after seven, each time with the next marker and line: 49 styles in all.
    """
    colours = (*OKABE_ITO, theme.neutral)
    colour = colours[index % len(colours)]
    shape = index + index // len(colours)
    if theme.name == "dark":
        colour = _ON_DARK.get(colour, colour)
    return SeriesStyle(colour, _MARKERS[shape % len(_MARKERS)], _LINES[shape % len(_LINES)])


class Drawing(Figure):
    """A figure that shows itself as the last line of a notebook's cell, without pyplot.

    alt: what it shows, in a sentence, for those who cannot see it.
    """

    alt: str = ""

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The figure as PNG, at twice the resolution at which it is shown, with its alt text."""
        width, height = (round(inches * _SHOWN_DPI) for inches in self.get_size_inches())
        shown = {"alt": self.alt, "width": width, "height": height}
        return {"image/png": to_png(self, 2 * _SHOWN_DPI)}, {"image/png": shown}


_SHOWN_DPI = 72


def new_figure(width: float, height: float, theme: Theme = LIGHT, *, alt: str) -> Drawing:
    """Return an empty figure of ``width`` × ``height`` inches on an Agg canvas."""
    figure = Drawing(figsize=(width, height), dpi=100, facecolor=theme.paper, layout="constrained")
    FigureCanvasAgg(figure)
    figure.alt = clean_text(alt, 400)
    return figure


def style_axes(axes: Axes, theme: Theme = LIGHT, *, grid: bool = True) -> Axes:
    """Give ``axes`` two spines, quiet ticks and (optionally) a faint grid behind the data."""
    axes.set_facecolor(theme.paper)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.muted)
        spine.set_linewidth(0.8)
    axes.tick_params(colors=theme.muted, labelcolor=theme.ink, labelsize=SMALL, length=3)
    if grid:
        axes.grid(True, color=theme.grid, linewidth=0.7)
    return axes


def label_axes(axes: Axes, x: str, y: str, theme: Theme = LIGHT) -> None:
    """Set both axis labels as plain text; a line break in them is kept."""
    x, y = ("\n".join(clean_text(line) for line in text.split("\n")) for text in (x, y))
    axes.set_xlabel(x, fontsize=BODY, color=theme.ink, parse_math=False)
    axes.set_ylabel(y, fontsize=BODY, color=theme.ink, parse_math=False)


def title_axes(axes: Axes, text: str, theme: Theme = LIGHT, *, pad: float = 6) -> None:
    """Set a left-aligned title as plain text, ``pad`` points above the axes."""
    axes.set_title(
        clean_text(text),
        loc="left",
        pad=pad,
        fontsize=BODY + 0.5,
        fontweight="bold",
        color=theme.ink,
        parse_math=False,
    )


def style_legend(legend: Legend, theme: Theme = LIGHT) -> Legend:
    """Make a legend frameless, and its words plain text."""
    legend.set_frame_on(False)
    for text in legend.get_texts():
        text.set_color(theme.ink)
        text.set_fontsize(SMALL)
        text.set_parse_math(False)
    legend.get_title().set_color(theme.muted)
    legend.get_title().set_fontsize(SMALL)
    legend.get_title().set_parse_math(False)
    return legend


_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")


def clean_text(text: str, limit: int = 120) -> str:
    """Return ``text`` on one line, without control characters, at most ``limit`` characters long.

    Figures show prompts, file names and labels that anybody may have written.
    """
    line = " ".join(_CONTROL_CHARACTERS.sub(" ", str(text)).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def direction(higher_is_better: bool | None) -> str:
    """Return the words which say where better lies (empty when there is no better)."""
    if higher_is_better is None:
        return ""
    return "higher is better ↑" if higher_is_better else "lower is better ↓"


def with_direction(label: str, higher_is_better: bool | None, unit: str = "") -> str:
    """Return an axis label such as ``RMSE [grey levels]``, below it ``(lower is better ↓)``."""
    words = clean_text(label, 60) + (f" [{unit}]" if unit else "")
    better = direction(higher_is_better)
    return f"{words}\n({better})" if better else words


def lengths_of(*tables: pd.DataFrame) -> dict[int, str]:
    """Return the prompt lengths of tables, shortest first, with what each is called: the tables'
    column ``label`` if there is one, else a number of tags."""
    found: dict[int, str] = {}
    for table in tables:
        for n in table["length"].unique():
            found.setdefault(int(n), count_tags(int(n)))
        if "label" in table:
            pairs = table[["length", "label"]].drop_duplicates()
            found |= {int(n): str(label) for n, label in pairs.itertuples(index=False, name=None)}
    return dict(sorted(found.items()))


def by_length(table: pd.DataFrame) -> list[tuple[int, pd.DataFrame]]:
    """Return (prompt length, its rows in the order of the scale), shortest prompt first."""
    lengths = sorted({int(n) for n in table["length"]})
    return [(n, table[table["length"] == n].sort_values("scale")) for n in lengths]


def padded_limits(values: Iterable[float], pad: float = 0.06) -> tuple[float, float] | None:
    """Return limits which hold all finite values and leave ``pad`` of their range on both sides."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    margin = (high - low) * pad or max(abs(high) * pad, 0.05)
    return low - margin, high + margin


def say_empty(axes: Axes, text: str, theme: Theme = LIGHT) -> None:
    """Write ``text`` in the middle of axes that have nothing to show."""
    axes.text(
        0.5,
        0.5,
        clean_text(text),
        transform=axes.transAxes,
        ha="center",
        va="center",
        color=theme.muted,
        fontsize=BODY,
        parse_math=False,
    )


def scale_ticks(axes: Axes, scales: Sequence[float]) -> None:
    """Put the ticks of the horizontal axis at the scales that were run (at most nine of them)."""
    step = max(1, math.ceil(len(scales) / 9))
    chosen = list(scales)[::step]
    axes.set_xticks(chosen, [number(scale) for scale in chosen])


def to_png(figure: Figure, dpi: float = 200) -> bytes:
    """Return ``figure`` as PNG bytes at ``dpi`` dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor=figure.get_facecolor())
    return buffer.getvalue()


_CHANCE_ID = re.compile(rb'(\bid="|url\(#|href="#)(\w*[0-9a-f]{10})(?=["\)])')


def to_svg(figure: Figure) -> bytes:
    """Return ``figure`` as an SVG file whose text is drawn as outlines: it needs no font.

    The same figure gives the same bytes.
    """
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(buffer, format="svg", facecolor=figure.get_facecolor(), metadata=metadata)
    # Matplotlib draws its ids by chance, unless a global setting is changed: number them instead.
    numbers: dict[bytes, int] = {}

    def numbered(found: re.Match[bytes]) -> bytes:
        return found[1] + b"i%d" % numbers.setdefault(found[2], len(numbers))

    return _CHANCE_ID.sub(numbered, buffer.getvalue())
