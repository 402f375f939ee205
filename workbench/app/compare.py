"""Two runs held against each other, for the screen."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.app import html
from workbench.app.state import Comparison

if TYPE_CHECKING:
    from workbench.plots import Theme
    from workbench.runs import Run

MOST_CONTROLS = 2
"""Control types whose curves are drawn: each has two panels, which must stay readable."""


def compare(a: Path, b: Path) -> Comparison:
    """Compare two runs; reads all of their pictures. StoreError if there is no run at one place."""
    from workbench.plots import DARK, LIGHT
    from workbench.runs import open_run

    one, other = open_run(a), open_run(b)
    found = one.diff(other)
    names = (a.name, b.name)
    same = [pair for pair in found.pairs if pair not in found.pictures]
    told = [
        f"Pictures: {len(found.pairs)} in both, of which {len(same)} are the same pixels; "
        f"{len(found.only_a)} only in {a.name}, {len(found.only_b)} only in {b.name}."
    ]
    if not found.cells:
        told.append("No picture of one run is asked for by the other.")
    both = [name for name in one.labels if name in other.labels]
    if not both:
        told.append("They have no control type in common, so that no curves are drawn.")
    elif len(both) > MOST_CONTROLS:
        told.append(f"Curves of the first {MOST_CONTROLS} of {len(both)} control types.")
    shown = both[:MOST_CONTROLS]
    drawn = [_tradeoffs((one, other), names, shown, theme) for theme in (LIGHT, DARK)]
    settings = {name: (_said(x), _said(y)) for name, (x, y) in found.settings.items()}
    return Comparison(
        *names, settings, tuple(told), repr(found), drawn[0][0], drawn[1][0], drawn[0][1]
    )


def _tradeoffs(
    runs: tuple[Run, Run], names: tuple[str, str], controls: list[str], theme: Theme
) -> tuple[bytes, str]:
    """The trade-offs of both runs side by side, on the same axes; a PNG and its words."""
    import pandas as pd

    from workbench.plots import to_png, tradeoff_figure

    tables: list[pd.DataFrame] = []
    spots: list[pd.DataFrame] = []
    labels: dict[str, str] = {}
    for control in controls:
        for place, (run, name) in enumerate(zip(runs, names, strict=True)):
            key = f"{control}/{place}"
            labels[key] = f"{run.labels[control]}, {name}"
            for found, table in ((tables, run.tradeoff()), (spots, run.sweet_spots())):
                found.append(table[table["control"] == control].assign(control=key))
    if not tables or all(table.empty for table in tables):
        return b"", ""
    figure = tradeoff_figure(
        pd.concat(tables), pd.concat(spots), control_labels=labels, theme=theme
    )
    return to_png(figure, 72), figure.alt


def _said(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    return "–" if value in (None, "", {}) else str(value)


def comparison_html(found: Comparison) -> str:
    """The comparison as HTML; every text of the runs is escaped."""
    rows = "".join(
        f"<tr><th scope='row'>{escape(name)}</th>"
        f"<td>{html.note(x)}</td><td>{html.note(y)}</td></tr>"
        for name, (x, y) in found.settings.items()
    )
    head = "".join(f"<th scope='col'>{html.note(name)}</th>" for name in (found.a, found.b))
    table = f"<table class='wb-differ'><tr><th scope='col'>Setting</th>{head}</tr>{rows}</table>"
    pictures = "".join(
        f"<img class='wb-{theme}' alt='{escape(found.alt, quote=True)}' "
        f"src='data:image/png;base64,{base64.b64encode(png).decode('ascii')}'>"
        for theme, png in (("light", found.light), ("dark", found.dark))
        if png
    )
    return (
        f"<div class='wb-compared'><p>{html.note(' '.join(found.told))}</p>"
        f"{table if rows else '<p>Their settings are the same.</p>'}{pictures}"
        f"<details><summary>All of it, as workbench diff prints it</summary>"
        f"<pre>{escape(found.details)}</pre></details></div>"
    )
