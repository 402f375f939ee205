"""What all metrics share: from the scores of single pictures to one value for many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from workbench.metrics.spec import TRAITS

Array = np.ndarray | Tensor
Reduction = Literal["mean", "pooled"]
"""How the values of several pictures become one.

"mean": each picture is scored and the scores are averaged, as in the table of a study; pictures
without a score (NaN) are left out. "pooled": pixels, joints or segments of all pictures are counted
together and the sums are scored once, as in BSDS, PASCAL VOC and the literature on normals.
"""


def checked(reduction: Reduction) -> Reduction:
    """The reduction, if there is such a one (ValueError)."""
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction must be 'mean' or 'pooled', not {reduction!r}")
    return reduction


def mean(values: Iterable[float]) -> float:
    """The mean of the values that are not NaN; NaN if there is none."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def reduced(
    counts: Sequence[Tensor], score: Callable[[Tensor], float], reduction: Reduction
) -> float:
    """One value from the counts of several pictures."""
    if checked(reduction) == "mean":
        return mean(map(score, counts))
    return score(torch.stack(list(counts)).sum(0))


def as_tensor(values: Array) -> Tensor:
    """A copy on the CPU (Metal has no float64), floating point as float64."""
    tensor = values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
    return tensor.cpu().double() if tensor.is_floating_point() else tensor.cpu()


def stacks(
    preds: Array, target: Array, wrong: Callable[[Tensor], str], last: tuple[int, ...] = ()
) -> tuple[Tensor, Tensor]:
    """Both maps as N×H×W×last, of one picture (H×W×last) or several.

    wrong: says what is wrong with the type or the values of a map ("hold integers"), or "".
    Raises ValueError for that, for other shapes, and for shapes that differ.
    """
    found = []
    for name, values in (("preds", preds), ("target", target)):
        tensor = as_tensor(values)
        if reason := wrong(tensor):
            raise ValueError(f"{name} must {reason}, not {np.asarray(values).dtype}")
        shape = tuple(tensor.shape)
        if len(shape) - len(last) not in (2, 3) or shape[len(shape) - len(last) :] != last:
            one = "×".join(["H×W", *map(str, last)])
            raise ValueError(f"{name} must be {one} or N×{one}, not {shape}")
        found.append(tensor if len(shape) - len(last) == 3 else tensor[None])
    if found[0].shape != found[1].shape:
        shapes = " and ".join(str(tuple(np.shape(values))) for values in (preds, target))
        raise ValueError(f"maps must have one shape, not {shapes}")
    return found[0], found[1]


class PictureMetric(Metric):
    """Mean of the scores of pictures, a float64 scalar; NaN if no picture had a score.

    Subclasses say how pictures are scored. Direction and bounds come from `spec.TRAITS`.
    """

    is_differentiable = False
    full_state_update = False

    total: Tensor
    count: Tensor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if traits := TRAITS.get(cls.__name__):
            cls.higher_is_better = traits.higher_is_better
            cls.plot_lower_bound, cls.plot_upper_bound = traits.low, traits.high

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Array, target: Array) -> None:
        """Add what was made and what it should be; shapes and errors as in the function."""
        known = [value for value in self._values(preds, target) if not math.isnan(value)]
        self.total += sum(known)
        self.count += len(known)

    def compute(self) -> Tensor:
        """The value over everything seen."""
        return self.total / self.count

    def _values(self, preds: Array, target: Array) -> Iterable[float]:
        """The score of each picture."""
        raise NotImplementedError


class PoolableMetric(PictureMetric):
    """The same, or one score of the counts of all pictures (see `Reduction`).

    Subclasses count each picture and score counts, of one picture or of the sum over many.
    """

    _pick: ClassVar[str]
    counts: Tensor

    def __init__(self, size: int, reduction: Reduction = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reduction = checked(reduction)
        self.add_state("counts", torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Array, target: Array) -> None:
        """Add what was made and what it should be; shapes and errors as in the function."""
        if self.reduction == "mean":
            super().update(preds, target)
        else:
            for counts in self._counts(preds, target):
                self.counts += counts.to(self.counts.device)

    def compute(self) -> Tensor:
        """The value over everything seen."""
        if self.reduction == "mean":
            return super().compute()
        return torch.tensor(self._score(self.counts.cpu()), dtype=torch.float64, device=self.device)

    def _values(self, preds: Array, target: Array) -> Iterable[float]:
        return map(self._score, self._counts(preds, target))

    def _score(self, counts: Tensor) -> float:
        return float(getattr(self._scores(counts), self._pick))

    def _counts(self, preds: Array, target: Array) -> Sequence[Tensor]:
        """What is counted in each picture, float64 of length `size`."""
        raise NotImplementedError

    def _scores(self, counts: Tensor) -> Any:
        """All scores of counts; the one called `_pick` is this metric's."""
        raise NotImplementedError
