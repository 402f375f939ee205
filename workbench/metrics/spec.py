"""What a metric is called, which way is better, and one value read off it.

Plain values without torch, so that planning, storing and the command line can speak about metrics
without loading the libraries which compute them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


class Traits(NamedTuple):
    """Which way of a metric is better, its bounds (None where there is none), and its unit.

    `whole`: the metric reaches its best only where all that is wanted is there, in its place.
    False for one that asks a part of the question and that a degenerate map satisfies: precision
    (one right pixel does), recall (an edge everywhere does), the share of joints found (wherever
    they are), the median error (half of the pixels may be anything). Whole metrics of a control
    type are rival answers to the same question: a ranking must hold by each of them.
    """

    higher_is_better: bool
    low: float | None = 0
    high: float | None = None
    unit: str = ""
    whole: bool = True


_SHARE = Traits(True, 0, 1)
_PART = Traits(True, 0, 1, whole=False)
_CORRELATION = Traits(True, -1, 1)
TRAITS: dict[str, Traits] = {
    **dict.fromkeys(("EdgeF1", "SegmentF1", "PoseOKS", "PosePCK"), _SHARE),
    **dict.fromkeys(("EdgePrecision", "EdgeRecall"), _PART),
    **dict.fromkeys(("SegmentPrecision", "SegmentRecall", "PoseFound"), _PART),
    **dict.fromkeys(("MeanIoU", "PixelAccuracy"), _SHARE),
    "MapSSIM": _CORRELATION,
    "MapMultiScaleSSIM": _SHARE,
    "DepthRMSE255": Traits(False, 0, 255, "/255"),
    "DepthSiRMSE": Traits(False),
    "DepthAbsRel": Traits(False),
    "DepthDelta125": _SHARE,
    "DepthPearson": _CORRELATION,
    "NormalMeanAngle": Traits(False, 0, 180, "°"),
    "NormalMedianAngle": Traits(False, 0, 180, "°", whole=False),
    "NormalWithin": _SHARE,
    "ClipSimilarity": Traits(True, 0, 100),
    "ClipDiversity": Traits(True, 0, 2),
    **dict.fromkeys(("TagProbability", "TagObeyed"), _SHARE),
}
"""Class of `workbench.metrics` -> its traits, the only place that states them. The class takes its
`higher_is_better` and its plot bounds from here, and a `MetricSpec` all of them."""


@dataclass(frozen=True)
class MetricSpec:
    """The name plate of a metric as a study reads it.

    name: identifier used in tables and files, for example "canny_f1".
    label: what a reader sees, for example "Canny F1 (tolerant)".
    higher_is_better: True if a larger value means closer agreement.
    unit: unit of the value, empty for a pure number.
    low, high: the bounds of the value, None where there is none.
    protocol: the published protocol, or the rule, which the value follows.
    whole: whether the metric judges the whole map, see `Traits`; a ranking must hold by each that
        does.

    >>> MetricSpec.of("EdgeF1", "canny_f1", "Canny F1 (tolerant)").best
    1
    """

    name: str
    label: str
    higher_is_better: bool
    unit: str = ""
    low: float | None = None
    high: float | None = None
    protocol: str = ""
    whole: bool = True

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"a metric's name must be an identifier, not {self.name!r}")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"{self.name}: low {self.low} must lie below high {self.high}")

    @classmethod
    def of(cls, metric: str, name: str, label: str, protocol: str = "") -> MetricSpec:
        """The name plate of one of `workbench.metrics`, by the name of its class (KeyError)."""
        better, low, high, unit, whole = TRAITS[metric]
        return cls(name, label, better, unit, low, high, protocol, whole)

    @property
    def best(self) -> float | None:
        """The value of perfect agreement, or None if the metric has no such bound."""
        return self.high if self.higher_is_better else self.low

    def is_better(self, a: float, b: float) -> bool:
        """True if value `a` is strictly better than value `b`; False if either is NaN."""
        return a > b if self.higher_is_better else a < b


@dataclass(frozen=True)
class Reading:
    """One value of one metric. NaN means there was nothing to compare, and `reason` says why."""

    value: float
    reason: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.value) and not self.reason:
            raise ValueError("a reading of NaN must carry a reason")

    @property
    def is_nan(self) -> bool:
        """True if there was nothing to compare."""
        return math.isnan(self.value)

    @classmethod
    def nothing(cls, reason: str) -> Reading:
        """A reading which says that there was nothing to compare, and why."""
        return cls(math.nan, reason)
