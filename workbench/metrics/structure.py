"""Structural similarity of two grey maps with values in [0, 1]: SSIM and multi-scale SSIM.

SSIM (Wang, Bovik, Sheikh and Simoncelli 2004, "Image quality assessment: from error visibility to
structural similarity") compares local means, variances and the covariance under a Gaussian window
of σ 1.5 (11 pixels), K1 = 0.01, K2 = 0.03, dynamic range 1, and is averaged over the pixels whose
window lies within the picture. Multi-scale SSIM (Wang, Simoncelli and Bovik 2003) multiplies the
contrast terms of five scales, each half the one before, and the whole SSIM of the last; negative
factors count as 0. The local values are torchmetrics'; the averages are not, because its releases
disagree on whether windows that overlap the rim count (in 1.9 they do for SSIM).

Every function takes two maps H×W, or N×H×W for the mean over the N maps, of bool or floating
point, and returns a float; 1 is best, and swapping the maps changes nothing. NaN stands for maps
which are too small (`SSIM_SIDE`, `MS_SSIM_SIDE`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torchmetrics import Metric
from torchmetrics.functional.image import structural_similarity_index_measure

Maps = np.ndarray | Tensor

SSIM_SIDE = 11
"""The smallest side in pixels of a map that has an SSIM: that of the window."""

MS_SSIM_SIDE = 176
"""The smallest side in pixels of a map that has a multi-scale SSIM: 16 times the window."""

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SLACK = 1e-5


def ssim(pred: Maps, target: Maps) -> float:
    """SSIM, −1 … 1; equal to scikit-image's with Gaussian weights and population covariance.

    Raises ValueError for shapes that differ, or values which are not in [0, 1].
    """
    return _mean(_ssim, pred, target)


def ms_ssim(pred: Maps, target: Maps) -> float:
    """Multi-scale SSIM, 0 … 1, with the five weights of its paper. Errors as in `ssim`."""
    return _mean(_ms_ssim, pred, target)


def _ssim(p: Tensor, t: Tensor) -> float:
    if min(t.shape) < SSIM_SIDE:
        return math.nan
    _, local = structural_similarity_index_measure(
        p[None, None], t[None, None], data_range=1.0, return_full_image=True
    )
    rim = SSIM_SIDE // 2
    return float(local[..., rim:-rim, rim:-rim].mean())


def _ms_ssim(p: Tensor, t: Tensor) -> float:
    if min(t.shape) < MS_SSIM_SIDE:
        return math.nan
    product = 1.0
    for weight in _WEIGHTS[:-1]:
        _, contrast = structural_similarity_index_measure(
            p[None, None], t[None, None], data_range=1.0, return_contrast_sensitivity=True
        )
        product *= max(0.0, float(contrast)) ** weight
        p, t = (avg_pool2d(x[None], 2)[0] for x in (p, t))
    return float(product * max(0.0, _ssim(p, t)) ** _WEIGHTS[-1])


def _as_maps(maps: Maps, name: str) -> Tensor:
    tensor = maps.detach() if isinstance(maps, Tensor) else torch.from_numpy(np.array(maps))
    if not tensor.is_floating_point() and tensor.dtype != torch.bool:
        raise ValueError(f"{name} must be of floating point or bool, not {tensor.dtype}")
    if tensor.ndim not in (2, 3) or tensor.numel() == 0:
        raise ValueError(f"{name} must be H×W or N×H×W, not {tuple(tensor.shape)}")
    # Metal has no float64, so the sums are made on the CPU.
    tensor = tensor.cpu().double()
    if not bool(((tensor >= -_SLACK) & (tensor <= 1 + _SLACK)).all()):
        raise ValueError(f"{name} must hold values from 0 to 1")
    return tensor[None] if tensor.ndim == 2 else tensor


def _values(score: Callable[[Tensor, Tensor], float], pred: Maps, target: Maps) -> list[float]:
    """The score of each pair which has one."""
    ps, ts = _as_maps(pred, "pred"), _as_maps(target, "target")
    if ps.shape != ts.shape:
        raise ValueError(f"maps must have one shape, not {tuple(ps.shape)} and {tuple(ts.shape)}")
    scores = [score(p, t) for p, t in zip(ps, ts, strict=True)]
    return [value for value in scores if not math.isnan(value)]


def _mean(score: Callable[[Tensor, Tensor], float], pred: Maps, target: Maps) -> float:
    values = _values(score, pred, target)
    return sum(values) / len(values) if values else math.nan


class MapSSIM(Metric):
    """Mean SSIM over maps, the twin of `ssim`; NaN if no pair was large enough."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0

    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Maps, target: Maps) -> None:
        """Add pairs of maps, H×W or N×H×W; errors as in `ssim`."""
        values = _values(self._score, pred, target)
        self.total += sum(values)
        self.count += len(values)

    def compute(self) -> Tensor:
        """The mean over the pairs seen, a float32 scalar."""
        return self.total / self.count

    def _score(self, p: Tensor, t: Tensor) -> float:
        return _ssim(p, t)


class MapMultiScaleSSIM(MapSSIM):
    """Mean multi-scale SSIM over maps, the twin of `ms_ssim`; NaN if none was large enough."""

    plot_lower_bound = 0.0

    def _score(self, p: Tensor, t: Tensor) -> float:
        return _ms_ssim(p, t)
