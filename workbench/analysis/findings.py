"""What the figures bear out, in sentences.

Every sentence carries its figures and its interval. "Rises" and "falls" are used only where the
95 % interval over sources excludes 0; elsewhere the sentence says "no clear effect", and with a
single source it says that nothing can be generalised. Intervals hold one by one: only the ranking
of control types is corrected for the number of its comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.analysis.bases import base_findings
from workbench.analysis.effects import effect_findings
from workbench.analysis.frames import (
    PROMPT_METRIC,
    controls_in,
    distinct_controls,
    length_names,
    metric_name,
    pick,
    pick_primary,
    primary_metrics,
    records,
)
from workbench.analysis.interaction import interactions
from workbench.analysis.lengths import lengths_in_words, trends_by_length
from workbench.analysis.model_findings import interaction_findings
from workbench.analysis.pairs import pair_findings
from workbench.analysis.ranking_findings import ranking_findings
from workbench.analysis.tag_findings import tag_findings
from workbench.analysis.tradeoff import sweet_spot
from workbench.analysis.trends import trend_of
from workbench.analysis.wording import (
    Finding,
    count_sources,
    plain,
    title,
    trend_finding,
)

if TYPE_CHECKING:
    import pandas as pd

CAVEAT = (
    "Intervals are 95 % intervals over sources (Student t on one mean per source, with about half "
    "the usual degrees of freedom, as readings are skewed and clumped), for the seeds of this run. "
    "With fewer than eight sources they are wide, and speak of sources like these only: a kind of "
    "source that is not among them is not in the interval, and below five even a change of all of "
    "them in one direction may be chance. Pictures at scale 0 are "
    "the same for every source: intervals that rest on them hold their spread over seeds too, but "
    "for diversity, which is one figure of all seeds; tipping scales, silhouette tags against "
    "others, and prompt length × scale leave them out. Each interval holds by itself; only the "
    "comparisons of control types are corrected for their number (Holm). Where no effect "
    "is clear, “found in four of five such studies” names the true effect whose interval would "
    "leave out 0 that often with so many sources, as different as these: a smaller one may well be "
    "there."
)
"""What a reader must know of all findings at once."""
NEEDED = (
    *("source", "control", "base", "setting", "length", "label", "prompt", "dropped"),
    *("scale", "trial", "seed", "metric", "value", "adherence"),
)


def findings(
    frame: pd.DataFrame,
    *,
    prompt_metric: str = PROMPT_METRIC,
    control_metrics: Mapping[str, str] | None = None,
    silhouette: Collection[str] | None = None,
) -> list[Finding]:
    """All statements about a run: all control types together, then type by type, then pairs.

    Args:
        frame: long frame, see `frames`.
        prompt_metric: metric whose adherence is prompt adherence.
        control_metrics: control type -> metric, in place of the control's primary one.
        silhouette: tags that shape the outline; None takes those of the embedded world.
    """
    together = [
        *effect_findings(frame, control_metrics),
        *ranking_findings(frame, control_metrics),
        *base_findings(frame),
    ]
    prompt_metric = metric_name(frame, prompt_metric)
    pairs = pair_findings(frame, prompt_metric=prompt_metric)
    frame = distinct_controls(frame)
    frame = frame[[name for name in NEEDED if name in frame]]
    primary = primary_metrics(frame, control_metrics)
    turns = interactions(frame, prompt_metric=prompt_metric, control_metrics=control_metrics)
    lengths = trends_by_length(
        frame, prompt_metric=prompt_metric, control_metrics=control_metrics, turns=turns
    )
    along_scale = _effects(frame, primary, control_metrics, prompt_metric)
    found = [
        *tag_findings(frame, silhouette),
        *(_with_lengths(finding, lengths) for finding in along_scale),
        *_effects(frame, primary, control_metrics, prompt_metric, axis="length"),
        *interaction_findings(turns),
        *_sweet_spots(frame, prompt_metric, control_metrics),
    ]
    of_control = [f for name in controls_in(frame) for f in found if f.control == name]
    return [*together, *of_control, *pairs]


def _effects(
    frame: pd.DataFrame,
    primary: Mapping[str, str],
    control_metrics: Mapping[str, str] | None,
    prompt_metric: str,
    axis: str = "scale",
) -> list[Finding]:
    """What the scale, or the prompt length, does to control, prompt, closeness and diversity."""
    wanted: list[tuple[str, str, str, str]] = [
        ("control", "", "adherence", "control adherence"),
        ("prompt", prompt_metric, "adherence", "prompt adherence"),
        ("closeness", "clip_source", "value", "CLIP similarity to the source"),
        ("diversity", "diversity_structure", "value", "structural diversity across seeds"),
        ("diversity", "diversity_looks", "value", "diversity of looks across seeds"),
    ]
    if axis == "length":
        wanted = [
            ("length", *entry[1:]) for entry in wanted if entry[0] in ("control", "closeness")
        ]
    words = {"scale": "scale", "length": "prompt length"}[axis]
    names = length_names(frame)
    result = []
    for kind, metric, column, what in wanted:
        rows = pick(frame, metric) if metric else pick_primary(frame, control_metrics)
        for row in records(trend_of(rows, column=column, axis=axis)):
            if row["x_last"] > row["x_first"]:
                name = row["control"]
                if axis == "length":
                    ends = {f"at_{end}": names[int(row[f"x_{end}"])] for end in ("first", "last")}
                    row |= ends
                result.append(trend_finding(kind, name, metric or primary[name], what, words, row))
    return result


def _with_lengths(finding: Finding, lengths: pd.DataFrame) -> Finding:
    """An effect on adherence with a word on the prompt lengths that differ in it, if they do."""
    mine = lengths[(lengths["what"] == finding.kind) & (lengths["control"] == finding.control)]
    reason = next(iter(mine["reason"]), "")
    if not reason:
        return finding
    note = (
        f" That is the mean over prompts of {lengths_in_words(list(mine['label']))}, which differ: "
    )
    return replace(finding, text=f"{finding.text}{note}{reason}.")


def _sweet_spots(
    rows: pd.DataFrame, prompt_metric: str, control_metrics: Mapping[str, str] | None
) -> list[Finding]:
    result = []
    if pick(rows, prompt_metric)["scale"].nunique() < 2:
        return []
    table = sweet_spot(rows, prompt_metric=prompt_metric, control_metrics=control_metrics)
    for row in records(table):
        control = row["control"]
        text = (
            f"with {lengths_in_words([row['label']])} the best balance of prompt and control is at "
            f"scale {row['scale']:g} (harmonic mean {plain(row['harmonic'])}"
        )
        if math.isfinite(row["scale_low"]):
            text += f", 95 % interval of the scale {row['scale_low']:g} to {row['scale_high']:g}"
        text += f"; {count_sources(row['n_sources'])}"
        text += f"; {row['note']})" if row["note"] and row["n_sources"] > 1 else ")"
        if row["n_sources"] == 1:
            text += ", without an interval because there is one source"
        if row["at_edge"]:
            side = "smallest" if row["at_edge"] == "low" else "largest"
            text += f". This is the {side} scale tried"
            if row["at_edge"] == "high" and row["prompt"] >= 1:
                text += (
                    f", and the prompt is at its ceiling there ({plain(row['prompt'])}): control "
                    "alone decides, as no price in prompt adherence has been seen"
                )
            else:
                text += ", so the optimum may lie beyond it"
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
