"""What is given by hand, without any widget.

Protects: a map that was drawn is kept with exactly the pixels that were drawn, is read back as them
by the study that names it, and what cannot be such a map is one clear sentence.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workbench.app.easel import (
    LEAST_CROP,
    Medium,
    Mode,
    brush_width,
    centred,
    cropped,
    joints_in,
    keep,
    medium_of,
    people_of,
    skeleton,
    standing,
    uploaded,
)
from workbench.controls import get_control, resolve
from workbench.images import fit_image, read_image, read_with_text
from workbench.study.labels import MAP
from workbench.study.sources import load_source

SIDE = 48


def medium(name: str, settings: str = "") -> Medium:
    """How a control type is made by hand; fails where it is not."""
    found = medium_of(name, settings)
    assert found is not None
    return found


def strokes() -> np.ndarray:
    """A frame, two pixels wide."""
    marks = np.zeros((SIDE, SIDE), np.uint8)
    marks[8:40, 8:40] = 255
    marks[10:38, 10:38] = 0
    return marks


@pytest.mark.parametrize("name", ["scribble", "canny", "hed", "lineart"])
def test_lines_are_kept_and_read_back_as_drawn(name: str, tmp_path: Path) -> None:
    hand = medium(name)
    assert hand.mode is Mode.DRAW
    marks = strokes()
    path, new = keep(hand.picture(marks), tmp_path / "sources", name, {})
    assert new and path.name.startswith(f"{name}-")
    assert np.array_equal(read_image(path), np.repeat(marks[:, :, None], 3, axis=2))
    source = load_source(f"{MAP}{path}", tmp_path, SIDE, resolve(name))
    assert np.array_equal(source.image[:, :, 0], marks) and source.note == ""
    assert np.array_equal(hand.marks(source.image), marks), "the canvas goes on from it"


@pytest.mark.parametrize("classes", ["paperdoll", "ade20k"])
def test_classes_are_kept_without_a_mixed_colour(classes: str, tmp_path: Path) -> None:
    settings = f'{{"classes": "{classes}"}}'
    hand = medium("segmentation", settings)
    assert hand.mode is Mode.PAINT and len(hand.names) == len(hand.palette)
    marks = np.random.default_rng(7).integers(0, 16, (SIDE, SIDE)).astype(np.uint8)
    path, _ = keep(hand.picture(marks), tmp_path, "segmentation", {})
    assert np.array_equal(read_image(path), hand.palette[marks])
    source = load_source(f"{MAP}{path}", tmp_path, SIDE, resolve("segmentation", settings))
    assert np.array_equal(hand.marks(source.image), marks)
    with pytest.raises(ValueError, match="no class 200"):
        hand.picture(marks + 200 - marks)


@pytest.mark.parametrize("world", ["", "paperdoll"])
def test_a_figure_is_drawn_as_the_control_type_draws_it(world: str, tmp_path: Path) -> None:
    people = standing(world)
    picture, text = skeleton(people, 128)
    pose = get_control("pose")
    found = pose.from_picture(picture)
    assert np.abs(found.data - people).max() < 0.01, "every joint is found where it was put"
    path, _ = keep(picture, tmp_path, "pose", text)
    source = load_source(f"{MAP}{path}", tmp_path, 128, resolve("pose"))
    assert np.array_equal(source.image, picture)


def test_hidden_joints_are_kept_with_a_skeleton_and_nothing_foreign_is_believed(
    tmp_path: Path,
) -> None:
    people = standing()
    people[0, 4, 2] = 0
    picture, text = skeleton(people, 128)
    path, _ = keep(picture, tmp_path, "pose", text)
    again = joints_in(*read_with_text(path))
    assert np.allclose(again, people, atol=1e-4), "the hidden wrist has its place still"
    moved = people.copy()
    moved[0, 3, 0] += 0.2
    read = joints_in(picture, skeleton(moved, 128)[1])
    assert np.abs(read[0, 3] - people[0, 3]).max() < 0.01, (
        "the pixels are right, not a foreign text"
    )
    assert len(joints_in(picture * 0, {"workbench-joints": "{"})) == 0


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (None, "18 joints"),
        ([[[0.5, 0.5, 1]]], "18 joints"),
        ([[["a", 0, 1]] * 18], "18 joints"),
        ([[[1.5, 0.5, 1]] * 18], "in the picture"),
        ([[[float("nan"), 0.5, 1]] * 18], "in the picture"),
    ],
)
def test_people_that_are_none_are_refused(people: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        people_of(people)


def test_a_skeleton_without_a_joint_is_refused() -> None:
    with pytest.raises(ValueError, match="no joint is shown"):
        skeleton(standing() * np.array([1, 1, 0], np.float32), 64)


def test_a_part_is_cut_out_pixel_by_pixel() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (40, 70, 3)).astype(np.uint8)
    assert np.array_equal(cropped(picture, [20, 5, 30]), picture[5:35, 20:50])
    middle = cropped(picture, centred(40, 70))
    assert np.array_equal(fit_image(middle, 40), fit_image(picture, 40)), "as it is cut unasked"
    for box in ([41, 0, 30], [0, -1, 20], [0, 0, LEAST_CROP - 1], [0, 0, 41], [0.5, 0, 20], []):
        with pytest.raises(ValueError, match="part"):
            cropped(picture, box)


def test_a_picture_taken_with_the_camera_on_its_side_is_upright() -> None:
    upright = np.zeros((64, 32, 3), np.uint8)
    upright[:16] = 255
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it turned by 90° to the right
    Image.fromarray(np.rot90(upright)).save(file, "JPEG", exif=exif, quality=95)
    picture = uploaded("photo.jpg", file.getvalue())
    assert picture.shape == upright.shape
    assert picture[:12].min() > 200 and picture[24:].max() < 50


def test_a_map_made_by_hand_is_read_without_torch(tmp_path: Path) -> None:
    """Torch takes seconds to load, and half a gigabyte in each process of a class's visitors."""
    figure, text = skeleton(standing(), SIDE)
    pictures = {
        **{name: medium(name).picture(strokes()) for name in ("scribble", "canny", "hed", "lines")},
        "segmentation": medium("segmentation").picture(strokes() // 100),
        "pose": figure,
    }
    places = {name: str(keep(one, tmp_path, name, text)[0]) for name, one in pictures.items()}
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from workbench.controls import map_warning, resolve\n"
        "from workbench.study.sources import load_source\n"
        f"for name, place in {places!r}.items():\n"
        "    drawer = resolve(name)\n"
        f"    source = load_source(f'map:{{place}}', Path(), {SIDE}, drawer)\n"
        "    found = drawer[0].from_picture_for(source.image, drawer[1])\n"
        "    assert map_warning(*drawer, found, name) == ''\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_the_same_drawing_is_the_same_file(tmp_path: Path) -> None:
    picture = medium("scribble").picture(strokes())
    first, _ = keep(picture, tmp_path, "scribble", {})
    assert keep(picture, tmp_path, "scribble", {}) == (first, False)
    assert keep(picture.transpose(1, 0, 2)[::-1], tmp_path, "../a b", {})[0].parent == tmp_path


def test_a_drawing_that_would_be_read_as_another_is_refused() -> None:
    hand, marks = medium("scribble"), strokes()
    with pytest.raises(ValueError, match="nothing is drawn"):
        hand.picture(marks * 0)
    with pytest.raises(ValueError, match="more than half would be read as light paper"):
        hand.picture(255 - marks // 255 * 255)


@pytest.mark.parametrize("name", ["depth", "normal"])
def test_what_is_not_drawn_here_has_no_medium(name: str) -> None:
    assert medium_of(name) is None


def test_a_brush_is_as_wide_as_the_control_type_draws() -> None:
    assert (brush_width("scribble", 512), brush_width("canny", 512), brush_width("canny", 64)) == (
        16,
        2,
        1,
    )
