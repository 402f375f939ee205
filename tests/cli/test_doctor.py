"""`workbench doctor`. Protects: it draws a picture through the real code, names what is wrong in
sentences, and its exit code says whether studies can run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run_command

from workbench.cli import doctor, machine


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smoke run is spared."""
    drawn = {"reason": "", "seconds": 0.1, "loading_seconds": 0.2}
    monkeypatch.setattr(
        doctor, "smoke", lambda device="cpu", dtype="float32": drawn | {"device": device}
    )


@pytest.mark.models
def test_the_smoke_run_makes_a_sound_picture_in_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.generation import checks, sampler

    seen: list[np.ndarray] = []

    def watched(image: np.ndarray) -> str:
        seen.append(image)
        return checks.check_sample(image)

    monkeypatch.setattr(sampler, "check_sample", watched)
    found = doctor.smoke()
    assert found["reason"] == "" and found["seconds"] > 0
    assert [image.shape for image in seen] == [(128, 128, 3)] * 2, "of the text, and of a control"
    assert (np.asarray(seen[0], int) - seen[1]).any()


def test_the_findings_are_json_and_all_is_well(well: None, tmp_path: Path) -> None:
    done = run_command("doctor", "--json", "--runs", tmp_path / "runs")
    found = json.loads(done.out)
    assert done.code == (1 if found["problems"] else 0) == 0
    assert found["memory"]["total"] >= found["memory"]["available"] > 0
    assert found["disk"]["free"] > 0 and found["packages"]["torch"]
    (own,) = (family for family in found["families"] if family["name"] == "paperdoll")
    assert own["present"]["base render"] and "float32" in own["fits"]["cpu"]
    assert not (tmp_path / "runs").exists()


def test_a_model_that_is_here_and_does_not_fit_is_told(
    well: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An SDXL pipeline in the place of an SD 1.5 one: not complete, and said why."""
    base = tmp_path / "stable-diffusion-v1-5" / "stable-diffusion-v1-5"
    base.mkdir(parents=True)
    parts = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
    index = {name: ["diffusers", "AutoencoderKL"] for name in (*parts, "scheduler")}
    index["unet"] = ["diffusers", "UNet2DConditionModel"]
    index["scheduler"] = ["diffusers", "EulerDiscreteScheduler"]
    for name in ("tokenizer", "tokenizer_2"):
        index[name] = ["transformers", "CLIPTokenizer"]
    for name in ("text_encoder", "text_encoder_2"):
        index[name] = ["transformers", "CLIPTextModel"]
    kind = {"_class_name": "StableDiffusionXLPipeline"}
    (base / "model_index.json").write_text(json.dumps(kind | index))
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path))
    found = json.loads(run_command("doctor", "--json").out)
    (sd15,) = (family for family in found["families"] if family["name"] == "sd15")
    (role,) = sd15["unfit"]
    assert not sd15["present"][role]
    (warning,) = (text for text in found["warnings"] if role in text)
    assert "of another architecture (StableDiffusionXLPipeline)" in warning


def test_a_single_file_in_the_place_of_a_folder_is_told(
    well: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.safetensors").write_bytes(b"a checkpoint")
    entry = "families: {mine: {extends: sd15, base: {mine: {path: mine}}}}"
    (tmp_path / "families.yaml").write_text(entry, "utf-8")
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path))
    found = json.loads(run_command("doctor", "--json").out)
    (warning,) = (text for text in found["warnings"] if "family mine " in text)
    assert "mine.safetensors is a single file" in warning


def test_people_get_a_table(well: None) -> None:
    done = run_command("doctor")
    assert done.code == 0 and done.out.endswith("All is well.\n")
    for word in ("memory", "disk", "torch", "family paperdoll", "embedded model"):
        assert word in done.out


def test_what_is_wrong_is_a_sentence_and_the_exit_code(
    well: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench import versions

    monkeypatch.setattr(versions, "package_versions", lambda: {"torch": "2.9.1"})
    bad = {"reason": "the picture is one solid colour", "seconds": 0, "loading_seconds": 0}
    monkeypatch.setattr(doctor, "smoke", lambda: bad)
    done = run_command("doctor")
    assert done.code == 1 and "Studies cannot run yet." in done.out
    assert "The package diffusers is not installed: pip install diffusers" in done.out
    assert "onnxruntime" not in done.out  # only an extra needs it
    assert "made no picture: the picture is one solid colour" in done.out


def test_a_file_is_no_folder_for_runs(well: None, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    done = run_command("doctor", "--runs", tmp_path / "runs")
    assert done.code == 1 and "The folder of the runs is a file" in done.out


def test_each_device_draws_in_the_dtype_that_is_usual_on_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, str]] = []

    def smoke(device: str = "cpu", dtype: str = "float32") -> dict[str, Any]:
        asked.append((device, dtype))
        bad = "not a number" if device == "cuda:1" else ""
        seconds = {"seconds": 1, "loading_seconds": 1}
        return {"device": device, "dtype": dtype, "reason": bad, **seconds}

    gpus = [
        {"device": f"cuda:{i}", "name": "A100", "total": 80, "free": 80, "bfloat16": True}
        for i in range(2)
    ]
    real = doctor.machine_facts
    monkeypatch.setattr(doctor, "smoke", smoke)
    monkeypatch.setattr(doctor, "machine_facts", lambda: real() | {"devices": gpus})
    found = doctor.examine(tmp_path / "runs")
    assert asked == [("cpu", "float32"), ("cuda:0", "float16"), ("cuda:1", "float16")]
    assert found["problems"] == [
        "The embedded model made no picture on cuda:1 in float16 (not a number): take another "
        "device or dtype"
    ]
    assert "on cuda:0, float16" in doctor.as_text(found)
    apple = {"device": "mps", "name": "Apple GPU"}
    assert doctor.places({"devices": [apple]}) == [("mps", "float32")]


def test_missing_weights_are_a_problem_and_no_crash(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "paperdoll").mkdir()
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path))
    found = doctor.smoke()
    assert "there is no model folder" in found["reason"]


@pytest.mark.models
def test_the_embedded_model_draws_whatever_models_folder_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path))
    assert doctor.smoke()["reason"] == ""


def facts(**changes: Any) -> dict[str, Any]:
    """A machine without faults."""
    gpu = {"device": "cuda:0", "name": "NVIDIA A100", "total": 80, "free": 80, "bfloat16": True}
    tools = dict.fromkeys((*machine.PROGRAMS, "jupyter lab"), True)
    cpu = {"threads": 2, "waiting": "OMP_WAIT_POLICY=PASSIVE"}
    return {"cpu": cpu, "devices": [gpu], "disk": {"free": 10**12}, "tools": tools} | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"devices": []}, ["no GPU", "slower than float32 on a CPU"]),
        (
            {"devices": [{"device": "cuda:0", "name": "NVIDIA GTX 1660", "bfloat16": False}]},
            ["black pictures"],
        ),
        (
            {"devices": [{"device": "cuda:0", "name": "Tesla T4", "bfloat16": False}]},
            ["no fast bfloat16"],
        ),
        (
            {"devices": [{"device": "mps", "name": "Apple GPU", "bfloat16": False}]},
            ["black pictures"],
        ),
        ({"disk": {"free": 10**9}}, ["Only 1.0 GB"]),
        ({"cpu": {"threads": 2, "waiting": None}}, ["import workbench first"]),
        ({"cpu": {"threads": 1, "waiting": None}}, []),
    ],
)
def test_warnings_fit_the_machine(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: list[str]
) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    found = machine.machine_warnings(facts(**changes))
    assert len(found) == len(words)
    for line, word in zip(found, words, strict=True):
        assert word in line


def test_a_driver_without_its_build_of_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: "/usr/bin/" + name)
    assert any("build of torch for CUDA" in w for w in machine.machine_warnings(facts(devices=[])))


def test_tools_that_are_missing_are_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    none = dict.fromkeys((*machine.PROGRAMS, "jupyter lab"), False)
    found = machine.machine_warnings(facts(tools=none))
    assert len(found) == 3 and any("jupyter lab" in line for line in found)
