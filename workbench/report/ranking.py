"""Control types against one another: the figure and the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench import analysis
from workbench.formats import fixed, number
from workbench.plots import ranking_figure
from workbench.report.embed import Picture, drawing
from workbench.report.tables import Table, adherence_text

if TYPE_CHECKING:
    import pandas as pd

SHOWN_PAIRS = 400


@dataclass(frozen=True)
class RankingFigures:
    """The ranking in the page: its picture, the ranks, and the comparisons in pairs."""

    picture: Picture
    ranks: Table
    pairs: Table


def draw_ranking(
    frame: pd.DataFrame, label_of: Callable[[str], str], both: bool
) -> RankingFigures | None:
    """Draw and list the ranking; None where fewer than two control types were measured.

    Args:
        frame: the long frame of the run.
        label_of: what a control type is called.
        both: also for dark screens.
    """
    ranks, pairs = analysis.ranking(frame)
    if pairs.empty:
        return None
    labels = {name: label_of(name) for name in analysis.controls_in(ranks)}
    picture = drawing(
        lambda theme: ranking_figure(ranks, labels=labels, theme=theme),
        "Ranking of the control types: control adherence at each scale, the best on the left.",
        both=both,
    )
    return RankingFigures(picture, rank_table(ranks, labels), pair_table(pairs, labels))


def rank_table(ranks: pd.DataFrame, labels: dict[str, str]) -> Table:
    """The ranks for reading: one line for each control type at each scale."""
    rows = []
    for row in analysis.records(ranks):
        low, high = (fixed(row[name], 0) for name in ("rank_low", "rank_high"))
        beaten = [labels[name] for name in str(row["better_than"]).split(", ") if name in labels]
        rows.append(
            (
                str(row["base"]),
                number(row["scale"]),
                str(row["rank"]),
                "–" if low == "–" else low if low == high else f"{low} to {high}",
                labels[str(row["control"])],
                adherence_text(row["mean"], row["low"], row["high"], spread=row["spread"]),
                ", ".join(beaten) or "–",
            )
        )
    heads = (
        *("Base model", "Scale", "Rank", "Ranks left open", "Control"),
        *("Control adherence", "Clearly better than"),
    )
    return Table(heads, tuple(rows), (False, True, True, True, False, True, False))


def pair_table(pairs: pd.DataFrame, labels: dict[str, str]) -> Table:
    """The comparisons in pairs for reading; of very many, the smallest p are shown."""
    kept = pairs.nsmallest(SHOWN_PAIRS, "p_holm").index if len(pairs) > SHOWN_PAIRS else pairs.index
    rows = [
        (
            str(row["base"]),
            number(row["scale"]),
            f"{labels[str(row['first'])]} − {labels[str(row['second'])]}",
            adherence_text(row["difference"], row["low"], row["high"]),
            fixed(row["p"], 3),
            fixed(row["p_holm"], 3),
            "–" if row["better"] else fixed(row["mde"]),
            labels.get(str(row["better"]), _unclear(row)),
        )
        for row in analysis.records(pairs.loc[sorted(kept)])
    ]
    heads = (
        *("Base model", "Scale", "Difference", "[95 % interval]", "p", "p after Holm"),
        *("Found in 4 of 5", "Better"),
    )
    return Table(heads, tuple(rows), (False, True, False, True, True, True, True, False))


def _unclear(row: Mapping[str, Any]) -> str:
    """Why neither of a pair is better: its interval, or the correction of it."""
    alone = row["low"] * row["high"] > 0
    return "no clear difference" + (" after the correction" if alone else "")
