"""When does a ControlNet begin to obey? A change point in its adherence over the training steps.

Zhang, Rao and Agrawala (2023), section 3.3, call it sudden convergence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

_ORDERS = 999
_DRAWS = 500
_LEVEL = 0.05
UNCLEAR = "no clear difference"


@dataclass(frozen=True)
class Moment:
    """The moment of sudden convergence, or why there is none.

    found: whether there is one. low, high: the steps between which it lies, else NaN.
    before, after: mean adherence before and after it. pictures: how many it was read from.
    p: how often looks in a random order have a change as clear as this one. why: in words.
    """

    found: bool
    low: float
    high: float
    before: float
    after: float
    pictures: int
    p: float
    why: str = ""

    @property
    def text(self) -> str:
        """The moment in a sentence."""
        if not self.found:
            return f"There is no sudden convergence to be seen: {self.why}."
        sure = (
            f"with 95 % confidence over {self.pictures} pictures"
            if self.pictures > 1
            else "between two looks; only their mean was kept, so that there is no interval over "
            "pictures"
        )
        return (
            f"Adherence jumps from {self.before:.2f} to {self.after:.2f} between steps "
            f"{self.low:.0f} and {self.high:.0f} ({sure})."
        )


def sudden_convergence(looks: pd.DataFrame, *, seed: int = 0) -> Moment:
    """Find the moment after which a ControlNet obeys, from looks at it while it learnt.

    One change in the mean is fitted by least squares (E. S. Page, Biometrika 42, 1955, posed the
    question; for one change, least squares is exact). It counts as a sudden convergence if
    adherence is higher after it, if looks in a random order seldom (p < 0.05) have a change as
    clear, and if it fits better than a straight line, which rises slowly. Where it lies is found
    again for pictures drawn with replacement (the bootstrap of B. Efron, 1979), never more exactly
    than between two looks.

    Args:
        looks: columns step and adherence, and picture where it is known for each of them. Pictures
            that could not be read at each step are left out.
        seed: of the random orders and draws.
    """
    if "picture" not in looks:
        looks = looks.assign(picture="mean")
    table = looks.pivot_table(index="step", columns="picture", values="adherence", dropna=False)
    table = table.dropna(axis="columns")
    steps, values = table.index.to_numpy(float), table.to_numpy(float)
    count, pictures = values.shape
    nan = float("nan")
    if count < 3 or not pictures:
        why = f"{count} looks at {pictures} pictures are too few"
        return Moment(False, nan, nan, nan, nan, pictures, nan, why)
    rng = np.random.default_rng(seed)
    curve = values.mean(axis=1)
    place, explained = _change(curve)
    orders = (_change(rng.permutation(curve))[1] for _ in range(_ORDERS))
    p = (1 + sum(other >= explained - 1e-12 for other in orders)) / (1 + _ORDERS)
    before, after = float(curve[:place].mean()), float(curve[place:].mean())
    draws = rng.integers(0, pictures, (_DRAWS, pictures))
    places = [place, *(_change(values[:, drawn].mean(axis=1))[0] for drawn in draws)]
    first, last = np.quantile(places, (0.025, 0.975), method="nearest")
    why = ""
    if after <= before:
        why = "adherence does not rise"
    elif p >= _LEVEL:
        why = f"{count} looks in a random order show as clear a change with p = {p:.2f}"
    elif explained <= _line(steps, curve):
        why = "a slow and even rise fits as well"
    low, high = (nan, nan) if why else (steps[first - 1], steps[last])
    return Moment(not why, float(low), float(high), before, after, pictures, p, why)


@dataclass(frozen=True)
class Difference:
    """Mean of one measurement minus another of the same pictures, and its interval (95 %)."""

    mean: float
    low: float
    high: float
    pictures: int

    @property
    def direction(self) -> str:
        """ "higher", "lower", or "no clear difference" where the interval holds 0 or is unknown."""
        return "higher" if self.low > 0 else "lower" if self.high < 0 else UNCLEAR

    @property
    def text(self) -> str:
        """The difference in a sentence."""
        interval = f"[{self.low:+.2f}, {self.high:+.2f}] over {self.pictures} pictures"
        return f"The difference is {self.mean:+.2f} {interval}: {self.direction}."


def compare(one: pd.Series, other: pd.Series) -> Difference:
    """Two measurements by picture: Student's t interval of the mean of their differences.

    Pictures of which one is unknown are left out.
    """
    from workbench.analysis.intervals import t_halves

    apart = (one - other).dropna()
    mean, count = float(apart.mean()), len(apart)
    spread = np.array([apart.std(ddof=1) if count > 1 else 0.0])
    half = float(t_halves(spread, np.array([count]))[0])
    return Difference(mean, mean - half, mean + half, count)


def _change(curve: np.ndarray) -> tuple[int, float]:
    """Where the second of two levels begins, and the share of the variance that they explain."""
    count, sums = np.arange(1, len(curve)), np.cumsum(curve)
    before, after = sums[:-1] / count, (sums[-1] - sums[:-1]) / count[::-1]
    between = count * count[::-1] / len(curve) * (after - before) ** 2
    total = float(((curve - curve.mean()) ** 2).sum())
    best = int(np.argmax(between))
    return best + 1, float(between[best]) / total if total else 0.0


def _line(steps: np.ndarray, curve: np.ndarray) -> float:
    """The share of the variance that a straight line over the steps explains."""
    return float(np.corrcoef(steps, curve)[0, 1] ** 2)
