"""The embedded world: a procedural figure in a scene, with tags and exact ground truth."""

from workbench.paperdoll.labels import PALETTE, Label
from workbench.paperdoll.render import SIDE, Rendering, render
from workbench.paperdoll.scene import JOINTS, Pose, Scene, sample_scene, scene_for_tags
from workbench.paperdoll.style import STYLES, draw_in
from workbench.paperdoll.tags import (
    FOUNDING_PROMPT,
    GROUP_OF_TAG,
    SILHOUETTE_GROUPS,
    TAG_GROUPS,
)

__all__ = [
    "FOUNDING_PROMPT",
    "GROUP_OF_TAG",
    "JOINTS",
    "PALETTE",
    "SIDE",
    "SILHOUETTE_GROUPS",
    "STYLES",
    "TAG_GROUPS",
    "Label",
    "Pose",
    "Rendering",
    "Scene",
    "draw_in",
    "render",
    "sample_scene",
    "scene_for_tags",
]
