"""The guide's example of a new control type, word for word, in a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from tiny_models import write_tiny_family

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the guide's file put in, and two pictures beside it."""
    root = tmp_path_factory.mktemp("tenth")
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "workbench", root / "workbench", ignore=leave_out)
    guide = (ROOT / "docs" / "guides" / "adding-a-control.md").read_text("utf-8")
    example = re.search(r"```python\n(.*?)```", guide, re.S)
    name = re.search(r"`(\w+\.py)`", guide)
    assert example and name
    (root / "workbench" / "controls" / name[1]).write_text(example[1], "utf-8")
    ramp = np.tile(np.arange(0, 200, 2, dtype=np.uint8), (80, 1))
    Image.fromarray(ramp).save(root / "a.png")
    Image.fromarray(ramp + 40).save(root / "b.png")
    return root


def _run(root: Path, *arguments: str) -> str:
    return _python(root, "-c", "from workbench.cli import main; main()", *arguments)


def _python(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_extracts_a_map(extended: Path) -> None:
    _run(extended, "extract", "--control", "brightness", "a.png", "-o", "map.png")
    found = np.asarray(Image.open(extended / "map.png").convert("L"), float)
    ramp = np.asarray(Image.open(extended / "a.png"), float)
    assert np.abs(found - ramp)[:, 10:-10].max() <= 1


def test_it_compares_two_pictures(extended: Path) -> None:
    same = json.loads(
        _run(extended, "compare", "--control", "brightness", "a.png", "a.png", "--json")
    )
    other = json.loads(
        _run(extended, "compare", "--control", "brightness", "a.png", "b.png", "--json")
    )
    assert same["metrics"]["brightness_rmse"]["value"] == 0
    assert abs(other["metrics"]["brightness_rmse"]["value"] - 40 / 255) < 0.5 / 255


def test_its_settings_are_checked(extended: Path) -> None:
    with pytest.raises(AssertionError, match="blur"):
        _run(
            extended,
            "extract",
            "--control",
            "brightness",
            "a.png",
            "-o",
            "m.png",
            "--set",
            "blur=-1",
        )


def test_it_keeps_what_every_control_type_promises(extended: Path) -> None:
    shutil.copy(ROOT / "tests" / "controls" / "test_registry.py", extended)
    (extended / "pytest.ini").write_text("[pytest]\n", "utf-8")
    alone = ("-p", "no:cacheprovider", "-k", "TestEvery and brightness")
    said = _python(extended, "-m", "pytest", "-q", *alone, "test_registry.py")
    assert re.search(r"^[89] passed", said, re.M), said


def test_named_in_a_catalogue_it_steers_and_is_measured(extended: Path) -> None:
    models = extended / "models"
    family = write_tiny_family(models)
    entry = family.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
    entry["controlnets"] = {"brightness": {"path": "tiny/controlnet/depth"}}
    entry["networks"] = {}
    (models / "families.yaml").write_text(yaml.safe_dump({"families": {"tenth": entry}}), "utf-8")
    study = {
        "name": "tenth",
        "family": "tenth",
        "sources": ["paperdoll:1", "paperdoll:2"],
        "controls": [{"type": "brightness", "settings": {"blur": 3}}],
        "prompt": "a girl, snow",
        "scales": [0, 1],
        "steps": 2,
    }
    (extended / "study.yaml").write_text(yaml.safe_dump(study), "utf-8")
    where = ("--models", "models", "--offline")
    assert "Done" in _run(extended, "run", "study.yaml", "--out", "run", *where)
    frame = pd.read_parquet(extended / "run" / "measurements.parquet")
    found = frame[frame["metric"] == "brightness_rmse"]
    assert sorted(found["scale"]) == [0, 0, 1, 1]
    assert found["value"].between(0, 1).all()
    _run(extended, "report", "run")
    assert "Brightness RMSE" in (extended / "run" / "report.html").read_text("utf-8")
