"""Soft edges: outlines with their strength, as the HED network draws them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.controls._soft import SoftControl, SoftSettings, read_maps, soft_metrics
from workbench.controls.base import ControlMap, Networks, white_on_black


class HedSettings(SoftSettings):
    """Settings of the comparison; the network is the family's.

    tolerance: distance, as a fraction of the map's diagonal, within which two edges count as the
        same.
    """


class HedControl(SoftControl[HedSettings]):
    """Soft edges (Xie and Tu 2015). The map's data are float32 H×W in [0, 1], 1 a sure edge."""

    name = "hed"
    label = "Soft edges (HED)"
    settings_type = HedSettings
    primary = "hed_f1_matched"
    former = "hed_f1"
    needs = ("edges",)
    metrics = soft_metrics("hed", "Soft-edge")

    def extract(
        self, images: Sequence[NDArray[np.uint8]], settings: HedSettings, networks: Networks
    ) -> list[ControlMap]:
        """One map per picture, in one call of the network for each size among the pictures."""
        return [white_on_black(edges) for edges in read_maps(images, networks, "edges", self.label)]


CONTROL = HedControl()
