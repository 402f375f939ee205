"""The long frame the analysis works on, and how to pick rows from it.

One row is one number read off one sample for one cell of the study. Columns:
    cell, trial     identifiers; several cells may share a trial (scale 0 is the same for every
                    source and control type)
    source, control, base, setting, length, prompt, full_prompt, scale, seed
                    where the cell stands in the study; `setting` is "length" for the cut prompt
    metric          "depth_pearson", "clip_used", "tag:long hair", "diversity_looks", ...
    value, chance, ceiling, adherence, reason
                    reason says why value or adherence is NaN, else ""
    tokens, truncated
                    of the prompt used
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "cell",
    "trial",
    "source",
    "control",
    "base",
    "setting",
    "length",
    "prompt",
    "full_prompt",
    "scale",
    "seed",
    "metric",
    "value",
    "chance",
    "ceiling",
    "adherence",
    "reason",
    "tokens",
    "truncated",
)
PROMPT_METRIC = "clip_used"
LENGTH_SETTINGS = ("length",)


def distinct_controls(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a control type's settings in its name where there are several of them.

    "canny" becomes "canny (high=200, low=100)" and so on, showing the settings that differ; other
    names stay. Without a column `control_settings` the frame is returned as it is.
    """
    if "control_settings" not in frame or frame.empty:
        return frame
    pairs = frame[["control", "control_settings"]].drop_duplicates()
    names: dict[tuple[str, str], str] = {}
    for control, group in pairs.groupby("control"):
        if len(group) < 2 or " (" in str(control):
            continue
        settings = {text: json.loads(text or "{}") for text in group["control_settings"]}
        keys = sorted({key for values in settings.values() for key in values})
        differ = [k for k in keys if len({json.dumps(v.get(k)) for v in settings.values()}) > 1]
        for text, values in settings.items():
            shown = ", ".join(f"{key}={values.get(key)}" for key in differ)
            names[str(control), text] = f"{control} ({shown})"
    if not names:
        return frame
    both = zip(frame["control"], frame["control_settings"], strict=True)
    return frame.assign(control=[names.get((c, s), c) for c, s in both])


def controls_in(frame: pd.DataFrame) -> list[str]:
    """Control types that occur in the frame, in order of first appearance.

    Call `distinct_controls` first where one type may occur with several settings.
    """
    return [str(name) for name in frame["control"].dropna().unique()]


def primary_metrics(frame: pd.DataFrame, chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Control type -> name of the metric that stands for control adherence.

    Args:
        chosen: metrics that replace a control's own primary one.
    """
    from workbench.controls import get_control

    chosen = chosen or {}
    found = {}
    for name in controls_in(frame):
        kind = name.partition(" (")[0]
        found[name] = chosen.get(name) or chosen.get(kind) or get_control(kind).primary
    return found


def pick(
    frame: pd.DataFrame,
    metric: str | None = None,
    *,
    settings: Sequence[str] | None = LENGTH_SETTINGS,
) -> pd.DataFrame:
    """Rows of one metric, by default only of the prompts cut by length.

    Args:
        metric: exact name; None keeps all.
        settings: prompt settings to keep; None keeps all.
    """
    rows = distinct_controls(frame)
    if metric is not None:
        rows = rows[rows["metric"] == metric]
    if settings is not None:
        rows = rows[rows["setting"].isin(list(settings))]
    return rows


def pick_primary(
    frame: pd.DataFrame,
    chosen: Mapping[str, str] | None = None,
    *,
    settings: Sequence[str] | None = LENGTH_SETTINGS,
) -> pd.DataFrame:
    """Rows that hold control adherence: every control type's primary metric."""
    rows = pick(frame, settings=settings)
    wanted = primary_metrics(rows, chosen)
    return rows[rows["metric"] == rows["control"].map(wanted)]
