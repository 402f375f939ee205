"""Straight lines: segments found by M-LSD, by OpenCV's LSD or by the Hough transform."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator

from workbench.controls import _segments
from workbench.controls.base import (
    Control,
    ControlError,
    ControlMap,
    DrawnSettings,
    Networks,
    all_nothing,
    check_pictures,
)
from workbench.images import as_rgb
from workbench.metrics.spec import MetricSpec, Reading

SHORTEST_PIECE = 0.02
"""Of what the Hough transform finds, as a share of the diagonal: pieces are joined first, and only
then is `min_length` asked of them."""


class LinesSettings(DrawnSettings):
    """Settings of the detectors and of the comparison. Lengths are shares of the diagonal.

    method: "lsd", the line segment detector; "hough", Canny edges and the probabilistic Hough
        transform; or "mlsd", the family's network "lines", whose segments are taken as they are.
    min_length: shorter segments are left out, after joining (lsd, hough).
    merge_angle, merge_apart, merge_gap: segments are joined whose directions differ by at most so
        many degrees, which lie at most so far beside each other and leave at most such a gap
        between them (lsd, hough).
    low, high: thresholds of Canny (hough).
    votes, max_break: how much edge a line needs, and the widest break in it (hough).
    tolerance: how far a pixel of a drawn line may lie from the other map's lines.
    end_tolerance: how far both ends of a segment may lie from those of its partner.
    """

    comparison_only: ClassVar[frozenset[str]] = frozenset({"tolerance", "end_tolerance"})

    method: Literal["mlsd", "lsd", "hough"] = "lsd"
    min_length: float = Field(default=0.04, ge=0, le=1)
    merge_angle: float = Field(default=5.0, ge=0, le=45)
    merge_apart: float = Field(default=0.008, ge=0, le=0.1)
    merge_gap: float = Field(default=0.01, ge=0, le=0.1)
    low: float = Field(default=50.0, ge=0, le=2040)
    high: float = Field(default=100.0, ge=0, le=2040)
    votes: float = Field(default=0.05, gt=0, le=1)
    max_break: float = Field(default=0.01, ge=0, le=0.1)
    tolerance: float = Field(default=0.01, ge=0, le=0.1)
    end_tolerance: float = Field(default=0.03, ge=0, le=0.2)

    @field_validator("high")
    @classmethod
    def _high_not_below_low(cls, value: float, info: ValidationInfo) -> float:
        low = info.data.get("low")
        if low is not None and value < low:
            raise ValueError(f"must not lie below low ({low:g})")
        return value


class LinesControl(Control[LinesSettings]):
    """Straight lines. The picture shows them white on black, as the annotator of M-LSD draws them.

    The data are float32 K×4, x1, y1, x2, y2 of each segment as shares of the picture's width and
    height, so that maps of unequal sizes compare: both are drawn anew at the size of the wanted
    one.

    F1 of the drawn lines stands for adherence. Detectors break and prolong lines at the slightest
    change, which moves their ends, but not the lines. On 40 rendered scenes at 128 px (LSD) the
    pass through the embedded VAE has 0.82 and an unrelated scene 0.26, 8.3 standard deviations
    apart; F1 of whole segments has 0.63 and 0.11, 6.1 apart, and SSIM 0.79 and 0.48, 5.5 apart.
    """

    name = "lines"
    is_lines = True
    label = "Straight lines"
    settings_type = LinesSettings
    primary = "lines_f1"
    metrics = (
        MetricSpec.of(
            "EdgeF1",
            "lines_f1",
            "Lines F1 (drawn)",
            "F of line pixels within 0.01 × diagonal (the heat map F of wireframe "
            "parsing, Huang et al. 2018), without one-to-one matching of pixels",
        ),
        MetricSpec.of(
            "SegmentF1",
            "lines_segment_f1",
            "Segment F1",
            "F1 of segments with both ends within 0.03 × diagonal, matched one to one",
        ),
        MetricSpec.of(
            "SegmentPrecision",
            "lines_segment_precision",
            "Segment precision",
            "share of the sample's segments with a partner among the wanted ones",
        ),
        MetricSpec.of(
            "SegmentRecall",
            "lines_segment_recall",
            "Segment recall",
            "share of the wanted segments with a partner among the sample's",
        ),
        MetricSpec.of(
            "MapSSIM",
            "lines_ssim",
            "Lines SSIM",
            "Uni-ControlNet (Zhao et al. 2023): SSIM of the drawn maps",
        ),
    )

    def needs_for(self, settings: LinesSettings) -> tuple[str, ...]:
        """The network "lines" for M-LSD, none for the others."""
        return ("lines",) if settings.method == "mlsd" else ()

    def extract(
        self, images: Sequence[NDArray[np.uint8]], settings: LinesSettings, networks: Networks
    ) -> list[ControlMap]:
        """One map per picture.

        Raises ControlError if M-LSD is asked for and `networks` has no "lines", or it returns
        something else than one array K×4 for each picture.
        """
        check_pictures(images)
        if settings.method == "mlsd":
            network = networks.get("lines")
            if network is None:
                raise ControlError(
                    "lines by the method mlsd need the network 'lines', and this model family "
                    "lends none; the methods lsd and hough need no network"
                )
            found = _ask(network, images)
        else:
            found = [_detect(image, settings) for image in images]
        return [
            _control_map(segments, image.shape[0], image.shape[1])
            for segments, image in zip(found, images, strict=True)
        ]

    def nothing_in(self, target: ControlMap, settings: LinesSettings) -> str:
        """See `Control.nothing_in`: a map without lines."""
        return "" if len(target.data) else "the wanted map has no straight lines"

    def agreement(self, preds: ControlMap, target: ControlMap, settings: LinesSettings) -> Reading:
        """F1 of the drawn lines. A wanted map without lines leaves nothing to compare."""
        from workbench.metrics.edges import default_tolerance, edge_scores

        if reason := self.nothing_in(target, settings):
            return Reading.nothing(reason)
        height, width = target.picture.shape[:2]
        pens = [
            _segments.draw(_in_pixels(m.data, height, width), height, width, smooth=False) > 0
            for m in (preds, target)
        ]
        tolerance = default_tolerance(height, width, settings.tolerance)
        return Reading(edge_scores(pens[0], pens[1], tolerance).f1)

    def same_both_ways(self, a: ControlMap, b: ControlMap) -> bool:
        """F1 has no direction, where both maps have lines and are drawn at one size."""
        return a.picture.shape == b.picture.shape and bool(len(a.data) and len(b.data))

    def compare(
        self, preds: ControlMap, target: ControlMap, settings: LinesSettings
    ) -> dict[str, Reading]:
        """All five readings. A wanted map without lines leaves nothing to compare."""
        from workbench.metrics.segments import segment_scores
        from workbench.metrics.structure import SSIM_SIDE, ssim

        f1 = self.agreement(preds, target, settings)
        if f1.is_nan:
            return all_nothing(self.metrics, f1.reason)
        height, width = target.picture.shape[:2]
        found, truth = (_in_pixels(m.data, height, width) for m in (preds, target))
        segments = segment_scores(found, truth, settings.end_tolerance * math.hypot(height, width))
        greys = [_segments.draw(s, height, width) / np.float64(255) for s in (found, truth)]
        likeness = ssim(greys[0], greys[1])
        return {
            "lines_f1": f1,
            "lines_segment_f1": Reading(segments.f1),
            "lines_segment_precision": (
                Reading(segments.precision)
                if len(found)
                else Reading.nothing("the compared map has no straight lines")
            ),
            "lines_segment_recall": Reading(segments.recall),
            "lines_ssim": (
                Reading.nothing(f"SSIM needs maps of at least {SSIM_SIDE} pixels a side")
                if math.isnan(likeness)
                else Reading(likeness)
            ),
        }

    def from_picture(self, picture: NDArray[np.uint8]) -> ControlMap:
        """Read segments back from lines drawn on a plain ground; see `_segments.read`.

        Segments shorter than 5 px are lost. Of maps of 128 px 99 % of the segments come back with
        both ends within the tolerance, and hardly a pixel of their lines is missed. Lines that
        cross come back whole; among many that cross at small angles some ends are misplaced, and
        slanted lines drawn without smoothing below 512 px may come back in pieces.
        """
        drawing = as_rgb(picture)
        height, width = drawing.shape[:2]
        found = _segments.read(drawing.mean(axis=2).astype(np.uint8))
        return ControlMap(drawing, _shares(found, height, width))


def _detect(image: NDArray[np.uint8], settings: LinesSettings) -> _segments.Segments:
    import cv2

    diagonal = math.hypot(image.shape[0], image.shape[1])
    shortest = settings.min_length * diagonal
    if settings.method == "hough":
        found = _segments.hough(
            image,
            settings.low,
            settings.high,
            settings.votes * diagonal,
            min(settings.min_length, SHORTEST_PIECE) * diagonal,
            settings.max_break * diagonal,
        )
    else:
        grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        found = _segments.lsd(np.asarray(grey, np.uint8))
    whole = _segments.merge(
        found,
        settings.merge_angle,
        settings.merge_apart * diagonal,
        settings.merge_gap * diagonal,
    )
    return whole[_segments.lengths(whole) >= shortest]


def _ask(
    network: Callable[[np.ndarray], Any], images: Sequence[NDArray[np.uint8]]
) -> list[_segments.Segments]:
    """The network's segments of each picture, in one call for each size among them."""
    answers: dict[int, _segments.Segments] = {}
    for shape in dict.fromkeys(image.shape for image in images):
        places = [place for place, image in enumerate(images) if image.shape == shape]
        raw = list(network(np.stack([images[place] for place in places])))
        if len(raw) != len(places):
            raise ControlError(
                f"the network 'lines' returned {len(raw)} lists for {len(places)} pictures {shape}"
            )
        for place, lines in zip(places, raw, strict=True):
            found = np.asarray(lines, np.float64)
            if not found.size:
                found = np.zeros((0, 4))
            if found.ndim != 2 or found.shape[1] != 4 or not np.isfinite(found).all():
                raise ControlError(
                    f"the network 'lines' returned {found.shape}, not finite segments K×4"
                )
            answers[place] = found
    return [answers[place] for place in range(len(images))]


def _shares(segments: _segments.Segments, height: int, width: int) -> NDArray[np.float32]:
    return (segments / np.array([width, height] * 2)).clip(0, 1).astype(np.float32)


def _in_pixels(shares: np.ndarray, height: int, width: int) -> _segments.Segments:
    return np.asarray(shares * np.array([width, height] * 2), np.float64)


def _control_map(segments: _segments.Segments, height: int, width: int) -> ControlMap:
    shares = _shares(segments, height, width)
    grey = _segments.draw(_in_pixels(shares, height, width), height, width)
    return ControlMap(np.repeat(grey[:, :, None], 3, axis=2), shares)


CONTROL = LinesControl()
