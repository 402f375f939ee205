"""Structural similarity of two grey maps with values in [0, 1]: SSIM and multi-scale SSIM.

SSIM (Wang, Bovik, Sheikh and Simoncelli 2004, "Image quality assessment: from error visibility to
structural similarity") compares local means, variances and the covariance under a Gaussian window
of σ 1.5 (11 pixels), K1 = 0.01, K2 = 0.03, dynamic range 1, and is averaged over the pixels whose
window lies within the picture. Multi-scale SSIM (Wang, Simoncelli and Bovik 2003) multiplies the
contrast terms of five scales, each half the one before, and the whole SSIM of the last; negative
factors count as 0. The windows are separable: two passes of 11 taps give what torchmetrics' 11×11
convolution gives, many times faster. Its averages differ besides, because its releases disagree on
whether windows that overlap the rim count (in 1.9 they do for SSIM).

Maps are of bool or floating point, H×W for one picture or N×H×W for several, whose scores are
averaged. 1 is best, and swapping the maps changes nothing. NaN stands for maps which are too small
(`SSIM_SIDE`, `MS_SSIM_SIDE`); they are left out of the mean. All functions and classes raise
ValueError for shapes that differ and values which are not in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from workbench.metrics._base import Array, PictureMetric, mean, stacks

SSIM_SIDE = 11
"""The smallest side in pixels of a map that has an SSIM: that of the window."""

MS_SSIM_SIDE = 176
"""The smallest side in pixels of a map that has a multi-scale SSIM: 16 times the window."""

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SLACK = 1e-5
_RIM = SSIM_SIDE // 2
_WINDOW = np.exp(-np.square(np.arange(-_RIM, _RIM + 1) / 1.5) / 2)
_WINDOW /= _WINDOW.sum()
_BAND = 64
"""So many rows are compared at once: what lies between stays in the processor's cache."""


@dataclass(frozen=True)
class SsimScores:
    """SSIM and multi-scale SSIM of one pair of maps; NaN where the maps are too small for it."""

    ssim: float
    ms_ssim: float


def ssim(preds: Array, target: Array) -> float:
    """SSIM, −1 … 1; equal to scikit-image's with Gaussian weights and population covariance."""
    return mean(_ssim(p, t) for p, t in _pairs(preds, target))


def ms_ssim(preds: Array, target: Array) -> float:
    """Multi-scale SSIM, 0 … 1, with the five weights of its paper."""
    return mean(_scores(p, t).ms_ssim for p, t in _pairs(preds, target))


def ssim_scores(preds: Array, target: Array) -> SsimScores:
    """Both scores of one pair of maps H×W, from one pass over it at full size."""
    ((p, t),) = _pairs(preds, target)
    return _scores(p, t)


class MapSSIM(PictureMetric):
    """Mean SSIM of maps, −1 … 1 (best).

    >>> target = torch.zeros(16, 16)
    >>> target[4:12, 4:12] = 1
    >>> metric = MapSSIM()
    >>> metric.update(target.roll(1, dims=0), target)
    >>> metric.compute()
    tensor(0.6727, dtype=torch.float64)
    """

    def _values(self, preds: Array, target: Array) -> Iterable[float]:
        return [_ssim(p, t) for p, t in _pairs(preds, target)]


class MapMultiScaleSSIM(PictureMetric):
    """Mean multi-scale SSIM of maps, 0 … 1 (best).

    >>> target = torch.zeros(176, 176)
    >>> target[40:120, 40:120] = 1
    >>> metric = MapMultiScaleSSIM()
    >>> metric.update(target.roll(1, dims=0), target)
    >>> metric.compute()
    tensor(0.9829, dtype=torch.float64)
    """

    def _values(self, preds: Array, target: Array) -> Iterable[float]:
        return [_scores(p, t).ms_ssim for p, t in _pairs(preds, target)]


def _local(p: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast-structure at each pixel whose window lies within the picture."""

    def blur(x: np.ndarray) -> np.ndarray:
        blurred: np.ndarray = cv2.sepFilter2D(x, cv2.CV_64F, _WINDOW, _WINDOW)
        return blurred[_RIM:-_RIM, _RIM:-_RIM]

    def spread(x: np.ndarray, square: np.ndarray) -> np.ndarray:
        return np.maximum(blur(x * x) - square, 0.0)

    mp, mt = blur(p), blur(t)
    mpp, mtt, mpt = mp * mp, mt * mt, mp * mt
    contrast = 2 * (blur(p * t) - mpt) + 0.03**2
    contrast /= spread(p, mpp) + spread(t, mtt) + 0.03**2
    mpt *= 2
    mpt += 0.01**2
    mpp += mtt
    mpp += 0.01**2
    mpt /= mpp
    return mpt, contrast


def _means(p: np.ndarray, t: np.ndarray) -> tuple[float, float]:
    """The means of SSIM and of its contrast term alone."""
    whole, contrasts, count = 0.0, 0.0, 0
    for top in range(0, len(t) - 2 * _RIM, _BAND):
        rows = slice(top, top + _BAND + 2 * _RIM)
        luminance, contrast = _local(p[rows], t[rows])
        whole += float((luminance * contrast).sum())
        contrasts += float(contrast.sum())
        count += contrast.size
    return whole / count, contrasts / count


def _ssim(p: np.ndarray, t: np.ndarray) -> float:
    return math.nan if min(t.shape) < SSIM_SIDE else _means(p, t)[0]


def _scores(p: np.ndarray, t: np.ndarray) -> SsimScores:
    if min(t.shape) < MS_SSIM_SIDE:
        return SsimScores(_ssim(p, t), math.nan)
    wholes, product = [], 1.0
    for weight in _WEIGHTS[:-1]:
        whole, contrast = _means(p, t)
        wholes.append(whole)
        product *= max(0.0, contrast) ** weight
        h, w = t.shape[0] // 2, t.shape[1] // 2
        p, t = (_halved(x[: 2 * h, : 2 * w]) for x in (p, t))
    return SsimScores(wholes[0], product * max(0.0, _ssim(p, t)) ** _WEIGHTS[-1])


def _halved(x: np.ndarray) -> np.ndarray:
    """The means of 2×2 pixels; both sides are even."""
    size = (x.shape[1] // 2, x.shape[0] // 2)
    halved: np.ndarray = cv2.resize(x, size, interpolation=cv2.INTER_AREA)
    return halved


def _pairs(preds: Array, target: Array) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    def wrong(maps: Tensor) -> str:
        if not maps.is_floating_point() and maps.dtype != torch.bool:
            return "be of floating point or bool"
        if not maps.numel():
            return "hold at least one pixel"
        low, high = maps.aminmax()  # both NaN where any value is
        return "" if low >= -_SLACK and high <= 1 + _SLACK else "hold values from 0 to 1"

    return zip(*(maps.double().numpy() for maps in stacks(preds, target, wrong)), strict=True)
