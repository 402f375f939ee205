"""Control types against one another: the figure and the tables."""

from __future__ import annotations

import math
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
SHOWN_SCALES = 4
"""Of more scales than these the table of metrics shows only the mean."""
KEYS = ["base", "control", "metric"]
ROLES = {"stands": "stands for the type", "rival": "must agree", "part": "a part only"}


@dataclass(frozen=True)
class RankingFigures:
    """The ranking in the page: its picture, every metric, the ranks, the comparisons in pairs."""

    picture: Picture
    metrics: Table
    ranks: Table
    pairs: Table


def draw_ranking(frame: pd.DataFrame, label_of: Callable[[str], str]) -> RankingFigures | None:
    """Draw and list the ranking; None where fewer than two control types were measured.

    Args:
        frame: the long frame of the run.
        label_of: what a control type is called.
    """
    ranks, pairs = analysis.ranking(frame)
    if pairs.empty:
        return None
    labels = {name: label_of(name) for name in analysis.controls_in(ranks)}
    picture = drawing(
        ranking_figure(ranks, labels=labels),
        "Ranking of the control types: control adherence at each scale, the best on the left.",
    )
    metrics = metric_table(analysis.by_metric(frame), label_of)
    return RankingFigures(picture, metrics, rank_table(ranks, labels), pair_table(pairs, labels))


def metric_table(table: pd.DataFrame, label_of: Callable[[str], str]) -> Table:
    """Adherence by every metric of every type, for reading: one line for each, scales beside.

    Of many scales the mean over them.
    """
    scales = sorted(table["scale"].dropna().unique())
    few = 0 < len(scales) <= SHOWN_SCALES
    shown = scales if few else [math.nan]
    rows = []
    for (base, control, metric), group in table.groupby(KEYS, sort=False):
        found = [group[group["scale"] == scale] if few else group.tail(1) for scale in shown]
        texts = [
            adherence_text(*part[["mean", "low", "high"]].iloc[0]) if len(part) else "–"
            for part in found
        ]
        role = ROLES[str(group["role"].iloc[0])]
        rows.append((str(base), label_of(str(control)), str(metric), role, *texts))
    heads: tuple[str, ...] = ("Base model", "Control", "Metric", "In the ranking")
    heads += tuple(f"Scale {number(s)}" for s in shown) if few else ("Mean over scales",)
    start = 0 if table["base"].nunique() > 1 else 1
    kept = tuple(row[start:] for row in rows)
    return Table(heads[start:], kept, (*[False] * 4, *[True] * len(shown))[start:])


def rank_table(ranks: pd.DataFrame, labels: dict[str, str]) -> Table:
    """The ranks for reading: one line for each control type at each scale."""
    rows = []
    for row in analysis.records(ranks):
        low, high = (fixed(row[name], 0) for name in ("rank_low", "rank_high"))
        beaten, by_every = (
            ", ".join(labels[name] for name in str(row[key]).split(", ") if name in labels) or "–"
            for key in ("better_than", "better_by_every")
        )
        rows.append(
            (
                str(row["base"]),
                number(row["scale"]),
                str(row["rank"]),
                "–" if low == "–" else low if low == high else f"{low} to {high}",
                labels[str(row["control"])],
                adherence_text(row["mean"], row["low"], row["high"], spread=row["spread"]),
                beaten,
                by_every,
            )
        )
    heads = (
        *("Base model", "Scale", "Rank", "Ranks left open", "Control"),
        *("Control adherence", "Clearly better than", "… whichever metric is chosen"),
    )
    return Table(heads, tuple(rows), (False, True, True, True, False, True, False, False))


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
            analysis.p_digits(row["p_holm"]),
            "–" if row["better"] else fixed(row["mde"]),
            labels.get(str(row["better"]), _unclear(row)),
            analysis.p_digits(row["p_every"]),
            labels.get(str(row["better_by_every"]), "–"),
        )
        for row in analysis.records(pairs.loc[sorted(kept)])
    ]
    heads = (
        *("Base model", "Scale", "Difference", "[95 % interval]", "p", "p after Holm"),
        *("Found in 4 of 5", "Better", "p of the least clear choice", "Better by every metric"),
    )
    numeric = (False, True, False, *[True] * 4, False, True, False)
    return Table(heads, tuple(rows), numeric)


def _unclear(row: Mapping[str, Any]) -> str:
    """Why neither of a pair is better: its interval, or the correction of it."""
    alone = row["low"] * row["high"] > 0
    return "no clear difference" + (" after the correction" if alone else "")
