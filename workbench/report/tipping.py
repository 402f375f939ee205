"""At which scale each word gives way: the figure and the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench import analysis
from workbench.formats import fixed
from workbench.plots import tipping_figure
from workbench.report.embed import Picture, drawing
from workbench.report.tables import Table

if TYPE_CHECKING:
    import pandas as pd


def draw_tipping(rows: pd.DataFrame, label: str) -> tuple[Picture | None, Table]:
    """Draw and list the tipping scales of one control type; None where no tag was read."""
    table = analysis.tipping_scales(rows)
    found = analysis.records(table)
    words = [analysis.tipping_words(row) for row in found]
    lines = tuple(
        (
            str(row["tag"]),
            said,
            fixed(row["first"]),
            fixed(row["last"]),
            "yes" if row["clear"] else "no",
            f"{row['n_sources']}",
        )
        for row, said in zip(found, words, strict=True)
    )
    heads = (
        *("Tag", "Tipping scale [95 % interval]", "Obeyed at the smallest scale (fit)"),
        *("Obeyed at the largest scale (fit)", "Clear", "Sources"),
    )
    listed = Table(heads, lines, (False, False, True, True, False, True))
    if table.empty:
        return None, listed
    picture = drawing(
        tipping_figure(table, words, title=label),
        f"Tipping scales for {label}: the scale from which the control overrides each tag.",
    )
    return picture, listed
