"""From a scene to a picture with exact ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.paperdoll.canvas import Canvas
from workbench.paperdoll.figure import Parts, draw_figure
from workbench.paperdoll.scene import Scene
from workbench.paperdoll.scenery import FAR, draw_backdrop, draw_place, draw_weather

SIDE = 128
"""Pixels a side of a rendered picture."""
NEAREST = 1.3
"""Distance that inverse depth calls 1; the horizon is nearly 0, the sky is 0."""


@dataclass(frozen=True)
class Rendering:
    """A picture and what is true of it.

    Attributes:
        rgb: uint8 (128, 128, 3).
        depth: float32 (128, 128), inverse depth in [0, 1], 1 = near, 0 = sky.
        normal: float32 (128, 128, 3), unit vectors, x right, y up, z towards the viewer.
        segmentation: uint8 (128, 128), values of ``labels.Label``.
        skeleton: float32 (18, 3): x and y in pixels, then 1 where the joint is inside the picture.
    """

    rgb: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    segmentation: np.ndarray
    skeleton: np.ndarray


def render(scene: Scene, parts: Parts | None = None) -> Rendering:
    """Render a scene at twice the size and average it down (labels: every second pixel).

    Args:
        scene: the picture's content.
        parts: of the figure, to draw hybrids; None draws those that the scene's tags ask for.

    >>> from workbench.paperdoll import sample_scene
    >>> render(sample_scene(7)).rgb.shape
    (128, 128, 3)
    """
    canvas = Canvas(2 * SIDE)
    backdrop, place, weather = (np.random.default_rng([scene.scenery_seed, k]) for k in range(3))
    horizon = draw_backdrop(canvas, scene, backdrop)
    draw_place(canvas, scene, horizon, place)
    draw_figure(canvas, scene, parts or Parts.of(scene))
    draw_weather(canvas, scene, weather)
    inverse = (1.0 / canvas.z - 0.5 / FAR) / (1.0 / NEAREST - 0.5 / FAR)
    normal = _halve(canvas.normal)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    return Rendering(
        rgb=(_halve(canvas.rgb) * 255.0 + 0.5).clip(0, 255).astype(np.uint8),
        depth=_halve(np.clip(inverse, 0.0, 1.0)[..., None])[..., 0],
        normal=normal,
        segmentation=np.ascontiguousarray(canvas.label[::2, ::2]),
        skeleton=_skeleton(scene),
    )


def _halve(array: np.ndarray) -> np.ndarray:
    quarters = array[0::2, 0::2] + array[1::2, 0::2] + array[0::2, 1::2] + array[1::2, 1::2]
    return np.asarray(quarters * 0.25, np.float32)


def _skeleton(scene: Scene) -> np.ndarray:
    points = scene.pose.joints()
    inside = np.logical_and(points >= 0, points < 1).all(-1, keepdims=True)
    return np.concatenate([points * SIDE, inside], -1).astype(np.float32)
