"""Protects: study, run, verify and report work from the command line on every architecture.

The models lie in a folder as people have it, with a small catalogue of its own beside them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_families import COMMIT, FAMILIES
from two_bases import BASES, plain_picture, write_two_bases
from typer.testing import CliRunner

from workbench.cli import app
from workbench.cli.common import Refusal
from workbench.families import LocateError, get_family
from workbench.families.manager import ModelManager
from workbench.store import RunFolder
from workbench.study import Study, StudyError, make_plan

STUDY = """
name: tiny
family: {family}
sources: ["paperdoll:900001", "paperdoll:900002"]
controls:
  - canny
{more}
prompt: a girl, snow
lengths: [1, 2]
scales: [0, 1]
seeds: [1]
batch_size: 4
"""
PAIR = "  - {pair: [canny, {type: lines, settings: {method: lsd}}], scales: {lines: [1]}}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_two_bases(folder)
    return folder


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands set these; each test starts without them, and leaves nothing behind."""
    for name in ("WORKBENCH_MODELS", "WORKBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")


def call(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    "family", ["tiny-sd", "tiny-union", "tiny-xl", "tiny-flow", "tiny-flow-copy"]
)
def test_the_whole_chain(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """From two base models, in other layouts, to pictures that plain diffusers makes of each."""
    study = tmp_path / "study.yaml"
    text = STUDY.format(family=family, more=PAIR * (family == "tiny-union"))
    study.write_text(f"{text}base: {list(BASES)}\n", "utf-8")
    out = tmp_path / "run"
    where = ("--models", models, "--offline")
    assert "Done" in call("run", study, "--out", out, *where)
    run = RunFolder.open(out)
    records = list(run.records())
    assert len(records) == 2 * (14 if family == "tiny-union" else 6)
    assert not any(record.failed for record in records)
    manifest = run.read_json("manifest.json")
    hashes = manifest["weight_hashes"]
    if family in {"tiny-union", "tiny-xl"}:
        assert hashes["some/xl-base"] == f"revision {COMMIT}, variant fp16"
        assert manifest["models"]["vae"] == "some/xl-vae"
    assert "controlnet/canny" in manifest["models"]
    used = Study.from_yaml(out / "study.yaml")
    assert (used.steps, used.scheduler, used.base) == (2, "euler", BASES)
    monkeypatch.setenv("WORKBENCH_MODELS", str(models))
    known = get_family(family)
    plan = make_plan(used, resolution=known.resolution, sources=run.read_sources())
    for trial in plan.trials:
        keys = {cell.control: cell.map_key for cell in plan.cells_by_trial[trial.id]}
        maps = [run.read_map(keys[use.control]) for use in trial.controls]
        wanted = plain_picture(known, trial, models, [m for m in maps if m is not None])
        assert np.abs(run.read_sample(trial.id).astype(int) - wanted).max() <= 1, trial
    assert "Report" in call("report", out)
    assert "Canny edges" in (out / "report.html").read_text("utf-8")
    text = call("verify", out, "--trials", 2, *where)
    assert "model files" in text


def test_a_study_may_choose_a_judge_that_answers_yes_or_no(models: Path, tmp_path: Path) -> None:
    """Its probabilities are the run's readings, its weights are in the manifest, and it is told."""
    study, out = tmp_path / "study.yaml", tmp_path / "run"
    text = STUDY.format(family="tiny-sd", more="") + "judges: {words: yes-or-no}\n"
    study.write_text(text, "utf-8")
    where = ("--models", models, "--offline")
    said = call("run", study, "--out", out, *where)
    assert "Is there … in the picture?" in said and "nobody has validated" in said
    run = RunFolder.open(out)
    manifest = run.read_json("manifest.json")
    assert manifest["models"]["network/words"] == "some/blip"
    assert manifest["words"]["unknown"] == ""
    assert any(name.startswith("some/blip/") for name in manifest["weight_hashes"])
    judge = ModelManager(
        FAMILIES["tiny-sd"].with_judges({"words": "yes-or-no"}), models_dir=models
    ).words()
    tags = ["a girl", "snow"]
    for record in run.records():
        picture = run.read_sample(record.trial.id)
        wanted = dict(
            zip(sorted(tags), judge.read([picture], sorted(tags)).probability[0], strict=True)
        )
        for row in record.rows:
            kind, _, tag = row["metric"].partition(":")
            if kind == "tag":
                assert row["value"] == pytest.approx(wanted[tag], abs=1e-5)
                assert row["ceiling"] is not None and row["chance"] is not None
    call("verify", out, "--trials", 0, *where)  # every reading is the same again


def test_the_list_says_what_is_there(models: Path, tmp_path: Path) -> None:
    text = call("families", "--models", models, "--offline")
    assert f"revision {COMMIT[:12]}" in text
    assert "some/xl-nets/nets/depth: present" in text
    assert "stable-diffusion-v1-5/stable-diffusion-v1-5" in text
    assert "missing" in text
    pins = models / "pins.json"
    assert COMMIT in call("families", "pin", "tiny-xl", "--models", models, "--offline")
    assert pins.is_file()
    pins.unlink()
    with pytest.raises(Refusal, match="no such folder"):
        call("families", "--models", tmp_path / "nowhere")


def test_nothing_is_begun_with_models_missing(models: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.format(family="sdxl", more=""), "utf-8")
    with pytest.raises(LocateError) as error:
        call("run", study, "--out", tmp_path / "run", "--models", models, "--offline")
    assert "stabilityai/stable-diffusion-xl-base-1.0" in str(error.value)
    assert "xinsir/controlnet-union-sdxl-1.0" in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_study_is_told_what_its_family_cannot_do(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS", str(models))
    study = tmp_path / "study.yaml"
    text = STUDY.format(family="tiny-flow", more="  - pose") + "scheduler: ddim\n"
    study.write_text(text, "utf-8")
    with pytest.raises(StudyError) as error:
        Study.from_yaml(study)
    assert "ddim does not work with the family tiny-flow" in str(error.value)
    assert 'no control in the family tiny-flow "pose"' in str(error.value)
