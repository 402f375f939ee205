"""Surface normals: which way every surface faces, estimated by a network or taken from depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from workbench.controls._batches import ask
from workbench.controls._directions import (
    from_colours,
    from_depth,
    resize_normals,
    to_picture,
    unit,
)
from workbench.controls.base import (
    Control,
    ControlError,
    ControlMap,
    DrawnSettings,
    Networks,
    all_nothing,
)
from workbench.images import as_rgb, resize_map
from workbench.metrics.spec import MetricSpec, Reading

LOOKS_WRONG = 0.15
"""Normals whose mean points down by more than this look as if green were the other way round."""

ONE_WAY = 1e-6
"""Normals whose mean vector is this close to length 1 all face one way."""


class NormalMethod(StrEnum):
    """Where normals come from."""

    ESTIMATED = "estimated"
    FROM_DEPTH = "from_depth"


class NormalSettings(DrawnSettings):
    """Settings of the normals.

    method: `estimated` by a network that reads normals (NormalBae for photographs), or
        `from_depth`, the gradients of a depth network's map, as in the ControlNet article.
    a: for `from_depth`, the share of the viewer's direction: the larger, the flatter. ControlNet
        uses 2π.
    bg_threshold: for `from_depth`, what lies below this share of the depth's range (0 far, 1
        near) is background and faces the viewer.
    """

    method: NormalMethod = NormalMethod.ESTIMATED
    a: float = Field(default=2 * math.pi, ge=0.01, le=1000)
    bg_threshold: float = Field(default=0.1, ge=0, le=1)


class NormalControl(Control[NormalSettings]):
    """Surface normals. The map's data are float32 H×W×3 unit vectors, zeros where undefined.

    x is right, y up, z towards the viewer. The picture follows ControlNet 1.1 (NormalBae,
    ScanNet): blue is front, green is up, red is left.
    """

    name = "normal"
    label = "Surface normals"
    settings_type = NormalSettings
    primary = "normal_mean_angle"
    needs = ("normal",)
    metrics = (
        MetricSpec.of(
            "NormalMeanAngle",
            "normal_mean_angle",
            "Normals, mean error",
            "mean angle between normals over pixels (Fouhey et al. 2013, Bae et al. 2021)",
        ),
        MetricSpec.of(
            "NormalMedianAngle",
            "normal_median_angle",
            "Normals, median error",
            "median angle between normals over pixels",
        ),
        *(
            MetricSpec.of(
                "NormalWithin",
                f"normal_within_{int(degrees)}",
                f"Normals within {degrees:g}°",
                f"share of pixels whose normals are less than {degrees:g}° apart",
            )
            for degrees in (11.25, 22.5, 30.0)
        ),
    )

    def needs_for(self, settings: NormalSettings) -> tuple[str, ...]:
        """The network that reads normals, or the one that reads depth."""
        return ("normal",) if settings.method is NormalMethod.ESTIMATED else ("depth",)

    def extract(
        self, images: Sequence[NDArray[np.uint8]], settings: NormalSettings, networks: Networks
    ) -> list[ControlMap]:
        """One map per picture, in one call of the network for each size among the pictures."""
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        if settings.method is NormalMethod.ESTIMATED:
            raw = ask(images, networks, "normal", "normal", dims=3)
            for answer in raw:
                if answer.shape[2] != 3:
                    raise ControlError(
                        f"the network 'normal' returned {answer.shape[2]} values a pixel, not 3"
                    )
            found = [resize_normals(unit(r), s) for r, s in zip(raw, sizes, strict=True)]
        else:
            raw = ask(images, networks, "depth", "normal from depth", dims=2)
            found = [
                from_depth(resize_map(r.astype(np.float32), s), settings.a, settings.bg_threshold)
                for r, s in zip(raw, sizes, strict=True)
            ]
        return [_control_map(normals) for normals in found]

    def compare(
        self, preds: ControlMap, target: ControlMap, settings: NormalSettings
    ) -> dict[str, Reading]:
        """All five readings. A wanted map that faces one way only leaves nothing to compare.

        Pixels which are undefined in the wanted map are left out.
        """
        from workbench.metrics.normals import normal_scores

        truth = target.data
        there = truth != 0
        defined = truth[there[..., 0] | there[..., 1] | there[..., 2]].astype(np.float64)
        if not len(defined):
            return all_nothing(self.metrics, "the wanted map has no normals")
        if np.linalg.norm(defined.mean(axis=0)) >= 1 - ONE_WAY:
            return all_nothing(self.metrics, "the wanted map is flat, all its normals are the same")
        scores = normal_scores(resize_normals(preds.data, truth.shape[:2]), truth)
        return {
            "normal_mean_angle": Reading(scores.mean),
            "normal_median_angle": Reading(scores.median),
            "normal_within_11": Reading(scores.within_11),
            "normal_within_22": Reading(scores.within_22),
            "normal_within_30": Reading(scores.within_30),
        }

    def turned(
        self, picture: NDArray[np.uint8], settings: NormalSettings
    ) -> tuple[NDArray[np.uint8], str]:
        """Green is turned around where the settings say so; a map that looks wrong is told of."""
        if settings.invert is True:
            return picture * np.array([1, 0, 1], np.uint8) + (255 - picture) * np.array(
                [0, 1, 0], np.uint8
            ), "was turned upside down in its green channel: as the study says"
        up = from_colours(picture)[..., 1]
        if settings.invert == "auto" and float(up.mean()) < -LOOKS_WRONG:
            return picture, (
                "shows more that faces down than up: if its green points down, say "
                "settings: {invert: true}"
            )
        return picture, ""

    def from_picture(self, picture: NDArray[np.uint8]) -> ControlMap:
        """Read colours back; grey, black and white pixels, which are no normals, are undefined.

        The picture stays as it is.
        """
        rgb = as_rgb(picture)
        return ControlMap(picture=rgb, data=from_colours(rgb))


def _control_map(normals: NDArray[np.float32]) -> ControlMap:
    return ControlMap(picture=to_picture(normals), data=normals)


CONTROL = NormalControl()
