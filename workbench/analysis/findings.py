"""What the figures bear out, in sentences.

Every sentence carries its figures and its interval. "Rises" and "falls" are used only where the
95 % interval over sources excludes 0; elsewhere the sentence says "no clear effect", and with a
single source it says that no interval can be given. Intervals hold one by one: they are not
corrected for the number of sentences.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from workbench.analysis.frames import (
    PROMPT_METRIC,
    controls_in,
    distinct_controls,
    pick,
    primary_metrics,
)
from workbench.analysis.pairs import pair_findings
from workbench.analysis.tags import silhouette_contrast, tag_rows, tag_slopes
from workbench.analysis.tradeoff import sweet_spot
from workbench.analysis.trends import FALLS, RISES, UNCLEAR, UNKNOWN, trend, trend_of
from workbench.analysis.wording import (
    Finding,
    count_sources,
    plain,
    signed,
    title,
    trend_finding,
)

if TYPE_CHECKING:
    import pandas as pd

CAVEAT = (
    "Intervals are 95 % intervals over sources (Student t on one mean per source; a bootstrap "
    "over sources for the sweet spot), for the seeds of this run: pictures at scale 0 are the same "
    "for every source, so few seeds make the starting point less certain than the interval says. "
    "Each interval holds by itself: they are not corrected for the number of statements."
)


def findings(
    frame: pd.DataFrame,
    *,
    prompt_metric: str = PROMPT_METRIC,
    control_metrics: Mapping[str, str] | None = None,
    silhouette: Collection[str] | None = None,
) -> list[Finding]:
    """All statements about a run, control type by control type, most important first; then pairs.

    Args:
        frame: long frame, see `frames`.
        prompt_metric: metric whose adherence is prompt adherence.
        control_metrics: control type -> metric, in place of the control's primary one.
        silhouette: tags that shape the outline; None takes those of the embedded world.
    """
    pairs = pair_findings(frame, prompt_metric=prompt_metric)
    frame = distinct_controls(frame)
    primary = primary_metrics(frame, control_metrics)
    result: list[Finding] = []
    for control in controls_in(frame):
        rows = frame[frame["control"] == control]
        result += _scale_effects(rows, control, primary[control], prompt_metric)
        result += _tag_effects(rows, control, silhouette)
        result += _length_effects(rows, control, primary[control])
        result += _sweet_spots(rows, control, prompt_metric, control_metrics)
    return result + pairs


def _records(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for row in table.to_dict("records"):
        yield {str(key): value for key, value in row.items()}


def _scale_effects(
    rows: pd.DataFrame, control: str, primary: str, prompt_metric: str
) -> list[Finding]:
    wanted = (
        ("control", primary, "adherence", "control adherence"),
        ("prompt", prompt_metric, "adherence", "prompt adherence"),
        ("closeness", "clip_source", "value", "CLIP similarity to the source"),
        ("diversity", "diversity_structure", "value", "structural diversity across seeds"),
        ("diversity", "diversity_looks", "value", "diversity of looks across seeds"),
    )
    return [
        trend_finding(kind, control, metric, what, "scale", row)
        for kind, metric, column, what in wanted
        for row in _records(trend(rows, metric, column=column))
        if row["x_last"] > row["x_first"]
    ]


def _tag_effects(
    rows: pd.DataFrame, control: str, silhouette: Collection[str] | None
) -> list[Finding]:
    result: list[Finding] = []
    tags = tag_rows(rows, silhouette=silhouette)
    outline = tags[tags["silhouette"]]
    what = "the mean score of the silhouette tags"
    for row in _records(trend_of(outline, column="value")):
        if row["x_last"] > row["x_first"]:
            result.append(trend_finding("tags", control, "silhouette", what, "scale", row))
    for row in _records(silhouette_contrast(rows, silhouette=silhouette)):
        low, high = row["difference_low"], row["difference_high"]
        if not math.isfinite(low):
            continue
        figures = (
            f"slopes {signed(row['outline'])} and {signed(row['others'])} per unit of scale, "
            f"difference {signed(row['difference'])}, 95 % interval {signed(low)} to "
            f"{signed(high)}; {count_sources(row['n_sources'])}"
        )
        if high < 0:
            text = f"the scale costs the silhouette tags more than the other tags ({figures})."
        elif low > 0:
            text = f"the scale costs the silhouette tags less than the other tags ({figures})."
        else:
            text = f"no clear difference between silhouette tags and other tags ({figures})."
        direction = FALLS if high < 0 else RISES if low > 0 else UNCLEAR
        result.append(
            Finding(
                kind="tags",
                text=f"{title(control)}: {text}",
                control=control,
                metric="silhouette against others",
                direction=direction,
                estimate=float(row["difference"]),
                low=float(low),
                high=float(high),
                n_sources=int(row["n_sources"]),
            )
        )
    return result + _overridden(rows, control, silhouette)


def _overridden(
    rows: pd.DataFrame, control: str, silhouette: Collection[str] | None
) -> list[Finding]:
    """Which words the control overrides first: the tags whose score clearly falls, in order."""
    slopes = tag_slopes(rows, silhouette=silhouette)
    slopes = slopes[slopes["x_last"] > slopes["x_first"]]
    if slopes.empty or (slopes["direction"] == UNKNOWN).all():
        return []
    fallen = list(_records(slopes[slopes["direction"] == FALLS]))
    n = int(slopes["n_sources"].max())
    if not fallen:
        text = f"no single tag's score clearly falls with the scale ({count_sources(n)})."
        nan = math.nan
        return [
            Finding("tags", f"{title(control)}: {text}", control, "tag", UNCLEAR, nan, nan, nan, n)
        ]
    parts = [
        f'"{row["tag"]}" (slope {signed(row["slope"])} per unit of scale, 95 % interval '
        f"{signed(row['slope_low'])} to {signed(row['slope_high'])})"
        for row in fallen
    ]
    text = f"tags that give way to the control, steepest first: {', '.join(parts)}"
    text += f"; {count_sources(n)}."
    first = fallen[0]
    return [
        Finding(
            kind="tags",
            text=f"{title(control)}: {text}",
            control=control,
            metric=f"tag:{first['tag']}",
            direction=FALLS,
            estimate=float(first["slope"]),
            low=float(first["slope_low"]),
            high=float(first["slope_high"]),
            n_sources=n,
        )
    ]


def _length_effects(rows: pd.DataFrame, control: str, primary: str) -> list[Finding]:
    wanted = (
        ("length", primary, "adherence", "control adherence"),
        ("length", "clip_source", "value", "CLIP similarity to the source"),
    )
    return [
        trend_finding(kind, control, metric, what, "prompt length", row)
        for kind, metric, column, what in wanted
        for row in _records(trend(rows, metric, column=column, axis="length"))
        if row["x_last"] > row["x_first"]
    ]


def _sweet_spots(
    rows: pd.DataFrame,
    control: str,
    prompt_metric: str,
    control_metrics: Mapping[str, str] | None,
) -> list[Finding]:
    result = []
    if pick(rows, prompt_metric)["scale"].nunique() < 2:
        return []
    table = sweet_spot(rows, prompt_metric=prompt_metric, control_metrics=control_metrics)
    for row in _records(table):
        text = (
            f"with {row['length']} tags the best balance of prompt and control is at scale "
            f"{row['scale']:g} (harmonic mean {plain(row['harmonic'])}"
        )
        if math.isfinite(row["scale_low"]):
            text += f", 95 % interval of the scale {row['scale_low']:g} to {row['scale_high']:g}"
        text += f"; {count_sources(row['n_sources'])}"
        text += f"; {row['note']})" if row["note"] and row["n_sources"] > 1 else ")"
        if row["n_sources"] == 1:
            text += ", without an interval because there is one source"
        if row["at_edge"]:
            side = "smallest" if row["at_edge"] == "low" else "largest"
            text += f". This is the {side} scale tried, so the optimum may lie beyond it"
        result.append(
            Finding(
                kind="sweet spot",
                text=f"{title(control)}: {text}.",
                control=control,
                metric="harmonic",
                direction="",
                estimate=float(row["scale"]),
                low=float(row["scale_low"]),
                high=float(row["scale_high"]),
                n_sources=int(row["n_sources"]),
            )
        )
    return result
