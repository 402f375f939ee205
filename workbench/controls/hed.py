"""Soft edges: outlines with their strength, as the HED network draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from workbench.controls._soft import (
    compare_soft,
    read_maps,
    soft_map_from,
    soft_metrics,
)
from workbench.controls.base import Control, ControlMap, ControlSettings, Networks, white_on_black
from workbench.metrics.spec import Reading


class HedSettings(ControlSettings):
    """Settings of the comparison; the network is the family's.

    tolerance: distance, as a fraction of the map's diagonal, within which two edges count as the
        same.
    """

    comparison_only: ClassVar[frozenset[str]] = frozenset({"tolerance"})

    tolerance: float = Field(default=0.0075, ge=0, le=0.1)


class HedControl(Control[HedSettings]):
    """Soft edges (Xie and Tu 2015). The map's data are float32 H×W in [0, 1], 1 a sure edge."""

    name = "hed"
    label = "Soft edges (HED)"
    settings_type = HedSettings
    primary = "hed_f1"
    needs = ("edges",)
    metrics = soft_metrics("hed", "Soft-edge")

    def extract(
        self, images: Sequence[NDArray[np.uint8]], settings: HedSettings, networks: Networks
    ) -> list[ControlMap]:
        """One map per picture, in one call of the network for each size among the pictures.

        Raises ControlError if `networks` has no "edges" or it returns something else than maps.
        """
        return [white_on_black(edges) for edges in read_maps(images, networks, "edges", self.label)]

    def compare(
        self, preds: ControlMap, target: ControlMap, settings: HedSettings
    ) -> dict[str, Reading]:
        """All three readings. A wanted map without edges leaves nothing to compare."""
        return compare_soft(self.name, preds, target, settings.tolerance)

    def from_picture(self, picture: NDArray[np.uint8]) -> ControlMap:
        """Read white edges on black; the brightness is the strength."""
        return soft_map_from(picture)


CONTROL = HedControl()
