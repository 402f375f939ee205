"""The audit of the embedded judge: how far from the renderer's truth are the maps it reads?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from workbench.controls import Networks
from workbench.paperdoll import Label, draw_in
from workbench.training.audit.figures import Figure
from workbench.training.data import WorldData
from workbench.training.judge import soft_edges

EDGE_THRESHOLDS = tuple(float(t) for t in np.linspace(0.05, 0.95, 19))
TRUE_EDGE = 0.5
"""Where the true soft edges reach this lies a border between two classes."""


def judge_figures(
    networks: Networks, held: Mapping[str, np.ndarray], style: str = "render"
) -> list[Figure]:
    """The judge's errors on scenes, one figure for each of its heads, without targets.

    networks: "depth", "normal", "segmentation", "edges" and "pose".
    held: the scenes, as `render_arrays` gives them; none the judge was trained on.
    style: the drawing style of the pictures shown to it.
    Joints count as right within 0.2 torso lengths, from the neck to the middle of the hips; those
    outside the picture are left out.
    """
    rgb = held["rgb"]
    if style != "render":
        rgb = draw_in(style, rgb, held["depth"], held["normal"], held["segmentation"])
    threshold, f1 = _ods(networks["edges"](rgb), _true_edges(held))
    rows = (
        ("depth AbsRel after scale and shift", _abs_rel(networks, rgb, held), ""),
        ("normals, mean error", _normal_angle(networks, rgb, held), "°"),
        ("segmentation mIoU", _miou(networks, rgb, held), ""),
        (f"soft edges ODS F1 (threshold {threshold:g})", f1, ""),
        ("joints PCK@0.2 of the torso", _pck(networks, rgb, held), ""),
    )
    about = f"judge, {len(rgb)} {style} scenes"
    return [Figure(f"{about}: {name}", value, unit=unit) for name, value, unit in rows]


def _pck(networks: Networks, rgb: np.ndarray, held: Mapping[str, np.ndarray]) -> float:
    from workbench.metrics.pose import PosePCK

    metric = PosePCK(reduction="pooled")
    for people, truth in zip(networks["pose"](rgb), held["skeleton"], strict=True):
        metric.update(people, truth[None])
    return float(metric.compute())


def _abs_rel(networks: Networks, rgb: np.ndarray, held: Mapping[str, np.ndarray]) -> float:
    from workbench.metrics.depth import abs_rel

    return abs_rel(networks["depth"](rgb), held["depth"].astype(np.float32))


def _normal_angle(networks: Networks, rgb: np.ndarray, held: Mapping[str, np.ndarray]) -> float:
    from workbench.metrics.normals import mean_angle

    return mean_angle(networks["normal"](rgb), held["normal"].astype(np.float32), "pooled")


def _miou(networks: Networks, rgb: np.ndarray, held: Mapping[str, np.ndarray]) -> float:
    from workbench.metrics.segmentation import mean_iou

    return mean_iou(networks["segmentation"](rgb), held["segmentation"], len(Label), "pooled")


def _true_edges(held: Mapping[str, np.ndarray]) -> np.ndarray:
    data = WorldData(**held)
    return np.stack([soft_edges(data, row) for row in range(len(data))])


def _ods(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """The best single threshold on soft edges N×H×W over the data set, and its F1.

    As in the Berkeley benchmark (Martin et al. 2004): binary maps are thinned, edge pixels count
    as found within 0.0075 × diagonal, and pixels are pooled over all pictures; its one-to-one
    matching is left out. True edges are borders of classes.
    """
    from workbench.metrics.edges import default_tolerance, edge_scores
    from workbench.metrics.thinning import thin

    wanted = np.stack([thin(row >= TRUE_EDGE) for row in truth])
    tolerance = default_tolerance(*wanted.shape[1:])
    scores = [
        edge_scores(np.stack([thin(row >= threshold) for row in found]), wanted, tolerance).f1
        for threshold in EDGE_THRESHOLDS
    ]
    best = int(np.nanargmax(scores)) if not np.isnan(scores).all() else 0
    return EDGE_THRESHOLDS[best], scores[best]
