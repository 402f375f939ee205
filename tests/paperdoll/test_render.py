"""The renderer: pictures with ground truth that fits them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.paperdoll import (
    SIDE,
    SILHOUETTE_GROUPS,
    TAG_GROUPS,
    Label,
    Rendering,
    render,
    sample_scene,
    scene_for_tags,
)

FIGURE = [Label.COAT, Label.SKIN, Label.HAIR, Label.FACE, Label.SHOES]


@pytest.fixture(scope="module")
def pictures() -> list[Rendering]:
    return [render(sample_scene(seed)) for seed in range(12)]


def test_arrays_have_the_promised_shapes_and_ranges(pictures: list[Rendering]) -> None:
    for picture in pictures:
        assert picture.rgb.shape == (SIDE, SIDE, 3)
        assert picture.rgb.dtype == np.uint8
        assert picture.depth.dtype == np.float32
        assert picture.depth.min() >= 0
        assert picture.depth.max() <= 1
        assert np.allclose(np.linalg.norm(picture.normal, axis=-1), 1, atol=1e-4)
        assert picture.skeleton.shape == (18, 3)


def test_rendering_is_deterministic() -> None:
    first, second = render(sample_scene(5)), render(sample_scene(5))
    assert np.array_equal(first.rgb, second.rgb)
    assert np.array_equal(first.depth, second.depth)


def test_the_figure_stands_before_the_scenery(pictures: list[Rendering]) -> None:
    for picture in pictures:
        figure = np.isin(picture.segmentation, FIGURE)
        behind = np.isin(picture.segmentation, [Label.WALL, Label.MOUNTAIN, Label.FOLIAGE])
        assert np.median(picture.depth[picture.segmentation == Label.SKY]) < 0.01
        if behind.any():
            assert np.median(picture.depth[figure]) > np.median(picture.depth[behind]) + 0.2


def test_the_figure_has_relief(pictures: list[Rendering]) -> None:
    """A flat white figure would teach a depth ControlNet nothing about limbs and face."""
    for picture in pictures:
        figure = np.isin(picture.segmentation, FIGURE)
        assert picture.depth[figure].std() > 0.03


def test_joints_lie_on_the_figure(pictures: list[Rendering]) -> None:
    for picture in pictures:
        figure = np.isin(picture.segmentation, [*FIGURE, Label.LEGS, Label.BOW])
        inside = picture.skeleton[picture.skeleton[:, 2] > 0, :2].astype(int)
        assert figure[inside[:, 1], inside[:, 0]].mean() > 0.9


@pytest.mark.parametrize("group", TAG_GROUPS)
def test_only_silhouette_tags_touch_the_outlines(group: str) -> None:
    """The trade-off compares both kinds of tags, so the split must be true of the pictures."""
    scene = scene_for_tags(["house", "sunny"], 4)
    column = list(TAG_GROUPS).index(group)
    outlines, looks = [], []
    for tag in TAG_GROUPS[group]:
        tags = (*scene.tags[:column], tag, *scene.tags[column + 1 :])
        picture = render(replace(scene, tags=tags))
        outlines.append(picture.segmentation)
        looks.append(picture.rgb)
    changed = any(not np.array_equal(outlines[0], other) for other in outlines[1:])
    assert changed == (group in SILHOUETTE_GROUPS)
    assert all(not np.array_equal(looks[0], other) for other in looks[1:])
