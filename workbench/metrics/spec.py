"""What a metric is called, which way is better, and one value read off it.

Plain values without torch, so that planning, storing and the command line can speak about metrics
without loading the libraries which compute them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricSpec:
    """The name plate of a metric. The direction of "better" is declared here and nowhere else.

    name: identifier used in tables and files, for example "canny_f1".
    label: what a reader sees, for example "Canny F1 (tolerant)".
    higher_is_better: True if a larger value means closer agreement.
    unit: unit of the value, empty for a pure number.
    low, high: the bounds of the value, None where there is none.
    protocol: the published protocol, or the rule, which the value follows.
    """

    name: str
    label: str
    higher_is_better: bool
    unit: str = ""
    low: float | None = None
    high: float | None = None
    protocol: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"a metric's name must be an identifier, not {self.name!r}")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"{self.name}: low {self.low} must lie below high {self.high}")

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
