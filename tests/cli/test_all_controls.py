"""Protects: every control type runs from a folder of models, from the study file to the report.

The families are shaped like SD 1.5 and like SDXL with its union ControlNet; extractors are weight
files of controlnet-aux, folders of transformers and the embedded judge.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_families import write_tiny_families
from tiny_networks import NETWORKS, write_annotators
from typer.testing import CliRunner

from workbench.cli import app
from workbench.controls import CONTROL_NAMES
from workbench.store import RunFolder

STUDY = """
name: all
family: {family}
sources: ["paperdoll:900001", "paperdoll:900002"]
controls:
  - canny
  - hed
  - depth
  - normal
  - pose
  - scribble
  - {{type: segmentation, settings: {{classes: ade20k}}}}
  - {{type: lines, settings: {{method: mlsd}}}}
  - {{type: lineart, settings: {{method: realistic}}}}
prompt: a girl, snow
scales: [1]
seeds: [1]
steps: 1
batch_size: 8
dtype: {dtype}
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_tiny_families(folder)
    write_annotators(folder)
    return folder


@pytest.mark.parametrize(
    ("family", "dtype"),
    [("tiny-sd", "float32"), ("tiny-union", "float32"), ("tiny-sd", "float16")],
)
def test_all_nine_control_types(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, dtype: str
) -> None:
    for name in ("WORKBENCH_MODELS", "WORKBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")  # the commands set them for good
    study, out = tmp_path / "study.yaml", tmp_path / "run"
    study.write_text(STUDY.format(family=family, dtype=dtype), "utf-8")
    for words in (
        ["run", study, "--out", out, "--models", models, "--offline"],
        ["report", out],
    ):
        done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    run = RunFolder.open(out)
    records = list(run.records())
    assert len(records) == 2 * len(CONTROL_NAMES)
    assert not [record.failed for record in records if record.failed]
    manifest = run.read_json("manifest.json")
    assert {f"controlnet/{name}" for name in CONTROL_NAMES} <= set(manifest["models"])
    assert {f"network/{name}" for name in NETWORKS} <= set(manifest["models"])
    for file in ("annotators/ControlNetHED.pth", "some/dpt/model.safetensors"):
        assert len(manifest["weight_hashes"][file]) == 64
    assert manifest["dtype"] == dtype
    assert (out / "report.html").stat().st_size > 10_000
