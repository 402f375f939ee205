"""Drawing styles: another look, the same truth, and colours that tags still name."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.paperdoll import STYLES, Label, draw_in, render, sample_scene
from workbench.paperdoll.style import outlines


def _ink(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    made = render(sample_scene(seed))
    ink = draw_in("ink", made.rgb, made.depth, made.normal, made.segmentation)
    return made.rgb, ink, made.segmentation


def test_the_render_is_left_alone() -> None:
    made = render(sample_scene(3))
    assert draw_in("render", made.rgb, made.depth, made.normal, made.segmentation) is made.rgb


def test_ink_looks_different_in_every_scene() -> None:
    for seed in range(5):
        rgb, ink, _ = _ink(seed)
        assert ink.shape == rgb.shape and ink.dtype == np.uint8
        assert np.abs(ink.astype(int) - rgb.astype(int)).mean() > 5


def test_borders_between_classes_are_dark_and_surfaces_are_not() -> None:
    _, ink, labels = _ink(4)
    inner = np.ones(labels.shape, bool)
    for axis in (0, 1):
        for step in (-1, 1):
            inner &= np.roll(labels, step, axis) == labels
    sky = labels == Label.SKY
    border = ~inner & np.roll(sky, -1, 1) & ~sky
    assert ink[border].mean() < 0.75 * ink[inner & sky].mean()


def test_eyes_keep_their_colour() -> None:
    """Outlines around a few pixels of iris would leave nothing to tell blue eyes by."""
    made = render(sample_scene(8))
    ink = outlines(made.depth, made.normal, made.segmentation)
    assert (ink[made.segmentation == Label.FACE] == 0).all()


def test_a_stack_is_drawn_as_its_pictures_are() -> None:
    made = [render(sample_scene(seed)) for seed in range(3)]
    stacked = draw_in(
        "ink",
        *(
            np.stack([getattr(m, k) for m in made])
            for k in ("rgb", "depth", "normal", "segmentation")
        ),
    )
    for one, whole in zip(made, stacked, strict=True):
        assert np.array_equal(
            draw_in("ink", one.rgb, one.depth, one.normal, one.segmentation), whole
        )


def test_normals_in_integers_give_the_same_drawing_nearly() -> None:
    made = render(sample_scene(2))
    coarse = np.round(made.normal * 127).astype(np.int8)
    exact = outlines(made.depth, made.normal, made.segmentation)
    assert np.abs(outlines(made.depth, coarse, made.segmentation) - exact).mean() < 0.01


def test_an_unknown_style_is_refused_with_those_there_are() -> None:
    made = render(sample_scene(2))
    with pytest.raises(ValueError, match=", ".join(STYLES)):
        draw_in("oil", made.rgb, made.depth, made.normal, made.segmentation)
