"""Scenes: which tags, which pose, where things stand. Everything a picture is rendered from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.paperdoll.tags import TAG_GROUPS, complete_tags

HEAD_RADIUS = 0.118
TORSO = 0.165
UPPER_ARM, FOREARM = 0.100, 0.090
THIGH, SHIN = 0.095, 0.090
HIP_HEIGHT = 0.695

JOINTS: tuple[str, ...] = (
    "nose", "neck",
    "right_shoulder", "right_elbow", "right_wrist",
    "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle",
    "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
"""The 18 joints in the order of OpenPose's COCO model; the figure faces the viewer."""


@dataclass(frozen=True)
class Pose:
    """A figure's place and attitude; lengths in picture sides, angles in radians.

    ``arms`` and ``legs`` hold (upper, lower) angles of the figure's right, then left limb,
    measured from hanging straight down and growing outwards.
    """

    x: float
    scale: float
    lean: float
    head_shift: float
    arms: tuple[tuple[float, float], tuple[float, float]]
    legs: tuple[tuple[float, float], tuple[float, float]]

    def joints(self) -> np.ndarray:
        """The 18 joints as an array (18, 2) of x, y in picture sides, y down."""
        s = self.scale
        up = np.array([np.sin(self.lean), -np.cos(self.lean)])
        side = np.array([np.cos(self.lean), np.sin(self.lean)])
        hip = np.array([self.x, HIP_HEIGHT])
        neck = hip + up * TORSO * s
        head = neck + up * 0.098 * s + side * self.head_shift
        points = {"neck": neck}
        radius = HEAD_RADIUS * s
        points["nose"] = head + np.array([0.0, 0.36 * radius])
        for index, (name, sign) in enumerate((("right", -1.0), ("left", 1.0))):
            shoulder = neck + side * sign * 0.060 * s + np.array([0.0, 0.022 * s])
            upper, lower = self.arms[index]
            elbow = shoulder + _swing(upper, sign) * UPPER_ARM * s
            points[f"{name}_shoulder"], points[f"{name}_elbow"] = shoulder, elbow
            points[f"{name}_wrist"] = elbow + _swing(lower, sign) * FOREARM * s
            thigh, shin = self.legs[index]
            joint = hip + side * sign * 0.040 * s
            knee = joint + _swing(thigh, sign) * THIGH * s
            points[f"{name}_hip"], points[f"{name}_knee"] = joint, knee
            points[f"{name}_ankle"] = knee + _swing(shin, sign) * SHIN * s
            points[f"{name}_eye"] = head + np.array([sign * 0.40 * radius, 0.16 * radius])
            points[f"{name}_ear"] = head + np.array([sign * 0.96 * radius, 0.16 * radius])
        return np.stack([points[name] for name in JOINTS])


@dataclass(frozen=True)
class Scene:
    """A picture's whole content. ``tags`` has one tag per group, in group order.

    ``scenery_seed`` draws what neither tags nor pose fix: the horizon, where houses and trees
    stand, where flakes fall.
    """

    tags: tuple[str, ...]
    pose: Pose
    scenery_seed: int

    def tag(self, group: str) -> str:
        """The tag of one group.

        Raises:
            KeyError: if the world has no such group.
        """
        return dict(zip(TAG_GROUPS, self.tags, strict=True))[group]


def sample_scene(seed: int) -> Scene:
    """The scene of a seed: independent tags, pose and scenery, the same on every machine."""
    rng = np.random.default_rng(seed)
    tags = tuple(options[rng.integers(len(options))] for options in TAG_GROUPS.values())
    return Scene(tags, _sample_pose(rng), int(rng.integers(2**31)))


def scene_for_tags(tags: Sequence[str], seed: int) -> Scene:
    """The scene of ``seed`` with these tags put in; groups not named keep the seed's own tag.

    >>> scene_for_tags(["a boy", "snow"], 7).tags[0]
    'a boy'
    """
    scene = sample_scene(seed)
    return replace(scene, tags=complete_tags(tags, scene.tags))


def _sample_pose(rng: np.random.Generator) -> Pose:
    def arm() -> tuple[float, float]:
        upper = rng.uniform(0.05, 2.5)
        return upper, upper + rng.uniform(-0.3, 1.4)

    def leg() -> tuple[float, float]:
        thigh = rng.uniform(0.0, 0.6)
        return thigh, thigh - rng.uniform(0.0, 0.5)

    return Pose(
        x=rng.uniform(0.34, 0.66),
        scale=rng.uniform(0.88, 1.12),
        lean=float(np.clip(rng.normal(0.0, 0.12), -0.3, 0.3)),
        head_shift=float(np.clip(rng.normal(0.0, 0.012), -0.03, 0.03)),
        arms=(arm(), arm()),
        legs=(leg(), leg()),
    )


def _swing(angle: float, sign: float) -> np.ndarray:
    return np.array([sign * np.sin(angle), np.cos(angle)])
