"""Statistics on the long frame of a run: pure functions, every figure with its interval."""

from workbench.analysis.effects import QUESTIONS, effects
from workbench.analysis.findings import CAVEAT, findings
from workbench.analysis.frames import (
    PROMPT_METRIC,
    control_type,
    controls_in,
    distinct_controls,
    metric_name,
    pairs_as_controls,
    pick,
    primary_metrics,
    records,
)
from workbench.analysis.headline import FEW, most_obeyed, overridden_words
from workbench.analysis.intervals import TOO_FEW, says_nothing
from workbench.analysis.lengths import lengths_in_words, trends_by_length
from workbench.analysis.pairs import pair_points, pair_rows
from workbench.analysis.ranking import by_metric, compare_types, ranking
from workbench.analysis.tag_findings import tipping_words
from workbench.analysis.tags import per_tag, tag_references, tag_slopes
from workbench.analysis.tipping import tipping_scales
from workbench.analysis.tradeoff import sweet_spot, tradeoff
from workbench.analysis.trends import curve, trend
from workbench.analysis.wording import ALL_CONTROLS, Finding, decided, p_digits

__all__ = [
    "ALL_CONTROLS",
    "CAVEAT",
    "FEW",
    "PROMPT_METRIC",
    "QUESTIONS",
    "TOO_FEW",
    "Finding",
    "by_metric",
    "compare_types",
    "control_type",
    "controls_in",
    "curve",
    "decided",
    "distinct_controls",
    "effects",
    "findings",
    "lengths_in_words",
    "metric_name",
    "most_obeyed",
    "overridden_words",
    "p_digits",
    "pair_points",
    "pair_rows",
    "pairs_as_controls",
    "per_tag",
    "pick",
    "primary_metrics",
    "ranking",
    "records",
    "says_nothing",
    "sweet_spot",
    "tag_references",
    "tag_slopes",
    "tipping_scales",
    "tipping_words",
    "tradeoff",
    "trend",
    "trends_by_length",
]
