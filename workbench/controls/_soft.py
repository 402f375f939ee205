"""Soft grey maps in [0, 1], shared by the control types which draw them: reading and comparing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from workbench.controls._batches import ask
from workbench.controls._edges import matched_f1, matched_metric, noise_f1
from workbench.controls.base import (
    Control,
    ControlMap,
    DrawnSettings,
    Networks,
    all_nothing,
    white_on_black,
)
from workbench.images import as_rgb, resize_map
from workbench.metrics.spec import MetricSpec, Reading

EMPTY = 0.1
"""A map in which no value exceeds this holds no lines."""

ON_A_LINE = 0.25
"""What is brighter counts as a line where lines are compared as such; in a faint wanted map, what
is brighter than half of its brightest."""

NO_LINES = Reading.nothing("the wanted map has no lines")

_LINES = (
    "middles of lines brighter than a quarter of white (or than half of the wanted map's "
    "brightest, if less)"
)

REFERENCE_SIDE = 512
"""The shorter side in pixels for which the annotators of ControlNet state their lengths."""


def scaled(length: float, shape: Sequence[int]) -> float:
    """A length stated for pictures whose shorter side is 512, in pixels of this picture.

    The annotators of ControlNet bring the shorter side of a picture to 512 before they work;
    here the length is brought to the picture instead.
    """
    return length * min(shape[0], shape[1]) / REFERENCE_SIDE


def read_maps(
    images: Sequence[NDArray[np.uint8]], networks: Networks, needed: str, who: str
) -> list[NDArray[np.float32]]:
    """A map in [0, 1] of each picture's size, in one call of the network for each size.

    Arguments and errors are those of `ask`.
    """
    answers = ask(images, networks, needed, who, dims=2)
    maps = []
    for image, values in zip(images, answers, strict=True):
        resized = resize_map(values.astype(np.float32), (image.shape[0], image.shape[1]))
        maps.append(np.clip(resized, 0, 1).astype(np.float32))
    return maps


def soft_metrics(name: str, label: str) -> tuple[MetricSpec, ...]:
    """The metrics of a control type whose maps are soft lines; `name` begins theirs.

    One F1 comes first, as the one that stands for adherence: most of such a map is empty, and SSIM
    rewards emptiness, so that a picture without any line can be nearer to the source than an
    unrelated one is.
    """
    return (
        matched_metric(name, label, f"the {_LINES}", "0.0075"),
        MetricSpec.of(
            "EdgeF1",
            f"{name}_f1",
            f"{label} F1 (tolerant)",
            f"F1 of the {_LINES}, found within 0.0075 × diagonal",
        ),
        MetricSpec.of(
            "MapSSIM",
            f"{name}_ssim",
            f"{label} SSIM",
            "ControlNet++ (Li et al. 2024, the paper): SSIM of the two maps (Wang et al. "
            "2004, Gaussian window σ 1.5)",
        ),
        MetricSpec.of(
            "MapMultiScaleSSIM",
            f"{name}_ms_ssim",
            f"{label} MS-SSIM",
            "ControlNet++ (Li et al. 2024, the code): multi-scale SSIM of the two maps "
            "(Wang et al. 2003); needs 176 pixels a side",
        ),
    )


class SoftSettings(DrawnSettings):
    """tolerance: distance, as a fraction of the map's diagonal, within which two lines count as
    the same.
    """

    comparison_only: ClassVar[frozenset[str]] = frozenset({"tolerance"})

    tolerance: float = Field(default=0.0075, ge=0, le=0.1)


S = TypeVar("S", bound=SoftSettings)


class SoftControl(Control[S]):
    """A control type with `soft_metrics`. The map's data are float32 H×W in [0, 1], 1 on a line;
    its picture is white on black.
    """

    is_lines = True

    def nothing_in(self, target: ControlMap, settings: S) -> str:
        """See `Control.nothing_in`: a map without lines."""
        return NO_LINES.reason if _empty(target) else ""

    def agreement(self, preds: ControlMap, target: ControlMap, settings: S) -> Reading:
        """F1 of lines paired one to one. A wanted map without lines leaves nothing to compare."""
        if _empty(target):
            return NO_LINES
        return Reading(matched_f1(*_lines(preds, target), settings.tolerance))

    def same_both_ways(self, a: ControlMap, b: ControlMap) -> bool:
        """Pairs have no direction, where both maps have some and count the same as a line."""
        same = a.data.shape == b.data.shape and _level(a) == _level(b)
        return same and not _empty(a) and not _empty(b)

    def noise(self, target: ControlMap, settings: S) -> Reading:
        """F1 of white noise. A wanted map without lines leaves nothing to compare."""
        if _empty(target):
            return NO_LINES
        return Reading(noise_f1(_lines(target, target)[1], settings.tolerance))

    def compare(self, preds: ControlMap, target: ControlMap, settings: S) -> dict[str, Reading]:
        """All four readings. A wanted map without lines leaves nothing to compare."""
        from workbench.metrics.edges import default_tolerance, edge_f1
        from workbench.metrics.structure import MS_SSIM_SIDE, SSIM_SIDE, ssim_scores

        if _empty(target):
            return all_nothing(self.metrics, NO_LINES.reason)
        lines, wanted = _lines(preds, target)
        pixels = default_tolerance(wanted.shape[0], wanted.shape[1], settings.tolerance)
        readings = [
            Reading(matched_f1(lines, wanted, settings.tolerance)),
            Reading(edge_f1(lines, wanted, pixels)),
        ]
        truth, found = target.data, _sized(preds, target.data)
        likeness = ssim_scores(found, truth)
        for score, side in ((likeness.ssim, SSIM_SIDE), (likeness.ms_ssim, MS_SSIM_SIDE)):
            readings.append(Reading(score) if min(truth.shape) >= side else too_small(side))
        return {spec.name: reading for spec, reading in zip(self.metrics, readings, strict=True)}

    def from_picture(self, picture: NDArray[np.uint8]) -> ControlMap:
        """Read white lines on black, as they are; the brightness is the strength."""
        return white_on_black((as_rgb(picture).mean(axis=2) / 255).astype(np.float32))


def _empty(target: ControlMap) -> bool:
    return float(target.data.max()) <= EMPTY


def _level(target: ControlMap) -> float:
    """How bright a line is, at least."""
    return min(ON_A_LINE, float(target.data.max()) / 2)


def _lines(preds: ControlMap, target: ControlMap) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The middles of the lines of both maps, bool H×W of the target's size."""
    from workbench.metrics.thinning import thin, thin_again

    truth, level = target.data, _level(target)
    return thin(_sized(preds, truth) > level), thin_again(truth > level)


def _sized(found: ControlMap, truth: np.ndarray) -> np.ndarray:
    return np.clip(resize_map(found.data, truth.shape[:2]), 0, 1)


def too_small(side: int) -> Reading:
    """A reading which says that the map lacks the pixels for this metric."""
    return Reading.nothing(f"the map has less than {side} pixels a side")
