"""Statistics on the long frame of a run: pure functions, every figure with its interval."""

from workbench.analysis.bases import base_findings, base_trends, between_bases
from workbench.analysis.effects import QUESTIONS, effect_findings, effects
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
from workbench.analysis.interaction import interactions
from workbench.analysis.intervals import Interval, summarise, t_interval
from workbench.analysis.pairs import pair_findings, pair_points, pair_rows
from workbench.analysis.power import minimum_detectable
from workbench.analysis.ranking import holm, ranking
from workbench.analysis.tag_findings import tipping_words
from workbench.analysis.tags import per_tag, silhouette_contrast, tag_references, tag_slopes
from workbench.analysis.tipping import tipping_scales
from workbench.analysis.tradeoff import harmonic_mean, pareto, sweet_spot, tradeoff
from workbench.analysis.trends import curve, spearman, trend, wilcoxon_p
from workbench.analysis.wording import ALL_CONTROLS, Finding

__all__ = [
    "ALL_CONTROLS",
    "CAVEAT",
    "COLUMNS",
    "PROMPT_METRIC",
    "QUESTIONS",
    "Finding",
    "Interval",
    "base_findings",
    "base_trends",
    "between_bases",
    "control_type",
    "controls_in",
    "curve",
    "distinct_controls",
    "effect_findings",
    "effects",
    "findings",
    "harmonic_mean",
    "holm",
    "interactions",
    "minimum_detectable",
    "pair_findings",
    "pair_points",
    "pair_rows",
    "pareto",
    "per_tag",
    "pick",
    "primary_metrics",
    "ranking",
    "silhouette_contrast",
    "spearman",
    "summarise",
    "sweet_spot",
    "t_interval",
    "tag_references",
    "tag_slopes",
    "tipping_scales",
    "tipping_words",
    "tradeoff",
    "trend",
    "wilcoxon_p",
]
