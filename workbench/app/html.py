"""Small pieces of HTML for the app. Every text from outside goes through `escape`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from workbench.app.state import Row, StudyRun
from workbench.controls.base import LegendEntry
from workbench.formats import duration, significant

STYLE = """<style>
.wb-app .widget-html-content {line-height: 1.45}
.wb-app .wb-picture {object-fit: contain; border-radius: 3px}
.wb-table {border-collapse: collapse; font-size: 13px; line-height: 1.35}
.wb-table td, .wb-table th {padding: 2px 10px 2px 0; text-align: left; vertical-align: top}
.wb-table td.wb-number {text-align: right; font-variant-numeric: tabular-nums}
.wb-quiet {opacity: .7}
.wb-tags .widget-toggle-button {width: auto}
</style>"""


def table(rows: Sequence[Row]) -> str:
    """The figures of one picture: name, value, adherence, direction or the reason for no value.

    What is to be known of some of them stands below.
    """
    if not rows:
        return ""
    head = "<tr><th>Figure</th><th>Value</th><th>Adherence</th><th></th></tr>"
    notes = dict.fromkeys(row.note for row in rows if row.note)
    below = "".join(f'<p class="wb-quiet">{escape(note)}</p>' for note in notes)
    return f'<table class="wb-table">{head}{"".join(map(_line, rows))}</table>{below}'


def _line(row: Row) -> str:
    cells = "".join(
        f'<td class="wb-number">{significant(value)}</td>' for value in (row.value, row.adherence)
    )
    if row.reason:
        note = escape(row.reason)
    elif row.higher_is_better is None:
        note = ""
    else:
        note = "higher is better" if row.higher_is_better else "lower is better"
    return f'<tr><td>{escape(row.label)}</td>{cells}<td class="wb-quiet">{note}</td></tr>'


def caption(title: str, text: str = "") -> str:
    """A bold title over a line of text."""
    line = f"<br><span class='wb-quiet'>{escape(text)}</span>" if text else ""
    return f"<b>{escape(title)}</b>{line}"


def legend(entries: Sequence[LegendEntry]) -> str:
    """The colours of a map, each with its name."""
    return " ".join(
        f"<span style='white-space:nowrap'><span style='color:rgb{colour}'>■</span> "
        f"{escape(name)}</span>"
        for name, colour, _ in entries
    )


def note(text: str) -> str:
    """One line of plain text."""
    return f"<span>{escape(text)}</span>"


def progress_text(study: StudyRun) -> str:
    """How far a study has come, as plain text: "generating: 12 of 184 pictures, 2 min left"."""
    if not study.running and not study.total:
        return ""
    if not study.total:
        return f"{study.phase} …"
    text = f"{study.phase}: {study.done} of {study.total} pictures"
    if study.running and not math.isnan(study.seconds_left):
        text += f", {duration(study.seconds_left)} left"
    return text
