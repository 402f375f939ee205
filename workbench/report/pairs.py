"""What the report shows of pairs of controls: heat maps over both scales, pictures, figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from workbench import analysis
from workbench.analysis.frames import length_names
from workbench.explorer import source_name
from workbench.formats import number
from workbench.plots import SheetRow, contact_sheet_figure, pair_heatmap
from workbench.report.embed import Picture, drawing, photograph
from workbench.report.sheets import MAX_ROWS, sample_of, shown_scales, small
from workbench.report.tables import Table, adherence_text
from workbench.store import RunFolder
from workbench.study import SourceImage

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PairFigures:
    """Everything shown about one pair: a heat map for each prompt length, one contact sheet."""

    name: str
    label: str
    heatmaps: tuple[Picture, ...]
    sheet: Picture | None
    table: Table


def pair_label(name: str, label_of: Callable[[str], str]) -> str:
    """A pair's name with people's words for its types: "Canny edges + Depth (base ink)"."""
    return " + ".join(label_of(part) for part in name.split(" + "))


def draw_pairs(
    run: RunFolder,
    frame: pd.DataFrame,
    sources: Mapping[str, SourceImage],
    label_of: Callable[[str], str],
    budget: int,
) -> tuple[PairFigures, ...]:
    """Draw every pair of a run.

    Args:
        frame: the long frame as stored, pairs included.
        label_of: a control type, with or without brackets behind it -> what people call it.
        budget: bytes for all contact sheets together, about.
    """
    points = analysis.pair_points(frame)
    rows = analysis.pair_rows(frame)
    names = [str(name) for name in dict.fromkeys(points["pair"])]
    limit = budget // max(1, len(names))
    found = []
    for name in names:
        mine = points[points["pair"] == name]
        label = pair_label(name, label_of)
        types = {str(kind): label_of(str(kind)) for kind in (*mine["first"], *mine["second"])}
        heatmaps = []
        for _, part in mine.groupby("length"):
            title = f"{label}, {part['label'].iloc[0]}"
            alt = f"Heat maps for {title}: rows are scales of one control, columns scales of the "
            alt += "other."
            heatmaps.append(drawing(pair_heatmap(part, labels=types, title=title), alt))
        sheet = _sheet(run, rows[rows["pair"] == name], sources, label)
        picture = None
        if sheet is not None:
            alt = f"Contact sheet for {label}: rows are sources and scales of one control, columns "
            picture = photograph(sheet, alt + "scales of the other.", limit=limit)
        found.append(PairFigures(name, label, tuple(heatmaps), picture, _table(mine, types)))
    return tuple(found)


def _sheet(
    run: RunFolder, rows: pd.DataFrame, sources: Mapping[str, SourceImage], label: str
) -> Figure | None:
    """The pictures of a pair with the longest prompt and the first seed."""
    cells = rows[(rows["setting"] == "length") & (rows["side"] == "first")]
    cells = cells.drop_duplicates("cell")
    if cells.empty:
        return None
    length, seed = int(cells["length"].max()), int(cells["seed"].min())
    called = length_names(cells)[length]
    cells = cells[(cells["length"] == length) & (cells["seed"] == seed)]
    first, second = str(cells["first"].iloc[0]), str(cells["second"].iloc[0])
    across = shown_scales(cells["second_scale"])
    lines: list[SheetRow] = []
    for source, group in cells.groupby("source", sort=False):
        known = sources.get(str(source))
        shown: np.ndarray | None = None if known is None else small(known.image)
        for scale, line in group.groupby("first_scale"):
            trials = dict(zip(line["second_scale"], line["trial"], strict=True))
            samples = [sample_of(run, trials.get(value)) for value in across]
            name = f"{first} {number(float(str(scale)))}"
            lines.append(SheetRow(source_name(str(source)), name, shown, None, samples))
    title = f"{label}, {called}, seed {seed}; columns: scale of {second}"
    return contact_sheet_figure(lines[:MAX_ROWS], across, title=title)


def _table(points: pd.DataFrame, labels: Mapping[str, str]) -> Table:
    first, second = (labels[str(points[side].iloc[0])] for side in ("first", "second"))
    heads = (
        "Prompt", f"Scale of {first}", f"Scale of {second}", f"Adherence to {first}",
        f"Adherence to {second}", "Prompt adherence",
    )  # fmt: skip
    rows = [
        (
            str(row["label"]),
            number(row["first_scale"]),
            number(row["second_scale"]),
            *(
                adherence_text(row[f"{side}_adherence"], row[f"{side}_low"], row[f"{side}_high"])
                for side in ("first", "second", "prompt")
            ),
        )
        for row in analysis.records(points)
    ]
    return Table(heads, tuple(rows), (False, *[True] * 5))
