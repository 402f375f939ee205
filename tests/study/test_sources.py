"""Protects the reading of sources: fitted, hashed, labelled, and every failure reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workbench.images import encode_png, fit_image, sha256_image
from workbench.paperdoll import render, sample_scene
from workbench.study import StudyError, load_source, load_sources


def picture(path: Path, seed: int, shape: tuple[int, int] = (50, 80)) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    path.write_bytes(encode_png(image))
    return image


def test_a_file_is_fitted_and_hashed_after_fitting(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", 1)
    source = load_source("a.png", tmp_path, 32)
    np.testing.assert_array_equal(source.image, fit_image(image, 32))
    assert source.sha256 == sha256_image(source.image)
    assert (source.label, source.tags) == ("a.png", ())
    with pytest.raises(ValueError, match="read-only"):
        source.image[0, 0, 0] = 1


def test_a_scene_is_rendered_with_its_tags() -> None:
    scene = sample_scene(900_001)
    source = load_source("paperdoll:900001", Path(), 128)
    np.testing.assert_array_equal(source.image, render(scene).rgb)
    assert source.tags == tuple(scene.tags) and len(source.tags) == 8
    assert load_source("paperdoll:900001", Path(), 64).image.shape == (64, 64, 3)


def test_every_source_that_fails_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "good.png", 1)
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    with pytest.raises(StudyError) as caught:
        load_sources(["good.png", "bad.png", "gone.png"], tmp_path, 32)
    first, second = caught.value.problems
    assert first.startswith("sources[1]:") and second.startswith("sources[2]:")


def test_the_same_picture_twice_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 1)
    picture(tmp_path / "b.png", 1)
    with pytest.raises(StudyError, match=r'"b\.png" is the same picture as "a\.png"'):
        load_sources(["a.png", "b.png"], tmp_path, 32)


def test_sources_keep_the_order_of_the_study(tmp_path: Path) -> None:
    for seed, name in enumerate(("c.png", "a.png", "b.png")):
        picture(tmp_path / name, seed)
    assert list(load_sources(["c.png", "a.png", "b.png"], tmp_path, 16)) == [
        "c.png",
        "a.png",
        "b.png",
    ]


@pytest.mark.parametrize("index", ["{", "[]", '{"a.png": {}}', '{"a.png": {"file": 3}}'])
def test_a_damaged_list_of_kept_sources_is_like_none(tmp_path: Path, index: str) -> None:
    (tmp_path / "sources.json").write_text(index, encoding="utf-8")
    with pytest.raises(StudyError, match=r"a\.png"):
        load_sources(["a.png"], tmp_path, 16)


def test_the_list_of_kept_sources_cannot_point_outside(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "sources").mkdir(parents=True)
    picture(tmp_path / "secret.png", 1)
    (run / "sources.json").write_text('{"a.png": {"file": "../../secret.png"}}', encoding="utf-8")
    with pytest.raises(StudyError):
        load_sources(["a.png"], run, 16)
