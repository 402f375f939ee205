"""Does what a control fixes hold across base models? Differences between their pictures.

A picture on one base model is held against the picture of the same source, prompt, scale and seed
on another. At scale 0 only prompt and seed are shared; if a control fixes the structure or the
pose, the difference falls with the scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.analysis.frames import pick, records
from workbench.analysis.trends import trend_of
from workbench.analysis.wording import Finding, trend_finding

if TYPE_CHECKING:
    import pandas as pd

STRUCTURE, POSE = "bases_structure", "bases_pose"
WORDS = {
    POSE: "pose difference between the base models",
    STRUCTURE: "structural difference between the base models",
}


def between_bases(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows of a metric that is read between base models, with an empty base.

    Every base of a picture has the reading; without their names the labels of the control types
    are those of a single base, and readings of one picture average.
    """
    return pick(frame[frame["metric"] == metric].assign(base=""))


def base_trends(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """How a difference between base models moves along the scale; as `trends.trend`."""
    table = trend_of(between_bases(frame, metric), column="value")
    return table[table["x_last"] > table["x_first"]]


def base_findings(frame: pd.DataFrame) -> list[Finding]:
    """One statement for each control type and metric; none for a run on one base model."""
    return [
        trend_finding("bases", row["control"], metric, what, "scale", row)
        for metric, what in WORDS.items()
        for row in records(base_trends(frame, metric))
    ]
