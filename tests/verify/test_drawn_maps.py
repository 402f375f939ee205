"""Protects runs whose sources are drawn maps from the study to the report: they can be verified,
taken out again and made again like any other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_run import TinyManager, make_study

from workbench.images import encode_png, read_image
from workbench.report import write_report
from workbench.store import RunFolder
from workbench.study import Study
from workbench.sweep import run_study
from workbench.verify import Verification
from workbench.verify.recover import recover_study


@pytest.fixture(scope="module")
def drawn(manager: TinyManager, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run steered by two frames of white lines, its original files since deleted."""
    folder = tmp_path_factory.mktemp("drawn")
    for name, margin in (("one", 8), ("two", 20)):
        image = np.zeros((96, 128, 3), np.uint8)
        image[margin, margin:-margin] = image[-margin, margin:-margin] = 255
        image[margin:-margin, margin + 16] = image[margin:-margin, -margin - 16] = 255
        (folder / f"{name}.png").write_bytes(encode_png(image))
    text = make_study(sources=["map:one.png", "map:two.png"]).to_yaml()
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    run_study(Study.from_yaml(folder / "study.yaml"), folder / "run", manager=manager)
    for name in ("one", "two"):
        (folder / f"{name}.png").unlink()
    return RunFolder.open(folder / "run")


def test_what_steers_is_what_was_drawn(drawn: RunFolder) -> None:
    kept = drawn.read_sources()
    assert set(kept) == {"map:one.png", "map:two.png"}
    maps = [read_image(path) for path in sorted((drawn.path / "maps").glob("canny-*.png"))]
    assert len(maps) == 2
    for source in kept.values():
        assert any(np.array_equal(source.image, found) for found in maps)
        assert 0 < source.image.mean() < 128


def test_it_is_verified_to_the_last_trial(
    drawn: RunFolder, verify: Callable[..., Verification]
) -> None:
    result = verify(drawn, trials=100)
    assert result.outcome == "identical", result


def test_a_changed_drawing_is_found(
    drawn: RunFolder, verify: Callable[..., Verification], tmp_path: Path
) -> None:
    shutil.copytree(drawn.path, tmp_path / "run")
    file = next((tmp_path / "run" / "sources").glob("*.png"))
    image = read_image(file)
    image[::2, ::2] = 255
    file.write_bytes(encode_png(image))
    result = verify(RunFolder.open(tmp_path / "run"))
    assert result.outcome == "different"


def test_the_study_of_the_run_or_of_a_picture_makes_it_again(
    drawn: RunFolder, manager: TinyManager, tmp_path: Path
) -> None:
    steered = [n for n in drawn.trial_ids() if drawn.read_record(n).trial.control]
    for number, path in enumerate((drawn.path, drawn.sample_path(steered[0]))):
        taken = recover_study(path, tmp_path)
        assert not taken.missing and all(name.startswith("map:") for name in taken.kept.values())
        (tmp_path / "again.yaml").write_text(taken.text, encoding="utf-8")
        folder = tmp_path / f"run{number}"
        run_study(Study.from_yaml(tmp_path / "again.yaml"), folder, manager=manager)
        again = RunFolder.open(folder)
        made = again.trial_ids()
        assert made == (drawn.trial_ids() if number == 0 else (steered[0],))
        for name in made:
            np.testing.assert_array_equal(drawn.read_sample(name), again.read_sample(name))


def test_its_report_says_why_likeness_to_the_source_is_left_out(
    drawn: RunFolder, tmp_path: Path
) -> None:
    page = write_report(drawn, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "map:one.png" in page
    assert "agreement of the map with itself" in page
