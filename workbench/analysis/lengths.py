"""Would a mean over prompt lengths hide that the scale does different things to them?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.analysis.frames import (
    NO_PROMPT,
    PROMPT_METRIC,
    pick,
    pick_primary,
    records,
    with_names,
)
from workbench.analysis.interaction import interactions
from workbench.analysis.trends import FALLS, RISES, trend_of

if TYPE_CHECKING:
    import pandas as pd

_COUNT = re.compile(r"(\d+) (tags?|words?|sentences?|tokens?)(?:, cut at \d+ tokens)?")


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
        at two scales or more, with `label`, what the length is called, and `reason`, the same for
        all lengths of a control: how they differ if a mean over them would mislead, or "". It would
        where they have different verdicts (one clear, another not or the other way), where the
        intervals of two of them do not overlap, and where the interaction of prompt length and
        scale is clear.
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
        table = with_names(table[table["x_last"] > table["x_first"]], frame)
        reasons = {
            control: _reason(records(mine), (what, control) in turning)
            for control, mine in table.groupby("control")
        }
        reason = [reasons[control] for control in table["control"]]
        found.append(table.assign(what=what, reason=reason))
    return pd.concat(found, ignore_index=True)


def lengths_in_words(names: Sequence[str]) -> str:
    """What prompt lengths are called, joined: 1 tag; 1, 2 and 7 tags; "short" and "long"."""
    counts = [_COUNT.fullmatch(name) for name in names]
    units = {found[2].removesuffix("s") for found in counts if found}
    if len(names) > 1 and all(counts) and len(units) == 1:
        numbers = [found[1] for found in counts if found]
        return f"{', '.join(numbers[:-1])} and {numbers[-1]} {units.pop()}s"
    told = [
        n if found or n == NO_PROMPT else f'"{n}"' for n, found in zip(names, counts, strict=True)
    ]
    return " and ".join(part for part in (", ".join(told[:-1]), told[-1]) if part)


def unit_of(name: str) -> str:
    """What a step of the axis of length is, by the name of one: "tag", "word", "form"."""
    found = _COUNT.fullmatch(name)
    return found[2].removesuffix("s") if found else "form"


def _reason(rows: Sequence[Mapping[str, Any]], turning: bool) -> str:
    """How the lengths of one control type differ, if they are not to be averaged, or ""."""
    told = [row for row in rows if row["change_low"] <= row["change_high"]]
    if len(told) < 2:
        return ""
    verdicts: dict[str, list[str]] = {}
    for row in sorted(told, key=lambda row: row["length"]):
        verdicts.setdefault(row["direction"], []).append(row["label"])
    if len(verdicts) > 1:
        return ", ".join(f"{way} with {lengths_in_words(n)}" for way, n in verdicts.items())
    above = max(told, key=lambda row: row["change_low"])
    below = min(told, key=lambda row: row["change_high"])
    if above["change_low"] > below["change_high"]:
        ends = sorted((above, below), key=lambda row: row["length"])
        lengths = lengths_in_words([row["label"] for row in ends])
        return f"the intervals with {lengths} do not overlap"
    return "prompt length × scale is clear" if turning else ""
