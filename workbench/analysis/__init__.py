"""Statistics on the long frame of a run: pure functions, every figure with its interval."""

from workbench.analysis.findings import CAVEAT, findings
from workbench.analysis.frames import (
    COLUMNS,
    PROMPT_METRIC,
    control_type,
    controls_in,
    distinct_controls,
    pick,
    primary_metrics,
)
from workbench.analysis.intervals import Interval, summarise, t_interval
from workbench.analysis.pairs import pair_findings, pair_points, pair_rows
from workbench.analysis.tags import per_tag, silhouette_contrast, tag_slopes
from workbench.analysis.tradeoff import harmonic_mean, pareto, sweet_spot, tradeoff
from workbench.analysis.trends import curve, spearman, trend, wilcoxon_p
from workbench.analysis.wording import Finding

__all__ = [
    "CAVEAT",
    "COLUMNS",
    "PROMPT_METRIC",
    "Finding",
    "Interval",
    "control_type",
    "controls_in",
    "curve",
    "distinct_controls",
    "findings",
    "harmonic_mean",
    "pair_findings",
    "pair_points",
    "pair_rows",
    "pareto",
    "per_tag",
    "pick",
    "primary_metrics",
    "silhouette_contrast",
    "spearman",
    "summarise",
    "sweet_spot",
    "t_interval",
    "tag_slopes",
    "tradeoff",
    "trend",
    "wilcoxon_p",
]
