"""Depth: how near every pixel is, read by the model family's depth network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.controls._batches import ask
from workbench.controls.base import (
    Control,
    ControlError,
    ControlMap,
    DrawnSettings,
    Networks,
    all_nothing,
    white_on_black,
)
from workbench.images import as_rgb, resize_map
from workbench.metrics.spec import MetricSpec, Reading

PERCENTILES = (1.0, 99.0)
FLAT = 1e-6
LOOKS_WRONG = 0.2
"""A map whose lower border is farther than its upper one by more than this looks inside out."""
POSITIVE = "scale of 0 or more"
"""What tells fitted readings from those of earlier versions, whose scale could be negative."""


class DepthSettings(DrawnSettings):
    """Settings of maps that are drawn already; the network is the family's.

    meaning: what the numbers of such a map are: `disparity`, larger is nearer, or `metres`,
        distances in any unit, of which 0 is unknown and read as the farthest.
    """

    unsaid: ClassVar[frozenset[str]] = frozenset({"invert", "meaning"})

    meaning: Literal["disparity", "metres"] = "disparity"


class DepthControl(Control[DepthSettings]):
    """Depth. The map's data are float32 H×W, inverse depth in [0, 1]; near is 1, white.

    Every map is stretched so that its 1st and 99th percentile become 0 and 1, and clipped: a depth
    network knows neither scale nor shift. Both maps of a comparison are treated alike. A map
    without any depth becomes all 0.
    """

    name = "depth"
    label = "Depth"
    settings_type = DepthSettings
    primary = "depth_pearson"
    needs = ("depth",)
    asked = dict.fromkeys(("depth_si_rmse", "depth_abs_rel", "depth_delta1"), POSITIVE)
    metrics = (
        MetricSpec.of(
            "DepthSiRMSE",
            "depth_si_rmse",
            "Depth RMSE (scale and shift fitted)",
            "RMSE of inverse depth in [0, 1] after a least-squares scale, 0 or more, and shift "
            "(MiDaS, Ranftl et al. 2020)",
        ),
        MetricSpec.of(
            "DepthRMSE255",
            "depth_rmse",
            "Depth RMSE",
            "ControlNet++ (Li et al. 2024): RMSE on 0–255, with the same normalisation "
            "of both maps",
        ),
        MetricSpec.of(
            "DepthAbsRel",
            "depth_abs_rel",
            "Depth AbsRel",
            "mean of |d − d*| / d* (Eigen et al. 2014) after a least-squares scale, 0 or more, "
            "and shift, the farthest point read as ten times as far as the nearest",
        ),
        MetricSpec.of(
            "DepthDelta125",
            "depth_delta1",
            "Depth δ < 1.25",
            "share of pixels with max(d/d*, d*/d) < 1.25 (Eigen et al. 2014), depths as for AbsRel",
        ),
        MetricSpec.of(
            "DepthPearson",
            "depth_pearson",
            "Depth correlation",
            "Pearson correlation of inverse depth over pixels",
        ),
    )

    def extract(
        self, images: Sequence[NDArray[np.uint8]], settings: DepthSettings, networks: Networks
    ) -> list[ControlMap]:
        """One map per picture, in one call of the network for each size among the pictures."""
        answers = ask(images, networks, "depth", "depth", dims=2)
        return [
            white_on_black(normalise(resize_map(depth.astype(np.float32), image.shape[:2])))
            for image, depth in zip(images, answers, strict=True)
        ]

    def compare(
        self, preds: ControlMap, target: ControlMap, settings: DepthSettings
    ) -> dict[str, Reading]:
        """All five readings. A wanted map without depth leaves nothing to compare; a compared one
        without depth follows nothing: its correlation is 0."""
        from workbench.metrics.depth import depth_scores

        truth = target.data
        if float(truth.std()) <= FLAT:
            return all_nothing(self.metrics, "the wanted map has no depth, it is flat")
        scores = depth_scores(resize_map(preds.data, truth.shape[:2]), truth)
        return {
            "depth_si_rmse": Reading(scores.si_rmse),
            "depth_rmse": Reading(scores.rmse_255),
            "depth_abs_rel": Reading(scores.abs_rel),
            "depth_delta1": Reading(scores.delta_1_25),
            "depth_pearson": Reading(0.0 if np.isnan(scores.pearson) else scores.pearson),
        }

    def turned(
        self, picture: NDArray[np.uint8], settings: DepthSettings
    ) -> tuple[NDArray[np.uint8], str]:
        """Near and far are swapped, and distances taken for what they are, where the settings say
        so; a map that looks wrong is told of."""
        if settings.meaning == "metres":
            picture = self.values_picture(picture.mean(axis=2, dtype=np.float32), settings)
        if settings.invert is True:
            return 255 - picture, "had near and far swapped: as the study says"
        rows = max(1, len(picture) // 10)
        nearer = (float(picture[-rows:].mean()) - float(picture[:rows].mean())) / 255
        if settings.invert == "auto" and nearer < -LOOKS_WRONG:
            return picture, (
                "is farther away at its lower border than at its upper one: white is near; if near "
                "and far are swapped, say settings: {invert: true}, and for distances {meaning: "
                "metres}"
            )
        return picture, ""

    def values_picture(self, values: np.ndarray, settings: DepthSettings) -> NDArray[np.uint8]:
        """Numbers of any unit, stretched as every map of depth is (`normalise`).

        Distances become inverse depth first. What is not finite, and of distances what is 0 or
        less, is unknown and becomes the farthest.
        """
        known = np.isfinite(values)
        if settings.meaning == "metres":
            known &= values > 0
        if not known.any():
            raise ControlError("it holds no depth at all")
        found = np.asarray(values[known], np.float64)
        inverse = 1 / found if settings.meaning == "metres" else found
        depth = np.full(values.shape, inverse.min())
        depth[known] = inverse
        return white_on_black(normalise(depth)).picture

    def from_picture(self, picture: NDArray[np.uint8]) -> ControlMap:
        """Read grey values as inverse depth, white is near; they are not stretched again."""
        return white_on_black((as_rgb(picture).mean(axis=2) / 255).astype(np.float32))


def normalise(depth: np.ndarray) -> NDArray[np.float32]:
    """Stretch inverse depth (H×W) to [0, 1] between its 1st and 99th percentile, and clip it.

    A flat map becomes all 0. Raises ControlError if a value is not finite.
    """
    if not np.isfinite(depth).all():
        raise ControlError("the depth network returned values which are not finite")
    low, high = np.percentile(depth.astype(np.float64), PERCENTILES)
    # A small thing before a flat wall can lie wholly outside the percentiles.
    if high - low <= FLAT * max(1.0, abs(low), abs(high)):
        low, high = float(depth.min()), float(depth.max())
    if high - low <= FLAT * max(1.0, abs(low), abs(high)):
        return np.zeros(depth.shape, np.float32)
    return np.clip((depth - low) / (high - low), 0, 1).astype(np.float32)


CONTROL = DepthControl()
