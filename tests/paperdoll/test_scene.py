"""Scenes: the same on every machine, with the tags that were asked for."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.paperdoll import JOINTS, TAG_GROUPS, sample_scene, scene_for_tags
from workbench.paperdoll.tags import FOUNDING_PROMPT, complete_tags


def test_a_seed_names_one_scene_for_ever() -> None:
    """Weights were trained on these seeds: a drift would silently change what they were taught."""
    scene = sample_scene(7)
    assert scene == sample_scene(7)
    assert scene.tags == (
        "a boy", "short hair", "brown hair", "green eyes", "green coat", "autumn", "night", "house",
    )  # fmt: skip


def test_every_tag_occurs_about_equally_often() -> None:
    tags = np.array([sample_scene(seed).tags for seed in range(1200)])
    for column, options in enumerate(TAG_GROUPS.values()):
        shares = [(tags[:, column] == option).mean() for option in options]
        assert min(shares) > 0.7 / len(options)


def test_tags_asked_for_are_put_in_and_the_rest_stays() -> None:
    scene, free = scene_for_tags(FOUNDING_PROMPT, 3), sample_scene(3)
    assert scene.tags[:7] == FOUNDING_PROMPT
    assert scene.tag("place") == free.tag("place")
    assert scene.pose == free.pose


def test_unknown_words_are_ignored_and_the_first_of_two_rivals_wins() -> None:
    fallback = sample_scene(1).tags
    assert complete_tags(["masterpiece"], fallback) == fallback
    assert "rain" in complete_tags(["rain", "snow"], fallback)


def test_a_group_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError):
        sample_scene(0).tag("hat")


def test_joints_hang_together() -> None:
    """Limbs keep their lengths whatever the pose; right and left are as the viewer mirrors them."""
    for seed in range(50):
        pose = sample_scene(seed).pose
        joints = dict(zip(JOINTS, pose.joints(), strict=True))
        for side in ("right", "left"):
            arm = np.linalg.norm(joints[f"{side}_elbow"] - joints[f"{side}_shoulder"])
            assert arm == pytest.approx(0.100 * pose.scale)
        assert joints["right_ear"][0] < joints["left_ear"][0]
