"""The chibi figure: a girl or a boy in a coat, drawn over its skeleton."""

from __future__ import annotations

import numpy as np

from workbench.paperdoll.canvas import Canvas
from workbench.paperdoll.labels import Label
from workbench.paperdoll.scene import HEAD_RADIUS, JOINTS, Scene
from workbench.paperdoll.tags import COAT_COLOURS, EYE_COLOURS, HAIR_COLOURS

DISTANCE = 2.0
"""Distance of the figure's middle from the camera, in world units."""

_SKIN = (0.98, 0.80, 0.68)
_TROUSERS = (0.26, 0.24, 0.34)
_BOOTS = (0.24, 0.15, 0.11)
_BOW = (0.93, 0.20, 0.45)
_MOUTH = (0.78, 0.28, 0.28)


def draw_figure(canvas: Canvas, scene: Scene) -> None:
    """Legs, coat, arms, head, hair and face, nearer parts in front."""
    joints = dict(zip(JOINTS, scene.pose.joints(), strict=True))
    girl = scene.tag("who") == "a girl"
    coat = COAT_COLOURS[scene.tag("coat")]
    _legs(canvas, scene, joints, girl)
    _coat(canvas, scene, joints, coat, girl)
    _head(canvas, scene, joints, girl)


def _legs(canvas: Canvas, scene: Scene, joints: dict[str, np.ndarray], girl: bool) -> None:
    s, z = scene.pose.scale, DISTANCE
    skin = _SKIN if girl else _TROUSERS
    for side in ("right", "left"):
        hip, knee, ankle = (joints[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))
        label = Label.SKIN if girl else Label.LEGS
        canvas.capsule(hip, knee, 0.038 * s, 0.032 * s, z, skin, label)
        canvas.capsule(knee, ankle, 0.032 * s, 0.028 * s, z, skin, label)
        canvas.ellipsoid(ankle + _by(0.0, 0.008 * s), (0.040 * s, 0.026 * s), z - 0.04, _BOOTS,
                         Label.SHOES)  # fmt: skip


def _coat(
    canvas: Canvas,
    scene: Scene,
    joints: dict[str, np.ndarray],
    coat: tuple[float, float, float],
    girl: bool,
) -> None:
    s, z = scene.pose.scale, DISTANCE
    neck = joints["neck"]
    hip = (joints["right_hip"] + joints["left_hip"]) / 2
    canvas.capsule(neck + _by(0.0, 0.03 * s), hip, 0.068 * s, 0.074 * s, z - 0.04, coat, Label.COAT)
    if girl:
        canvas.capsule(hip, hip + _by(0.0, 0.055 * s), 0.076 * s, 0.118 * s, z - 0.04, coat,
                       Label.COAT)  # fmt: skip
    for side in ("right", "left"):
        shoulder, elbow, wrist = (
            joints[f"{side}_{part}"] for part in ("shoulder", "elbow", "wrist")
        )
        canvas.capsule(shoulder, elbow, 0.036 * s, 0.034 * s, z - 0.16, coat, Label.COAT)
        canvas.capsule(elbow, wrist, 0.034 * s, 0.032 * s, z - 0.20, coat, Label.COAT)
        canvas.ellipsoid(wrist, (0.031 * s, 0.031 * s), z - 0.24, _SKIN, Label.SKIN)


def _head(canvas: Canvas, scene: Scene, joints: dict[str, np.ndarray], girl: bool) -> None:
    s, z = scene.pose.scale, DISTANCE - 0.10
    radius = HEAD_RADIUS * s
    head = (joints["right_ear"] + joints["left_ear"]) / 2 - (0.0, 0.16 * radius)
    hair = HAIR_COLOURS[scene.tag("hair_colour")]
    canvas.ellipsoid(head, (radius, radius * 0.96), z, _SKIN, Label.SKIN)
    canvas.ellipsoid(head - (0.0, 0.10 * radius), (radius * 1.12, radius * 1.06), z - 0.03, hair,
                     Label.HAIR, cap=(float(head[1] - 0.22 * radius), radius * 0.88))  # fmt: skip
    if scene.tag("hair_length") == "long hair":
        for sign in (-1.0, 1.0):
            top = head + _by(sign * radius * 0.96, 0.0)
            tip = head + _by(sign * radius * 1.1, radius * 1.75)
            canvas.capsule(top, tip, radius * 0.27, radius * 0.34, z - 0.14, hair, Label.HAIR)
    for side in ("right", "left"):
        eye = joints[f"{side}_eye"] + (0.0, 0.02 * radius)
        iris = EYE_COLOURS[scene.tag("eyes")]
        canvas.ellipsoid(eye, (radius * 0.26, radius * 0.33), z - 0.36, iris, Label.FACE, lit=False)
        canvas.ellipsoid(eye + _by(radius * 0.07, -radius * 0.13), (radius * 0.09, radius * 0.10),
                         z - 0.50, (1.0, 1.0, 1.0), Label.FACE, lit=False)  # fmt: skip
    mouth = head + _by(0.0, 0.66 * radius)
    canvas.ellipsoid(mouth, (radius * 0.17, radius * 0.07), z - 0.36, _MOUTH, Label.FACE,
                     lit=False)  # fmt: skip
    if girl:
        knot = head + _by(0.62 * radius, -0.98 * radius)
        for sign in (-1.0, 1.0):
            canvas.ellipsoid(knot + _by(sign * 0.26 * radius, 0.0), (0.27 * radius, 0.24 * radius),
                             z - 0.42, _BOW, Label.BOW)  # fmt: skip


def _by(x: float, y: float) -> np.ndarray:
    """A step to the right and down, in picture sides."""
    return np.array([x, y])
