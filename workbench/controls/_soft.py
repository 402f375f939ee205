"""Soft grey maps in [0, 1], shared by the control types which draw them: reading and comparing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.controls._batches import ask
from workbench.controls.base import ControlMap, Networks, all_nothing, white_on_black
from workbench.images import as_rgb, resize_map
from workbench.metrics.spec import MetricSpec, Reading

EMPTY = 0.1
"""A map in which no value exceeds this holds no lines."""

ON_A_LINE = 0.25
"""What is brighter counts as a line where lines are compared as such; in a faint wanted map, what
is brighter than half of its brightest."""

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


def soft_map_from(picture: NDArray[np.uint8]) -> ControlMap:
    """Read white lines on black back from a picture, as they are."""
    return white_on_black((as_rgb(picture).mean(axis=2) / 255).astype(np.float32))


def soft_metrics(name: str, label: str) -> tuple[MetricSpec, ...]:
    """The metrics of a control type whose maps are soft lines; `name` begins theirs.

    F1 comes first, as the one that stands for adherence: most of such a map is empty, and SSIM
    rewards emptiness, so that a picture without any line can be nearer to the source than an
    unrelated one is.
    """
    return (
        MetricSpec(
            f"{name}_f1",
            f"{label} F1 (tolerant)",
            higher_is_better=True,
            low=0,
            high=1,
            protocol="F1 of the middles of lines brighter than a quarter of white (or than half of "
            "the wanted map's brightest, if less), found within 0.0075 × diagonal",
        ),
        MetricSpec(
            f"{name}_ssim",
            f"{label} SSIM",
            higher_is_better=True,
            low=-1,
            high=1,
            protocol="ControlNet++ (Li et al. 2024, the paper): SSIM of the two maps (Wang et al. "
            "2004, Gaussian window σ 1.5)",
        ),
        MetricSpec(
            f"{name}_ms_ssim",
            f"{label} MS-SSIM",
            higher_is_better=True,
            low=0,
            high=1,
            protocol="ControlNet++ (Li et al. 2024, the code): multi-scale SSIM of the two maps "
            "(Wang et al. 2003); needs 176 pixels a side",
        ),
    )


def compare_soft(
    name: str, preds: ControlMap, target: ControlMap, tolerance: float
) -> dict[str, Reading]:
    """The readings of `soft_metrics`. A wanted map without lines leaves nothing to compare.

    tolerance: of F1, as a fraction of the map's diagonal.
    """
    from workbench.metrics.edges import default_tolerance, edge_f1
    from workbench.metrics.structure import MS_SSIM_SIDE, SSIM_SIDE, ms_ssim, ssim
    from workbench.metrics.thinning import thin

    truth = target.data
    if float(truth.max()) <= EMPTY:
        return all_nothing(soft_metrics(name, ""), "the wanted map has no lines")
    found = np.clip(resize_map(preds.data, truth.shape[:2]), 0, 1)
    side = min(truth.shape)
    level = min(ON_A_LINE, float(truth.max()) / 2)
    pixels = default_tolerance(truth.shape[0], truth.shape[1], tolerance)
    f1 = Reading(edge_f1(thin(found > level), thin(truth > level), pixels).f1)
    return {
        f"{name}_f1": f1,
        f"{name}_ssim": Reading(ssim(found, truth)) if side >= SSIM_SIDE else too_small(SSIM_SIDE),
        f"{name}_ms_ssim": (
            Reading(ms_ssim(found, truth)) if side >= MS_SSIM_SIDE else too_small(MS_SSIM_SIDE)
        ),
    }


def too_small(side: int) -> Reading:
    """A reading which says that the map lacks the pixels for this metric."""
    return Reading.nothing(f"the map has less than {side} pixels a side")
