"""Scribble: thick strokes where the outlines are, found in soft edges or drawn by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from workbench.controls._edges import matched_f1, matched_metric, noise_f1
from workbench.controls._soft import read_maps, scaled, too_small
from workbench.controls.base import (
    Control,
    ControlError,
    ControlMap,
    ControlSettings,
    Networks,
    all_nothing,
    white_on_black,
)
from workbench.images import as_rgb, fit_image, resize_map
from workbench.metrics.spec import MetricSpec, Reading

_INK = 4
_DIRECTIONS = (
    ((0, 0, 0), (1, 1, 1), (0, 0, 0)),
    ((0, 1, 0), (0, 1, 0), (0, 1, 0)),
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
)


class ScribbleSettings(ControlSettings):
    """Settings of the strokes and of the comparison.

    threshold: strength from 0 to 255 above which a soft edge becomes a stroke.
    continued: strength above which a stroke goes on along its edge; None stands for `threshold`,
        as in ControlNet's own strokes, which break where an edge grows faint. Less suits networks
        that give true probabilities, as that of the embedded world.
    smoothing, thickness: standard deviations of the blur before edges are thinned and of the one
        which thickens them, in pixels of a picture whose shorter side is 512; they grow and shrink
        with the shorter side.
    tolerance: distance, as a fraction of the map's diagonal, within which two strokes count as
        the same.
    """

    comparison_only: ClassVar[frozenset[str]] = frozenset({"tolerance"})

    threshold: float = Field(default=127.0, ge=0, lt=255)
    continued: float | None = Field(default=None, ge=0, lt=255)
    smoothing: float = Field(default=3.0, gt=0, le=30)
    thickness: float = Field(default=3.0, gt=0, le=20)
    tolerance: float = Field(default=0.02, ge=0, le=0.1)


class ScribbleControl(Control[ScribbleSettings]):
    """Scribbles. The map's data are bool H×W, its picture is white on black."""

    name = "scribble"
    is_lines = True
    label = "Scribble"
    settings_type = ScribbleSettings
    primary = "scribble_f1_matched"
    former = "scribble_f1"
    needs = ("edges",)
    metrics = (
        matched_metric("scribble", "Scribble", "the strokes' middle lines", "0.02"),
        MetricSpec.of(
            "EdgeF1",
            "scribble_f1",
            "Scribble F1 (tolerant)",
            "F1 of the strokes' middle lines found within 0.02 × diagonal",
        ),
        MetricSpec.of(
            "EdgePrecision",
            "scribble_precision",
            "Scribble precision (tolerant)",
            "share of the sample's middle lines within the tolerance of the wanted ones",
        ),
        MetricSpec.of(
            "EdgeRecall",
            "scribble_recall",
            "Scribble recall (tolerant)",
            "share of the wanted middle lines within the tolerance of the sample's",
        ),
        MetricSpec.of(
            "MapSSIM",
            "scribble_ssim",
            "Scribble SSIM",
            "SSIM of the two maps as drawn (Wang et al. 2004, Gaussian window σ 1.5)",
        ),
    )

    def extract(
        self, images: Sequence[NDArray[np.uint8]], settings: ScribbleSettings, networks: Networks
    ) -> list[ControlMap]:
        """One map per picture, in one call of the network for each size among the pictures."""
        return [
            white_on_black(strokes(edges, settings))
            for edges in read_maps(images, networks, "edges", self.label)
        ]

    def nothing_in(self, target: ControlMap, settings: ScribbleSettings) -> str:
        """See `Control.nothing_in`: a map without strokes."""
        return "" if target.data.any() else "the wanted map has no strokes"

    def agreement(
        self, preds: ControlMap, target: ControlMap, settings: ScribbleSettings
    ) -> Reading:
        """F1 of strokes paired one to one. A wanted map without strokes leaves nothing to
        compare."""
        if reason := self.nothing_in(target, settings):
            return Reading.nothing(reason)
        return Reading(matched_f1(*_middles(preds, target), settings.tolerance))

    def same_both_ways(self, a: ControlMap, b: ControlMap) -> bool:
        """Pairs have no direction, where both maps have some and no map is resampled."""
        return a.data.shape == b.data.shape and bool(a.data.any() and b.data.any())

    def noise(self, target: ControlMap, settings: ScribbleSettings) -> Reading:
        """F1 of white noise. A wanted map without strokes leaves nothing to compare."""
        if reason := self.nothing_in(target, settings):
            return Reading.nothing(reason)
        return Reading(noise_f1(_middles(target, target)[1], settings.tolerance))

    def compare(
        self, preds: ControlMap, target: ControlMap, settings: ScribbleSettings
    ) -> dict[str, Reading]:
        """All five readings. A wanted map without strokes leaves nothing to compare."""
        from workbench.metrics.edges import default_tolerance, edge_scores
        from workbench.metrics.structure import SSIM_SIDE, ssim

        truth = target.data
        if reason := self.nothing_in(target, settings):
            return all_nothing(self.metrics, reason)
        found = resize_map(preds.data, truth.shape[:2])
        lines, wanted = _middles(preds, target)
        pixels = default_tolerance(truth.shape[0], truth.shape[1], settings.tolerance)
        scores = edge_scores(lines, wanted, pixels)
        large = min(truth.shape) >= SSIM_SIDE
        return {
            "scribble_f1_matched": Reading(matched_f1(lines, wanted, settings.tolerance)),
            "scribble_f1": Reading(scores.f1),
            "scribble_precision": (
                Reading(scores.precision)
                if found.any()
                else Reading.nothing("the compared map has no strokes")
            ),
            "scribble_recall": Reading(scores.recall),
            "scribble_ssim": Reading(ssim(found, truth)) if large else too_small(SSIM_SIDE),
        }

    def from_picture(self, picture: NDArray[np.uint8]) -> ControlMap:
        """Read strokes that were stored or drawn by hand, in any colour.

        A picture whose mean is at least 127.5 is light paper: strokes are the pixels with a
        channel below 127 (the rule of ControlNet's own scribble page). Any other is dark, and
        strokes are the pixels with a channel above 127. They are taken as thick as they are.
        """
        rgb = as_rgb(picture)
        if float(rgb.mean()) >= 127.5:
            return white_on_black(rgb.min(axis=2) < 127)
        return white_on_black(rgb.max(axis=2) > 127)

    def turned(
        self, picture: NDArray[np.uint8], settings: ScribbleSettings
    ) -> tuple[NDArray[np.uint8], str]:
        """As it is: strokes are read on light paper and on dark, see `from_picture`."""
        return picture, ""

    def fit_drawing(
        self, picture: NDArray[np.uint8], size: int, settings: ScribbleSettings
    ) -> NDArray[np.uint8]:
        """Strokes are read at full size, and every one of them stays, however thin."""
        square = fit_image(picture, min(picture.shape[:2]))
        drawn = resize_map(self.from_picture(square).data, (size, size))
        if drawn.mean() > 0.5:
            raise ControlError("its strokes cover more than half of it")
        return white_on_black(drawn).picture


def _middles(preds: ControlMap, target: ControlMap) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The middle lines of both maps' strokes, bool H×W of the target's size: thick strokes would
    forgive another half of their width."""
    from workbench.metrics.thinning import thin, thin_again

    return thin(resize_map(preds.data, target.data.shape[:2])), thin_again(target.data)


def strokes(edges: NDArray[np.float32], settings: ScribbleSettings) -> NDArray[np.bool_]:
    """Strokes, bool H×W, from soft edges in [0, 1], H×W.

    The way of ControlNet's scribble page (lllyasviel/ControlNet, gradio_fake_scribble2image.py,
    with `nms` of annotator/util.py): smooth, keep the pixels which no neighbour exceeds in at
    least one of four directions and which exceed the threshold, blur them, and draw all that is
    then more than 4 of 255. There the blurs have σ 3 and the picture's shorter side is 512.
    With `continued` below the threshold fainter pixels are kept too if they hang together with a
    kept one, as Canny (1986) does: HED draws boldly, but other networks give true probabilities,
    and their lines would break.
    """
    import cv2

    grey = np.rint(edges * 255).astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), scaled(settings.smoothing, edges.shape))
    ridge = np.zeros(edges.shape, np.bool_)
    for direction in _DIRECTIONS:
        ridge |= cv2.dilate(smooth, np.array(direction, np.uint8)) == smooth
    sure = ridge & (smooth > settings.threshold)
    lower = settings.threshold if settings.continued is None else settings.continued
    _, parts = cv2.connectedComponents((sure | ridge & (smooth > lower)).view(np.uint8))
    kept = sure | (np.isin(parts, parts[sure]))
    dots = kept.astype(np.uint8) * np.uint8(255)
    spread = cv2.GaussianBlur(dots, (0, 0), scaled(settings.thickness, edges.shape))
    return np.asarray(spread > _INK, dtype=np.bool_)


CONTROL = ScribbleControl()
