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


def controls_in(frame: pd.DataFrame) -> list[str]:
    """Control types that occur in the frame, in order of first appearance."""
    return [str(name) for name in frame["control"].dropna().unique()]


def primary_metrics(frame: pd.DataFrame, chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Control type -> name of the metric that stands for control adherence.

    Args:
        chosen: metrics that replace a control's own primary one.
    """
    from workbench.controls import get_control

    chosen = chosen or {}
    return {
        name: chosen[name] if name in chosen else get_control(name).primary
        for name in controls_in(frame)
    }


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
    rows = frame
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
    wanted = primary_metrics(frame, chosen)
    rows = pick(frame, settings=settings)
    return rows[rows["metric"] == rows["control"].map(wanted)]
