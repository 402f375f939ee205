"""Would a mean over prompt lengths hide that the scale does different things to them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.analysis.frames import PROMPT_METRIC, pick, pick_primary, records
from workbench.analysis.interaction import interactions
from workbench.analysis.trends import FALLS, RISES, trend_of

if TYPE_CHECKING:
    import pandas as pd


def trends_by_length(
    frame: pd.DataFrame,
    *,
    prompt_metric: str = PROMPT_METRIC,
    control_metrics: Mapping[str, str] | None = None,
    turns: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """What the scale does to control and to prompt adherence, prompt length by prompt length.

    Args:
        frame: long frame, see `frames`.
        prompt_metric, control_metrics: as for `interaction.interactions`.
        turns: what that returns, if it is known already.

    Returns:
        As `trends.trend`, one row for each what ("control" or "prompt"), control and length seen
        at two scales or more, with `reason`, the same for all lengths of a control: how they differ
        if a mean over them would mislead, or "". It would where they have different verdicts (one
        clear, another not or the other way), where the intervals of two of them do not overlap,
        and where the interaction of prompt length and scale is clear.
    """
    import pandas as pd

    if turns is None:
        turns = interactions(frame, prompt_metric=prompt_metric, control_metrics=control_metrics)
    clear = turns[turns["direction"].isin((RISES, FALLS))]
    turning = set(zip(clear["what"], clear["control"], strict=True))
    parts = {
        "control": pick_primary(frame, control_metrics),
        "prompt": pick(frame, prompt_metric),
    }
    found = []
    for what, rows in parts.items():
        table = trend_of(rows, column="adherence", by=("control", "length"))
        table = table[table["x_last"] > table["x_first"]]
        reasons = {
            control: _reason(records(mine), (what, control) in turning)
            for control, mine in table.groupby("control")
        }
        reason = [reasons[control] for control in table["control"]]
        found.append(table.assign(what=what, reason=reason))
    return pd.concat(found, ignore_index=True)


def tags_in_words(lengths: Sequence[int]) -> str:
    """Prompt lengths in words: "1 tag", "2 and 7 tags", "1, 2 and 7 tags"."""
    names = [str(int(n)) for n in sorted(lengths)]
    text = " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
    return f"{text} tag" if names == ["1"] else f"{text} tags"


def _reason(rows: Sequence[Mapping[str, Any]], turning: bool) -> str:
    """How the lengths of one control type differ, if they are not to be averaged, or ""."""
    told = [row for row in rows if row["change_low"] <= row["change_high"]]
    if len(told) < 2:
        return ""
    verdicts: dict[str, list[int]] = {}
    for row in sorted(told, key=lambda row: row["length"]):
        verdicts.setdefault(row["direction"], []).append(row["length"])
    if len(verdicts) > 1:
        return ", ".join(f"{way} with {tags_in_words(n)}" for way, n in verdicts.items())
    above = max(told, key=lambda row: row["change_low"])
    below = min(told, key=lambda row: row["change_high"])
    if above["change_low"] > below["change_high"]:
        lengths = tags_in_words([above["length"], below["length"]])
        return f"the intervals with {lengths} do not overlap"
    return "prompt length × scale is clear" if turning else ""
