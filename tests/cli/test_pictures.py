"""`workbench extract` and `workbench compare` on pictures of any kind.

Protects: the files and figures are those of the controls, settings reach them, JSON is valid.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run_command
from PIL import Image


def picture(shift: int = 0) -> np.ndarray:
    """A bright square on a dark ground, moved right by `shift` pixels; uint8 64×80×3."""
    image = np.full((64, 80, 3), 30, np.uint8)
    image[16:48, 16 + shift : 48 + shift] = (220, 180, 90)
    return image


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    paths = []
    for name, shift in (("a", 0), ("b", 3)):
        path = tmp_path / f"{name}.png"
        Image.fromarray(picture(shift)).save(path)
        paths.append(str(path))
    return paths[0], paths[1]


def opencv_edges(shift: int) -> np.ndarray:
    import cv2

    grey = cv2.cvtColor(picture(shift), cv2.COLOR_RGB2GRAY)
    return cv2.Canny(grey, 100, 200) > 0


def test_extract_writes_the_map(files: tuple[str, str], tmp_path: Path) -> None:
    target = tmp_path / "deep" / "map.png"
    done = run_command("extract", "--control", "canny", files[0], "-o", target)
    assert done.code == 0 and "80 × 64" in done.out
    written = np.asarray(Image.open(target).convert("RGB"))
    assert written.shape == (64, 80, 3)
    assert np.array_equal(written[:, :, 0] > 127, opencv_edges(0))


def test_a_map_is_a_png_by_its_name_too(files: tuple[str, str], tmp_path: Path) -> None:
    done = run_command("extract", "-c", "canny", files[0], "-o", tmp_path / "x.jpg")
    assert done.code == 2 and "what is written is PNG: name it" in done.err
    assert not (tmp_path / "x.jpg").exists()


def test_compare_without_tolerance_is_torchmetrics_f1(files: tuple[str, str]) -> None:
    import torch
    from torchmetrics.functional.classification import binary_f1_score

    done = run_command("compare", "--control", "canny", "--set", "tolerance=0", "--json", *files)
    assert done.code == 0
    found = json.loads(done.out)
    a, b = (torch.from_numpy(opencv_edges(shift).astype(np.int64)) for shift in (0, 3))
    expected = float(binary_f1_score(b, a))
    assert found["metrics"]["canny_f1"]["value"] == pytest.approx(expected, abs=1e-6)
    assert found["settings"]["tolerance"] == 0
    assert 0 < expected < 1


def test_compare_prints_a_table(files: tuple[str, str]) -> None:
    done = run_command("compare", "-c", "canny", files[0], files[0])
    assert done.code == 0
    assert "1.0000" in done.out and "higher is better" in done.out


def test_nothing_to_compare_is_said(tmp_path: Path) -> None:
    path = tmp_path / "flat.png"
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(path)
    table = run_command("compare", "-c", "canny", path, path)
    assert table.code == 0 and "–" in table.out and "nan" not in table.out.lower()
    as_json = run_command("compare", "-c", "canny", "--json", path, path)
    metric = json.loads(as_json.out)["metrics"]["canny_f1"]
    assert metric["value"] is None and metric["reason"]


def test_maps_are_compared_as_they_are(files: tuple[str, str], tmp_path: Path) -> None:
    maps = [str(tmp_path / f"{name}-map.png") for name in "ab"]
    for source, target in zip(files, maps, strict=True):
        run_command("extract", "-c", "canny", source, "-o", target)
    ways = [run_command("compare", "-c", "canny", "--json", *files)]
    ways.append(run_command("compare", "-c", "canny", "--json", "--maps", *maps))
    first, second = (json.loads(way.out)["metrics"] for way in ways)
    assert first == second


def test_painted_maps_are_read_by_the_settings(tmp_path: Path) -> None:
    from workbench.controls._ade20k import NAMES, PALETTE

    paths = [str(tmp_path / f"{name}.png") for name in "ab"]
    for path, right in zip(paths, ("tree", "car"), strict=True):
        classes = np.full((32, 32), NAMES.index("sky"))
        classes[:, 24:] = NAMES.index(right)
        Image.fromarray(PALETTE[classes]).save(path)
    choice = ("--set", "classes=ade20k", "--json", "--maps")
    done = run_command("compare", "-c", "segmentation", *choice, *paths)
    metrics = json.loads(done.out)["metrics"]
    assert metrics["segmentation_accuracy"]["value"] == pytest.approx(0.75)
    assert metrics["segmentation_miou"]["value"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-c", "smell"], "canny"),
        (["-c", "canny", "--set", "lwo=3"], "lwo"),
        (["-c", "canny", "--set", "low=high"], "low"),
        (["-c", "canny", "--set", "low"], "name=value"),
    ],
)
def test_mistakes_are_sentences(files: tuple[str, str], arguments: list[str], words: str) -> None:
    done = run_command("compare", *arguments, *files)
    assert done.code == 2 and done.out == ""
    assert words in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\nbroken"])
def test_files_that_are_no_pictures_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    done = run_command("extract", "-c", "canny", path, "-o", tmp_path / "out.png")
    assert done.code == 2 and "x.png" in done.err and "Traceback" not in done.err
    assert not (tmp_path / "out.png").exists()


def test_a_family_brings_the_classes_of_its_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.controls._ade20k import NAMES, PALETTE
    from workbench.families.manager import ModelManager

    wall = NAMES.index("wall")
    lent = {"segmentation": lambda batch: np.full(batch.shape[:3], wall, np.uint8)}
    monkeypatch.setattr(ModelManager, "networks", lambda _: lent)
    source, out = tmp_path / "a.png", tmp_path / "map.png"
    Image.fromarray(picture()).save(source)
    sd15 = ("-c", "segmentation", "--family", "sd15")
    done = run_command("extract", *sd15, source, "-o", out)
    assert done.code == 0
    assert (np.asarray(Image.open(out).convert("RGB")) == PALETTE[wall]).all()
    assert "#787878  100.0%  wall" in done.out
    done = run_command("compare", *sd15, "--json", source, source)
    assert json.loads(done.out)["settings"] == {"classes": "ade20k"}
    done = run_command("extract", *sd15, "--set", "classes=paperdoll", source, "-o", out)
    assert done.code == 2 and "network of the family sd15 has ade20k" in done.err
