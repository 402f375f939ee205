"""From a raw value to adherence: where it lies between chance and ceiling."""

from __future__ import annotations

import math
from dataclasses import dataclass

from workbench.metrics.spec import MetricSpec

MIN_SPAN = 0.02
"""Ceiling and chance must be this share of the metric's range apart."""


@dataclass(frozen=True)
class Reference:
    """Chance and ceiling of one metric; NaN where unknown, then `reason` says why."""

    chance: float
    ceiling: float
    reason: str = ""


def unknown(reason: str) -> Reference:
    """A reference that cannot be had."""
    return Reference(math.nan, math.nan, reason)


def span(spec: MetricSpec, reference: Reference) -> float:
    """How much better the ceiling is than chance, in the metric's unit."""
    difference = reference.ceiling - reference.chance
    return difference if spec.higher_is_better else -difference


def needed_span(spec: MetricSpec, reference: Reference) -> float:
    """The least span that adherence can be read off: 2 % of the range of the metric.

    A metric without both bounds takes the larger of |chance| and |ceiling| as its range.
    """
    if spec.low is not None and spec.high is not None:
        return MIN_SPAN * (spec.high - spec.low)
    return MIN_SPAN * max(abs(reference.chance), abs(reference.ceiling))


def adherence(value: float, reference: Reference, spec: MetricSpec) -> tuple[float, str]:
    """(value - chance) / (ceiling - chance), and why it is NaN, or "".

    Not clipped: below 0 is worse than unrelated pictures, above 1 better than the ceiling.
    """
    if math.isnan(value):
        return math.nan, "there is no value"
    if math.isnan(reference.chance) or math.isnan(reference.ceiling):
        return math.nan, reference.reason or "chance or ceiling is unknown"
    room = span(spec, reference)
    needed = needed_span(spec, reference)
    if room < needed or room <= 0:
        return math.nan, (
            f"the ceiling ({reference.ceiling:.3g}) is not clearly better than chance "
            f"({reference.chance:.3g}): at least {needed:.2g} apart is needed"
        )
    return (value - reference.chance) / (reference.ceiling - reference.chance), ""
