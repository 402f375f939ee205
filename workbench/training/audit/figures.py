"""One line of the audit, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Figure:
    """One line of the audit: what was measured, and the least it should be (None: no target)."""

    name: str
    value: float
    least: float | None = None
    most: float | None = None
    unit: str = ""

    @property
    def reached(self) -> bool:
        """Whether the figure is as good as asked; a figure without a target always is."""
        low = self.least is None or self.value >= self.least
        return low and (self.most is None or self.value <= self.most)

    def row(self) -> str:
        """The figure as a row of a Markdown table."""
        bound = f"≥ {self.least:g}" if self.least is not None else ""
        bound = f"≤ {self.most:g}" if self.most is not None else bound
        verdict = "" if not bound else ("yes" if self.reached else "**no**")
        bound += self.unit if bound else ""
        return f"| {self.name} | {self.value:.3f}{self.unit} | {bound} | {verdict} |"


def by_group(
    name: str, shares: Mapping[str, float], mean: float | None, worst: float | None
) -> list[Figure]:
    rows = [Figure(f"{name}: {group}", share) for group, share in shares.items()]
    values = list(shares.values())
    rows.append(Figure(f"{name}: mean over groups", float(np.mean(values)), least=mean))
    rows.append(Figure(f"{name}: worst group", min(values), least=worst))
    return rows
