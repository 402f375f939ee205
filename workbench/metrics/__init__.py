"""Metrics: torchmetrics `Metric` classes, with the same computations as functions in `functional`.

Each takes `preds` (what was made) and `target` (what it should be), NumPy arrays or tensors, of one
picture or several. The value of several pictures is the mean of their scores, as in the table of
a study; where the literature pools pixels, joints or segments instead, so does
`reduction="pooled"`. Names load when they are used, for they need torch.

>>> import torch
>>> from workbench.metrics import EdgeF1
>>> from workbench.metrics.functional import edge_f1
>>> target = torch.eye(8, dtype=torch.bool)
>>> metric = EdgeF1(tolerance=1.5)
>>> metric.update(target.roll(1, dims=1), target)
>>> float(metric.compute()) == edge_f1(target.roll(1, dims=1), target, tolerance=1.5)
True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from workbench.metrics.spec import MetricSpec, Reading

if TYPE_CHECKING:
    from workbench.metrics import functional
    from workbench.metrics.clip import ClipDiversity, ClipSimilarity, TagObeyed, TagProbability
    from workbench.metrics.depth import (
        DepthAbsRel,
        DepthDelta125,
        DepthPearson,
        DepthRMSE255,
        DepthSiRMSE,
    )
    from workbench.metrics.edges import EdgeF1, EdgePrecision, EdgeRecall
    from workbench.metrics.normals import NormalMeanAngle, NormalMedianAngle, NormalWithin
    from workbench.metrics.pose import PoseFound, PoseOKS, PosePCK
    from workbench.metrics.segmentation import MeanIoU, PixelAccuracy
    from workbench.metrics.segments import SegmentF1, SegmentPrecision, SegmentRecall
    from workbench.metrics.structure import MapMultiScaleSSIM, MapSSIM

__all__ = [
    "ClipDiversity",
    "ClipSimilarity",
    "DepthAbsRel",
    "DepthDelta125",
    "DepthPearson",
    "DepthRMSE255",
    "DepthSiRMSE",
    "EdgeF1",
    "EdgePrecision",
    "EdgeRecall",
    "MapMultiScaleSSIM",
    "MapSSIM",
    "MeanIoU",
    "MetricSpec",
    "NormalMeanAngle",
    "NormalMedianAngle",
    "NormalWithin",
    "PixelAccuracy",
    "PoseFound",
    "PoseOKS",
    "PosePCK",
    "Reading",
    "SegmentF1",
    "SegmentPrecision",
    "SegmentRecall",
    "TagObeyed",
    "TagProbability",
    "functional",
]

_MODULES = {
    "Clip": "clip", "Tag": "clip", "Depth": "depth", "Edge": "edges", "Map": "structure",
    "Normal": "normals", "Pose": "pose", "MeanIoU": "segmentation", "Pixel": "segmentation",
    "Segment": "segments",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "functional":
        return import_module("workbench.metrics.functional")
    if name in __all__:
        module = next(file for start, file in _MODULES.items() if name.startswith(start))
        return getattr(import_module(f"workbench.metrics.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
