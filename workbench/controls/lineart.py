"""Line art: the lines of a drawing, white on black, found by one of three methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from workbench.controls._soft import SoftControl, SoftSettings, read_maps, scaled, soft_metrics
from workbench.controls.base import (
    ControlMap,
    Networks,
    check_pictures,
    white_on_black,
)

Method = Literal["standard", "realistic", "anime"]

_NETWORKS: dict[Method, str] = {"realistic": "lineart", "anime": "lineart_anime"}
_LEAST_SCALE = 16.0
_MEDIAN_GREY = 127.0


class LineartSettings(SoftSettings):
    """Settings of the line finder.

    method: "standard" needs no network; "realistic" and "anime" ask the model family for one.
    sigma: of "standard": standard deviation of the blur that a line is darker than, in pixels of
        a picture whose shorter side is 512; it grows and shrinks with the shorter side.
    threshold: of "standard": how much darker (0 to 255) a pixel must be to be among those whose
        median darkness becomes middle grey.
    tolerance: distance, as a fraction of the map's diagonal, within which two lines count as the
        same.
    """

    method: Method = "standard"
    sigma: float = Field(default=6.0, gt=0, le=50)
    threshold: float = Field(default=8.0, ge=0, le=255)


class LineartControl(SoftControl[LineartSettings]):
    """Line art. The map's data are float32 H×W in [0, 1], 1 on a line; its picture is white on
    black, as ControlNet wants it."""

    name = "lineart"
    label = "Line art"
    settings_type = LineartSettings
    primary = "lineart_f1_matched"
    former = "lineart_f1"
    metrics = soft_metrics("lineart", "Line-art")

    def needs_for(self, settings: LineartSettings) -> tuple[str, ...]:
        """The network of the method; none for "standard"."""
        needed = _NETWORKS.get(settings.method)
        return () if needed is None else (needed,)

    def extract(
        self, images: Sequence[NDArray[np.uint8]], settings: LineartSettings, networks: Networks
    ) -> list[ControlMap]:
        """One map per picture. A network is called once for each size among the pictures.

        Raises ControlError if the method's network is missing or returns something else than maps.
        """
        needed = _NETWORKS.get(settings.method)
        if needed is not None:
            who = f"{self.label} by the method {settings.method!r}"
            return [white_on_black(lines) for lines in read_maps(images, networks, needed, who)]
        check_pictures(images)
        found = []
        for image in images:
            lines = standard_lines(image, scaled(settings.sigma, image.shape), settings.threshold)
            found.append(white_on_black((lines / 255).astype(np.float32)))
        return found


def standard_lines(
    image: NDArray[np.uint8], sigma: float, threshold: float = 8.0
) -> NDArray[np.uint8]:
    """Lines darker than their surroundings, uint8 H×W, from a picture uint8 H×W×3.

    How much a pixel is darker than the picture blurred by `sigma` (pixels), in the channel where
    that is least, scaled so that the median of all darkness above `threshold` becomes 127. Small
    darkness is not blown up: the median counts as 16 at least. The algorithm of
    LineartStandardDetector in controlnet-aux (huggingface/controlnet_aux), there with sigma 6 on
    pictures whose shorter side is 512.
    """
    import cv2

    pixels = image.astype(np.float32)
    blurred = cv2.GaussianBlur(pixels, (0, 0), sigma)
    darkness = cv2.split(np.asarray(blurred) - pixels)
    darker = np.clip(np.minimum(np.minimum(*darkness[:2]), darkness[2]), 0, 255)
    counted = darker[darker > threshold]
    middle = max(_LEAST_SCALE, float(np.median(counted))) if counted.size else _LEAST_SCALE
    return np.asarray(np.clip(darker / middle * _MEDIAN_GREY, 0, 255), dtype=np.uint8)


CONTROL = LineartControl()
