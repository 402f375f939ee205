"""Canny edges: thin outlines found by OpenCV, compared pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator

from workbench.controls._edges import matched_f1, matched_metric, noise_f1
from workbench.controls.base import (
    Control,
    ControlMap,
    DrawnSettings,
    Networks,
    all_nothing,
    check_pictures,
    white_on_black,
)
from workbench.images import as_rgb, fit_image, resize_map
from workbench.metrics.spec import MetricSpec, Reading

TOLERANCE = 0.0075


class CannySettings(DrawnSettings):
    """Settings of the Canny edge detector and of the comparison.

    low, high: thresholds on the gradient of 8-bit pixels (OpenCV, aperture 3, L1 norm).
    blur: standard deviation in pixels of a Gaussian blur before it, 0 for none.
    tolerance: distance, as a fraction of the map's diagonal, within which two edge pixels of two
        maps count as the same; 0 for none. None stands for the default.
    """

    comparison_only: ClassVar[frozenset[str]] = frozenset({"tolerance"})

    low: float = Field(default=100.0, ge=0, le=2040)
    high: float = Field(default=200.0, ge=0, le=2040)
    blur: float = Field(default=0.0, ge=0, le=20)
    tolerance: float = Field(default=TOLERANCE, ge=0, le=0.1)

    @field_validator("tolerance", mode="before")
    @classmethod
    def _default_tolerance(cls, value: Any) -> Any:
        return TOLERANCE if value is None else value

    @field_validator("high")
    @classmethod
    def _high_not_below_low(cls, value: float, info: ValidationInfo) -> float:
        low = info.data.get("low")
        if low is not None and value < low:
            raise ValueError(f"must not lie below low ({low:g})")
        return value


class CannyControl(Control[CannySettings]):
    """Canny edges. The map's data are bool H×W, its picture is white on black.

    The detector works on the three colour channels and takes the strongest gradient, as the
    annotator of ControlNet and the examples of diffusers do.
    """

    name = "canny"
    is_lines = True
    label = "Canny edges"
    settings_type = CannySettings
    primary = "canny_f1_matched"
    former = "canny_f1"
    metrics = (
        matched_metric("canny", "Canny", "edge pixels", "0.0075"),
        MetricSpec.of(
            "EdgeF1",
            "canny_f1",
            "Canny F1 (tolerant)",
            "F1 of edge pixels found within 0.0075 × diagonal (the tolerance of BSDS, "
            "Martin et al. 2004); many may find the same one",
        ),
        MetricSpec.of(
            "EdgePrecision",
            "canny_precision",
            "Canny precision (tolerant)",
            "share of the sample's edge pixels within the tolerance of the wanted ones",
        ),
        MetricSpec.of(
            "EdgeRecall",
            "canny_recall",
            "Canny recall (tolerant)",
            "share of the wanted edge pixels within the tolerance of the sample's",
        ),
        MetricSpec.of(
            "EdgeF1",
            "canny_f1_strict",
            "Canny F1 (exact pixels)",
            "ControlNet++ (Li et al. 2024): F1 over pixels, no tolerance",
        ),
    )

    def extract(
        self, images: Sequence[NDArray[np.uint8]], settings: CannySettings, networks: Networks
    ) -> list[ControlMap]:
        """One map per picture; no network is used. Pictures may differ in size."""
        import cv2

        check_pictures(images)
        maps = []
        for image in images:
            picture = np.ascontiguousarray(image)
            if settings.blur > 0:
                blurred = cv2.GaussianBlur(picture, (0, 0), settings.blur)
                picture = np.asarray(blurred, dtype=np.uint8)
            maps.append(white_on_black(cv2.Canny(picture, settings.low, settings.high) > 0))
        return maps

    def nothing_in(self, target: ControlMap, settings: CannySettings) -> str:
        """See `Control.nothing_in`: a map without edges."""
        return "" if target.data.any() else "the wanted map has no edges"

    def agreement(self, preds: ControlMap, target: ControlMap, settings: CannySettings) -> Reading:
        """F1 of edges paired one to one. A wanted map without edges leaves nothing to compare."""
        truth = target.data
        if reason := self.nothing_in(target, settings):
            return Reading.nothing(reason)
        found = resize_map(preds.data, truth.shape[:2])
        return Reading(matched_f1(found, truth, settings.tolerance))

    def same_both_ways(self, a: ControlMap, b: ControlMap) -> bool:
        """Pairs have no direction, where both maps have some and no map is resampled."""
        return a.data.shape == b.data.shape and bool(a.data.any() and b.data.any())

    def noise(self, target: ControlMap, settings: CannySettings) -> Reading:
        """F1 of white noise. A wanted map without edges leaves nothing to compare."""
        if reason := self.nothing_in(target, settings):
            return Reading.nothing(reason)
        return Reading(noise_f1(target.data, settings.tolerance))

    def compare(
        self, preds: ControlMap, target: ControlMap, settings: CannySettings
    ) -> dict[str, Reading]:
        """All five readings. A wanted map without edges leaves nothing to compare."""
        from workbench.metrics.edges import default_tolerance, edge_scores

        truth, matched = target.data, self.agreement(preds, target, settings)
        if matched.is_nan:
            return all_nothing(self.metrics, matched.reason)
        found = resize_map(preds.data, truth.shape[:2])
        pixels = default_tolerance(truth.shape[0], truth.shape[1], settings.tolerance)
        tolerant, strict = edge_scores(found, truth, pixels), edge_scores(found, truth)
        return {
            "canny_f1_matched": matched,
            "canny_f1": Reading(tolerant.f1),
            "canny_precision": (
                Reading(tolerant.precision)
                if found.any()
                else Reading.nothing("the compared map has no edges")
            ),
            "canny_recall": Reading(tolerant.recall),
            "canny_f1_strict": Reading(strict.f1),
        }

    def from_picture(self, picture: NDArray[np.uint8]) -> ControlMap:
        """Read white lines on black; pixels whose mean channel is at least 128 are edges."""
        return white_on_black(as_rgb(picture).mean(axis=2) >= 128)

    def fit_drawing(
        self, picture: NDArray[np.uint8], size: int, settings: CannySettings
    ) -> NDArray[np.uint8]:
        """Edges are read at full size, and every one of them stays, however thin."""
        square = fit_image(picture, min(picture.shape[:2]))
        return white_on_black(resize_map(self.from_picture(square).data, (size, size))).picture


CONTROL = CannyControl()
