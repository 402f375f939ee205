"""Semantic segmentation: what every pixel shows, as a map of classes in the field's colours."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from workbench.controls._batches import ask
from workbench.controls._classes import ClassList, ade20k, paperdoll
from workbench.controls.base import (
    Control,
    ControlError,
    ControlMap,
    ControlSettings,
    LegendEntry,
    Networks,
)
from workbench.images import as_rgb, fit_image, resize_map
from workbench.metrics.spec import MetricSpec, Reading


class Classes(StrEnum):
    """The list of classes which the network's numbers are from."""

    PAPERDOLL = "paperdoll"
    ADE20K = "ade20k"


class SegmentationSettings(ControlSettings):
    """Settings of the segmentation.

    classes: the list of classes which the network's numbers are from, with its names and
        colours: the embedded world's `paperdoll`, or `ade20k` as the ControlNets for photographs
        know it.
    """

    classes: Classes = Classes.PAPERDOLL


class SegmentationControl(Control[SegmentationSettings]):
    """Semantic segmentation. The map's data are uint8 H×W, class numbers.

    Its picture paints every class in its colour. Class maps are never interpolated: another size
    takes the nearest pixel. Classes which share a colour (road and skyscraper in ADE20K) count as
    one where maps are compared, for the control picture cannot tell them apart.
    """

    name = "segmentation"
    label = "Semantic segmentation"
    settings_type = SegmentationSettings
    primary = "segmentation_miou"
    needs = ("segmentation",)
    metrics = (
        MetricSpec.of(
            "MeanIoU",
            "segmentation_miou",
            "Segmentation mIoU",
            "mean IoU (Everingham et al. 2010) over the classes present in the wanted "
            "map; a class only the sample has costs the classes whose place it takes",
        ),
        MetricSpec.of(
            "PixelAccuracy",
            "segmentation_accuracy",
            "Segmentation pixel accuracy",
            "share of pixels with the wanted class",
        ),
    )

    def extract(
        self,
        images: Sequence[NDArray[np.uint8]],
        settings: SegmentationSettings,
        networks: Networks,
    ) -> list[ControlMap]:
        """One map per picture, in one call of the network for each size among the pictures."""
        classes = _class_list(settings.classes)
        maps = []
        raw = ask(images, networks, "segmentation", "segmentation", dims=2)
        for image, labels in zip(images, raw, strict=True):
            if not np.issubdtype(labels.dtype, np.integer):
                raise ControlError(
                    f"the network 'segmentation' returned {labels.dtype}, not class numbers"
                )
            least, most = int(labels.min()), int(labels.max())
            if least < 0 or most >= len(classes.names):
                raise ControlError(
                    f"the network 'segmentation' found class {most if least >= 0 else least}, but "
                    f"{settings.classes} has classes 0 to {len(classes.names) - 1}; choose its "
                    "list of classes by the setting 'classes'"
                )
            sized = resize_map(labels.astype(np.uint8), image.shape[:2], labels=True)
            maps.append(ControlMap(picture=classes.paint(sized), data=sized))
        return maps

    def nothing_in(self, target: ControlMap, settings: SegmentationSettings) -> str:
        """See `Control.nothing_in`: every map has a class."""
        return ""

    def compare(
        self, preds: ControlMap, target: ControlMap, settings: SegmentationSettings
    ) -> dict[str, Reading]:
        """Both readings. There is always something to compare: every pixel has a class."""
        from workbench.metrics.segmentation import segmentation_scores

        classes = _class_list(settings.classes)
        truth = classes.folded(target.data)
        found = classes.folded(resize_map(preds.data, truth.shape[:2], labels=True))
        scores = segmentation_scores(found, truth, len(classes.names))
        return {
            "segmentation_miou": Reading(scores.miou),
            "segmentation_accuracy": Reading(scores.accuracy),
        }

    def classes(self, settings: SegmentationSettings) -> ClassList:
        """The classes of its maps under these settings, with their names and colours."""
        return _class_list(settings.classes)

    def from_picture(self, picture: NDArray[np.uint8]) -> ControlMap:
        """Read a painted map in the colours of the default list of classes."""
        return self.from_picture_for(picture, SegmentationSettings())

    def from_picture_for(
        self, picture: NDArray[np.uint8], settings: SegmentationSettings
    ) -> ControlMap:
        """Read a painted map: every pixel has the class whose colour is nearest."""
        classes = _class_list(settings.classes)
        labels = classes.nearest(as_rgb(picture))
        return ControlMap(picture=classes.paint(labels), data=labels)

    def fit_drawing(
        self, picture: NDArray[np.uint8], size: int, settings: SegmentationSettings
    ) -> NDArray[np.uint8]:
        """Classes are read at full size, and each pixel takes that of the nearest one."""
        square = fit_image(picture, min(picture.shape[:2]))
        labels = self.from_picture_for(square, settings).data
        return _class_list(settings.classes).paint(resize_map(labels, (size, size), labels=True))

    def legend(self, found: ControlMap, settings: SegmentationSettings) -> list[LegendEntry]:
        """The classes which a map holds, the largest first (of equals by number)."""
        known = _class_list(settings.classes)
        counts = np.bincount(found.data.ravel(), minlength=len(known.names))
        entries = []
        for number in np.argsort(-counts, kind="stable"):
            if counts[number]:
                red, green, blue = (int(value) for value in known.palette[number])
                share = float(counts[number] / found.data.size)
                entries.append(LegendEntry(known.names[number], (red, green, blue), share))
        return entries


def _class_list(classes: Classes) -> ClassList:
    return ade20k() if classes is Classes.ADE20K else paperdoll()


CONTROL = SegmentationControl()
