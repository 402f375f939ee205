"""Protects sources that are control maps already: what is drawn is what steers, and nothing else
is taken for such a map."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench.controls import get_control
from workbench.images import encode_png, sha256_image
from workbench.paperdoll import render, sample_scene
from workbench.study import Study, StudyError, load_source, make_plan, single_study
from workbench.study.sources import Drawer

PAPER = 240
Make = Callable[..., Study]


def drawn(name: str) -> Drawer:
    control = get_control(name)
    return control, control.settings()


def paper(path: Path, *, ink: int = 20, thickness: int = 1, side: int = 500) -> np.ndarray:
    """A hair-thin cross on light paper, wider than high."""
    image = np.full((side, side + 100, 3), PAPER, np.uint8)
    image[side // 2 : side // 2 + thickness, 60:-60] = ink
    image[40:-40, side // 2 + 50 : side // 2 + 50 + thickness] = ink
    path.write_bytes(encode_png(image))
    return image


def scribble_study(**changes: Any) -> Study:
    fields: dict[str, Any] = {
        "name": "drawn",
        "sources": ["map:a.png"],
        "controls": ["scribble"],
        "prompt": "a girl, snow",
        "scales": [0, 1],
        "steps": 2,
    }
    return Study(**(fields | changes))


@pytest.mark.parametrize("control", ["scribble", "canny"])
def test_thin_strokes_stay_whole_where_the_map_shrinks(control: str, tmp_path: Path) -> None:
    ink = 20 if control == "scribble" else 255  # edges are white on black
    image = paper(tmp_path / "a.png", ink=ink)
    if control == "canny":
        (tmp_path / "a.png").write_bytes(encode_png(np.where(image == PAPER, 0, image)))
    source = load_source("map:a.png", tmp_path, 50, drawn(control))
    data = get_control(control).from_picture(source.image).data
    assert source.image.shape == (50, 50, 3) and set(np.unique(source.image)) == {0, 255}
    assert data[25, 5:45].all() and data[5:45, 25].all()
    assert data.sum() < 2 * 50


@pytest.mark.parametrize("control", ["scribble", "canny", "hed", "depth", "lineart"])
def test_a_kept_map_goes_in_again_unchanged(control: str, tmp_path: Path) -> None:
    grey = np.kron(np.eye(8, dtype=np.uint8) * 190, np.ones((16, 16), np.uint8))
    (tmp_path / "a.png").write_bytes(encode_png(np.repeat(grey[..., None], 3, axis=2)))
    once = load_source("map:a.png", tmp_path, 64, drawn(control))
    (tmp_path / "b.png").write_bytes(encode_png(once.image))
    again = load_source("map:b.png", tmp_path, 64, drawn(control))
    np.testing.assert_array_equal(again.image, once.image)
    assert again.sha256 == once.sha256


def test_classes_of_a_painted_map_do_not_mix_where_it_shrinks(tmp_path: Path) -> None:
    control, settings = drawn("segmentation")
    truth = render(sample_scene(900_001)).segmentation
    large = np.kron(truth, np.ones((5, 5), truth.dtype))
    painted = control.from_picture_for(  # any picture gives the palette's own colours
        np.asarray(_paint(large), np.uint8), settings
    ).picture
    (tmp_path / "a.png").write_bytes(encode_png(painted))
    source = load_source("map:a.png", tmp_path, 128, (control, settings))
    found = control.from_picture_for(source.image, settings).data
    np.testing.assert_array_equal(found, truth)


def _paint(labels: np.ndarray) -> np.ndarray:
    from workbench.controls.segmentation import SegmentationSettings, _class_list

    return _class_list(SegmentationSettings().classes).paint(labels)


def test_the_same_pixels_are_another_source_as_a_map_than_as_a_picture(tmp_path: Path) -> None:
    paper(tmp_path / "a.png", thickness=12)
    source = load_source("map:a.png", tmp_path, 64, drawn("scribble"))
    (tmp_path / "b.png").write_bytes(encode_png(source.image))
    picture = load_source("b.png", tmp_path, 64)
    assert picture.sha256 == sha256_image(source.image) != source.sha256
    assert source.is_map and not picture.is_map

    study = scribble_study(sources=["map:b.png", "b.png"])
    plan = make_plan(study, resolution=64, folder=tmp_path)
    steered = [cell for cell in plan.cells if cell.scale]
    assert len({cell.trial_id for cell in steered}) == len(steered) == 2


@pytest.mark.parametrize(
    ("controls", "wrong"),
    [
        (["scribble", "canny"], "has several control types"),
        ([{"pair": ["scribble", "canny"]}], "has several control types"),
    ],
)
def test_a_map_steers_one_control_type_only(controls: list[Any], wrong: str) -> None:
    with pytest.raises(StudyError, match=wrong):
        scribble_study(controls=controls)


def test_what_is_no_map_is_refused_before_any_work(tmp_path: Path) -> None:
    blank = np.full((64, 64, 3), PAPER, np.uint8)
    (tmp_path / "blank.png").write_bytes(encode_png(blank))
    night = np.zeros((64, 64, 3), np.uint8)
    night[::3] = 255
    (tmp_path / "stripes.png").write_bytes(encode_png(night))

    def problems(control: str, *names: str) -> str:
        study = scribble_study(sources=[f"map:{name}" for name in names], controls=[control])
        with pytest.raises(StudyError) as caught:
            make_plan(study, resolution=16, folder=tmp_path)
        assert len(caught.value.problems) == len(names)
        return str(caught.value)

    text = problems("scribble", "blank.png", "stripes.png", "gone.png")
    assert "blank.png is no Scribble map: the wanted map has no strokes" in text
    assert "stripes.png is no Scribble map: its strokes cover more than half of it" in text
    assert "gone.png does not exist" in text
    assert "pose map" in problems("pose", "stripes.png").lower()


def test_a_name_without_a_path_is_refused() -> None:
    with pytest.raises(StudyError, match=r"write map:<path of an image file>"):
        scribble_study(sources=["map:"])


def test_a_missing_drawing_is_named_by_its_path(tmp_path: Path) -> None:
    values = json.loads(scribble_study().model_dump_json())
    with pytest.raises(StudyError, match=r'there is no file "a\.png" in'):
        Study.from_dict(values, folder=tmp_path)


def test_the_study_of_one_picture_still_says_that_its_source_is_a_map(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    paper(tmp_path / "in" / "a.png", thickness=12)
    study = scribble_study(sources=["map:in/a.png"])
    plan = make_plan(study, resolution=64, folder=tmp_path)
    cell = plan.cells[-1]
    text = single_study(plan.trials_by_id[cell.trial_id], cell, dtype="float32", batch_size=1)
    (tmp_path / "in" / "one.yaml").write_text(text)
    again = make_plan(Study.from_yaml(tmp_path / "in" / "one.yaml"), resolution=64)
    assert [trial.id for trial in again.trials] == [cell.trial_id]
