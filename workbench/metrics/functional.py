"""Every metric as a function of `preds` and `target`; the classes are in `workbench.metrics`.

The functions that end in `_scores` read several metrics off one pass over a picture.
"""

from workbench.metrics.clip import clip_diversity, clip_similarity, tag_obeyed, tag_probability
from workbench.metrics.depth import (
    abs_rel,
    delta_1_25,
    depth_scores,
    pearson,
    rmse_255,
    si_rmse,
)
from workbench.metrics.edges import (
    default_tolerance,
    edge_f1,
    edge_precision,
    edge_recall,
    edge_scores,
)
from workbench.metrics.normals import mean_angle, median_angle, normal_scores, within
from workbench.metrics.pose import oks_matrix, pose_found, pose_oks, pose_pck, pose_scores
from workbench.metrics.segmentation import mean_iou, pixel_accuracy, segmentation_scores
from workbench.metrics.segments import (
    segment_f1,
    segment_precision,
    segment_recall,
    segment_scores,
)
from workbench.metrics.structure import ms_ssim, ssim
from workbench.metrics.thinning import thin

__all__ = [
    "abs_rel",
    "clip_diversity",
    "clip_similarity",
    "default_tolerance",
    "delta_1_25",
    "depth_scores",
    "edge_f1",
    "edge_precision",
    "edge_recall",
    "edge_scores",
    "mean_angle",
    "mean_iou",
    "median_angle",
    "ms_ssim",
    "normal_scores",
    "oks_matrix",
    "pearson",
    "pixel_accuracy",
    "pose_found",
    "pose_oks",
    "pose_pck",
    "pose_scores",
    "rmse_255",
    "segment_f1",
    "segment_precision",
    "segment_recall",
    "segment_scores",
    "segmentation_scores",
    "si_rmse",
    "ssim",
    "tag_obeyed",
    "tag_probability",
    "thin",
    "within",
]
