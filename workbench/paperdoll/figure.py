"""The chibi figure: a girl or a boy in a coat, drawn over its skeleton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.paperdoll.canvas import Canvas
from workbench.paperdoll.labels import Label
from workbench.paperdoll.scene import HEAD_RADIUS, JOINTS, Scene
from workbench.paperdoll.tags import COAT_COLOURS, EYE_COLOURS, HAIR_COLOURS

DISTANCE = 2.0
"""Distance of the figure's middle from the camera, in world units."""

SKIN = (0.98, 0.80, 0.68)
TROUSERS = (0.26, 0.24, 0.34)
"""Colours of bare skin, and of the trousers that a boy wears."""
_BOOTS = (0.24, 0.15, 0.11)
_BOW = (0.93, 0.20, 0.45)
_MOUTH = (0.78, 0.28, 0.28)
FULL_STRAND = 1.75
"""Length of long hair's strands, in head radii below the middle of the head."""


@dataclass(frozen=True)
class Parts:
    """The parts of a figure that words about it decide, each free of the others.

    Attributes:
        skirt: how far it widens, 0 (none) to 1.
        bare_legs: skin, not trousers.
        bow: whether a bow sits on the hair.
        strands: how far hair hangs down at the right and left of the head, 0 to `FULL_STRAND`.
    """

    skirt: float
    bare_legs: bool
    bow: bool
    strands: tuple[float, float]

    @classmethod
    def of(cls, scene: Scene) -> Parts:
        """The parts that a scene's tags ask for."""
        girl = scene.tag("who") == "a girl"
        strand = FULL_STRAND if scene.tag("hair_length") == "long hair" else 0.0
        return cls(float(girl), girl, girl, (strand, strand))


def draw_figure(canvas: Canvas, scene: Scene, parts: Parts) -> None:
    """Legs, coat, arms, head, hair and face, nearer parts in front."""
    joints = dict(zip(JOINTS, scene.pose.joints(), strict=True))
    coat = COAT_COLOURS[scene.tag("coat")]
    _legs(canvas, scene, joints, parts)
    _coat(canvas, scene, joints, coat, parts)
    _head(canvas, scene, joints, parts)


def _legs(canvas: Canvas, scene: Scene, joints: dict[str, np.ndarray], parts: Parts) -> None:
    s, z = scene.pose.scale, DISTANCE
    skin = SKIN if parts.bare_legs else TROUSERS
    for side in ("right", "left"):
        hip, knee, ankle = (joints[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))
        label = Label.SKIN if parts.bare_legs else Label.LEGS
        canvas.capsule(hip, knee, 0.038 * s, 0.032 * s, z, skin, label)
        canvas.capsule(knee, ankle, 0.032 * s, 0.028 * s, z, skin, label)
        canvas.ellipsoid(ankle + _by(0.0, 0.008 * s), (0.040 * s, 0.026 * s), z - 0.04, _BOOTS,
                         Label.SHOES)  # fmt: skip


def _coat(
    canvas: Canvas,
    scene: Scene,
    joints: dict[str, np.ndarray],
    coat: tuple[float, float, float],
    parts: Parts,
) -> None:
    s, z = scene.pose.scale, DISTANCE
    neck = joints["neck"]
    hip = (joints["right_hip"] + joints["left_hip"]) / 2
    canvas.capsule(neck + _by(0.0, 0.03 * s), hip, 0.068 * s, 0.074 * s, z - 0.04, coat, Label.COAT)
    if parts.skirt:
        width = 0.076 + 0.042 * parts.skirt
        canvas.capsule(hip, hip + _by(0.0, 0.055 * s), 0.076 * s, width * s, z - 0.04, coat,
                       Label.COAT)  # fmt: skip
    for side in ("right", "left"):
        shoulder, elbow, wrist = (
            joints[f"{side}_{part}"] for part in ("shoulder", "elbow", "wrist")
        )
        canvas.capsule(shoulder, elbow, 0.036 * s, 0.034 * s, z - 0.16, coat, Label.COAT)
        canvas.capsule(elbow, wrist, 0.034 * s, 0.032 * s, z - 0.20, coat, Label.COAT)
        canvas.ellipsoid(wrist, (0.031 * s, 0.031 * s), z - 0.24, SKIN, Label.SKIN)


def _head(canvas: Canvas, scene: Scene, joints: dict[str, np.ndarray], parts: Parts) -> None:
    s, z = scene.pose.scale, DISTANCE - 0.10
    radius = HEAD_RADIUS * s
    head = (joints["right_ear"] + joints["left_ear"]) / 2 - (0.0, 0.16 * radius)
    hair = HAIR_COLOURS[scene.tag("hair_colour")]
    canvas.ellipsoid(head, (radius, radius * 0.96), z, SKIN, Label.SKIN)
    canvas.ellipsoid(head - (0.0, 0.10 * radius), (radius * 1.12, radius * 1.06), z - 0.03, hair,
                     Label.HAIR, cap=(float(head[1] - 0.22 * radius), radius * 0.88))  # fmt: skip
    for sign, strand in zip((-1.0, 1.0), parts.strands, strict=True):
        if strand:
            top = head + _by(sign * radius * 0.96, 0.0)
            tip = head + _by(sign * radius * 1.1, radius * strand)
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
    if parts.bow:
        knot = head + _by(0.62 * radius, -0.98 * radius)
        for sign in (-1.0, 1.0):
            canvas.ellipsoid(knot + _by(sign * 0.26 * radius, 0.0), (0.27 * radius, 0.24 * radius),
                             z - 0.42, _BOW, Label.BOW)  # fmt: skip


def _by(x: float, y: float) -> np.ndarray:
    """A step to the right and down, in picture sides."""
    return np.array([x, y])
