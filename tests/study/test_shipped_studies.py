"""Every study file that is shipped is one that can be run, and says what its name promises."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from workbench.families import get_family
from workbench.images import encode_png
from workbench.paths import data_dir
from workbench.study import Study, make_plan
from workbench.study.labels import is_map, is_scene, path_of
from workbench.study.yamlfile import parse_yaml, read_text

FILES = sorted((data_dir() / "studies").glob("*.yaml"))
NINE = {
    "canny", "depth", "hed", "lineart", "lines", "normal", "pose", "scribble", "segmentation",
}  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_expands_into_a_plan(path: Path, tmp_path: Path) -> None:
    """Pictures that users bring themselves are put beside a copy of the file."""
    text = read_text(path)
    copy = tmp_path / path.name
    copy.write_text(text, encoding="utf-8")
    for index, label in enumerate(parse_yaml(text, name=path.name)["sources"]):
        if not is_scene(label):
            picture = tmp_path / path_of(label)
            picture.parent.mkdir(parents=True, exist_ok=True)
            if is_map(label):
                shutil.copy(path.parent / path_of(label), picture)
                continue
            picture.write_bytes(encode_png(np.full((8, 8, 3), 20 * index, np.uint8)))
    study = Study.from_yaml(copy)
    assert study.name == path.stem
    plan = make_plan(study, resolution=get_family(study.family).resolution)
    assert plan.cells and plan.trials
    assert list(plan.sources) == list(study.sources)


@pytest.mark.parametrize(
    ("name", "bases"), [("all-controls", {"render"}), ("founding-experiment", {"render", "ink"})]
)
def test_it_asks_all_nine_types_on_its_bases_of_scenes_that_are_held_out(
    name: str, bases: set[str]
) -> None:
    study = Study.from_yaml(data_dir() / "studies" / f"{name}.yaml")
    assert set(study.base) == bases <= set(get_family("paperdoll").base)
    plan = make_plan(study, resolution=128)
    for base in study.base:
        cells = [cell for cell in plan.cells if cell.base == base]
        assert {cell.control for cell in cells} == NINE
        assert {cell.source for cell in cells} == set(study.sources)
    seeds = [int(label.removeprefix("paperdoll:")) for label in study.sources]
    assert len(set(seeds)) == len(seeds) >= 6 and min(seeds) >= 900_000
    assert 0 in study.scales and len(study.seeds) >= 2


def test_the_founding_experiment_keeps_the_tags_it_is_about() -> None:
    study = Study.from_yaml(data_dir() / "studies" / "founding-experiment.yaml")
    plan = make_plan(study, resolution=128)
    assert {cell.variant.text for cell in plan.cells} == {
        "a girl, long hair, blond hair, black eyes, black coat, winter, snow",
        "a girl, long hair, black eyes",
    }


def test_there_are_such_files() -> None:
    assert {"all-controls", "demo", "drawings", "founding-experiment"} <= {
        path.stem for path in FILES
    }
