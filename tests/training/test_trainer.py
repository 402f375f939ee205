"""Training a ControlNet on one's own pictures: broken off without a trace, watched, and used."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from command_line import run_command
from PIL import Image
from safetensors.torch import load_file
from tiny_families import FAMILIES, _tokenizer, _write_flow, _write_xl
from tiny_models import FAMILY, SIDE, write_tiny_family

from workbench.cancel import CancelToken
from workbench.families import ControlNetRef, Family
from workbench.families.quiet import quiet_libraries
from workbench.training import beside, trainer
from workbench.training.beside import Noising
from workbench.training.examples import DataError, read_examples
from workbench.training.loop import StepDraws
from workbench.training.trainer import (
    ControlNetTraining,
    TrainingError,
    dropped,
    train_any,
)

WEIGHTS = "controlnet/diffusion_pytorch_model.safetensors"
FLOW = FAMILIES["tiny-flow-copy"].model_copy(update={"clip": FAMILY.clip})
KINDS = pytest.mark.parametrize("family", [FAMILY, FLOW], ids=["unet", "transformer"])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny models of SD 1.5, SDXL and SD3 shape."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_family(folder)
    with quiet_libraries():
        tokenizer = _tokenizer()
        _write_xl(folder, tokenizer)
        _write_flow(folder, tokenizer)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of blocks, each with a caption beside it."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(12):
        blocks = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        picture = np.kron(blocks, np.ones((SIDE // 4, SIDE // 4, 1), np.uint8))
        Image.fromarray(picture).save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text("a girl, red coat" if number % 2 else "a boy")
    return folder


def asked(pictures: Path, out: Path, **changes: Any) -> ControlNetTraining:
    """Six steps, looked at twice and kept every second one."""
    usual: dict[str, Any] = {
        "steps": 6,
        "batch_size": 2,
        "rate": 1e-3,
        "warm_up": 2,
        "validate_every": 3,
        "save_every": 2,
        "device": "cpu",
        "threads": 1,
    }
    return ControlNetTraining("tiny", "canny", str(pictures), out, **(usual | changes))


class Killed(BaseException):
    """In place of a SIGKILL: nothing is written down on its way out."""


@KINDS
def test_one_broken_off_twice_ends_as_an_unbroken_one(
    family: Family, models: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill loses the steps since the last checkpoint, a stop none; figures are the same too."""

    def train(name: str, **more: Any) -> trainer.Trained:
        wanted = asked(pictures, tmp_path / name, ema=0.5, accumulate=2)
        return train_any(wanted, family=family, models=models, **more)

    whole = train("whole")
    token = CancelToken()
    seen: list[int] = []

    def kill(progress: trainer.TrainingProgress) -> None:
        if progress.phase == "training" and progress.done == 3:
            raise Killed

    def stop(progress: trainer.TrainingProgress) -> None:
        seen.append(progress.done)
        if progress.phase == "training" and progress.done == 5:
            token.cancel()

    monkeypatch.setattr(trainer, "_SHOW_SECONDS", -1.0)
    with pytest.raises(Killed):
        train("broken", show=kill)
    stopped = train("broken", show=stop, cancel=token)
    assert (stopped.finished, stopped.step) == (False, 5)
    assert 2 in seen and 3 in seen  # the third step was lost, and done again
    resumed = train("broken")
    assert resumed.finished and str(resumed.history) == str(whole.history)
    assert [row["step"] for row in whole.history if "adherence" in row] == [0, 3, 6]
    first, second = (load_file(tmp_path / name / WEIGHTS) for name in ("whole", "broken"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    for name in ("log.jsonl", "curve.csv"):
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "broken" / name).read_text()
    assert len(list((tmp_path / "whole" / "validation").glob("*.png"))) == 3
    further = train_any(  # more steps go on, and other draws are another training
        asked(pictures, tmp_path / "broken", ema=0.5, accumulate=2, steps=7),
        family=family,
        models=models,
    )
    assert further.step == 7
    with pytest.raises(TrainingError, match=r"other settings: seed 0 \(not 4\)"):
        train_any(asked(pictures, tmp_path / "broken", ema=0.5, accumulate=2, seed=4),
                  family=family, models=models)  # fmt: skip


@KINDS
def test_its_result_passes_through_a_study(
    family: Family, models: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers

    import workbench as wb

    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("tiny", "some"):
        (folder / name).symlink_to(models / name)
    entry = family.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    catalogue = {"families": {"tiny": entry}}
    (folder / "families.yaml").write_text(yaml.safe_dump(catalogue))
    monkeypatch.setenv("WORKBENCH_MODELS", str(folder))
    out = folder / "mine"
    command = ["train", "controlnet", "--family", "tiny", "--control", "canny", "--data", pictures,
               "--out", out, "--steps", 2, "--batch-size", 2, "--set", "low=50", "--device", "cpu",
               "--rate", 0.01, "--warm-up", 1]  # fmt: skip
    done = run_command(*command)
    assert done.code == 0, done.err
    kind = getattr(diffusers, family.parts_of.controlnet)
    net = kind.from_pretrained(out / "controlnet")
    last = net.controlnet_mid_block if family is FAMILY else net.controlnet_blocks[-1]
    assert any(p.any() for p in last.parameters())  # it left zero
    told = yaml.safe_load("families:" + done.out.split("\nfamilies:")[1])
    catalogue["families"] |= told["families"]
    (folder / "families.yaml").write_text(yaml.safe_dump(catalogue))
    study = {
        "name": "trained",
        "family": "mine",
        "sources": [str(pictures / "00.png")],
        "controls": ["canny"],
        "prompt": "a girl",
        "scales": [1],
        "seeds": [1],
        "steps": 2,
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    run = wb.run(tmp_path / "study.yaml", tmp_path / "run")
    assert run.table.query("metric == 'canny_f1_matched'")["value"].notna().all()
    again = run_command(*command)  # there is nothing left to do
    assert again.code == 0, again.err


def test_it_learns(models: Path, pictures: Path, tmp_path: Path) -> None:
    """Steps draw other noise, so the mean of several is compared with that of the first ones."""
    wanted = asked(pictures, tmp_path / "out", steps=60, batch_size=8, rate=3e-3,
                   validate_every=100, save_every=100, log_every=20)  # fmt: skip
    losses = [
        row["loss"]
        for row in train_any(wanted, family=FAMILY, models=models).history
        if "loss" in row
    ]
    assert losses[-1] < 0.9 * losses[0], losses


def test_the_reader_helps_and_is_thrown_away(models: Path, pictures: Path, tmp_path: Path) -> None:
    """Without it a zero condition encoder learns nothing in the first step, with it, it does."""
    from diffusers import ControlNetModel

    few = {"steps": 2, "warm_up": 0, "rate": 1e-3}
    nets: list[Any] = []
    for weight in (0.0, 0.05):
        out = tmp_path / str(weight)
        done = train_any(asked(pictures, out, reader=weight, **few), family=FAMILY, models=models)
        assert any(("reader" in row) == bool(weight) for row in done.history if "loss" in row)
        nets.append(ControlNetModel.from_pretrained(done.folder))
        assert not [name for name in nets[-1].state_dict() if "reader" in name]
    plain, helped = (one.controlnet_cond_embedding.conv_in.weight for one in nets)
    assert not torch.equal(plain, helped)
    again = train_any(
        asked(pictures, tmp_path / "0.05", reader=0.05, **few | {"steps": 4}),
        family=FAMILY, models=models,
    )  # fmt: skip
    assert again.finished and again.step == 4
    with pytest.raises(TrainingError, match=r"reader 0\.05 \(not 0\.1\)"):
        train_any(asked(pictures, tmp_path / "0.05", reader=0.1), family=FAMILY, models=models)
    with pytest.raises(TrainingError, match=r"reader 0\.05 \(not 0\.0\)"):
        train_any(asked(pictures, tmp_path / "0.05"), family=FAMILY, models=models)
    settings = tmp_path / "0.0" / "training.json"
    older = {k: v for k, v in json.loads(settings.read_text()).items() if k != "reader"}
    settings.write_text(json.dumps(older))
    train_any(asked(pictures, tmp_path / "0.0", **few), family=FAMILY, models=models)


def test_dropped_prompts_are_not_read(
    models: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = beside.prompt_arguments

    def spy(texts: list[str], manager: Any) -> Any:
        read.extend(texts)
        return original(texts, manager)

    monkeypatch.setattr(beside, "prompt_arguments", spy)
    for share, seen in ((1.0, {""}), (0.0, {"a girl, red coat", "a boy"})):
        read.clear()
        wanted = asked(pictures, tmp_path / str(share), drop=share, steps=3, batch_size=4)
        train_any(wanted, family=FAMILY, models=models)
        assert set(read) == seen
    half = dropped(["a"] * 2000, 0.5, np.random.default_rng(0))
    assert 900 < half.count("") < 1100


def test_sdxl_is_trained_too(models: Path, pictures: Path, tmp_path: Path) -> None:
    """Its text is pooled as well, and it is told sizes; activations are computed anew."""
    wanted = replace(
        asked(pictures, tmp_path / "out", steps=1, checkpointing=True), family="tiny-xl"
    )
    made = train_any(wanted, family=FAMILIES["tiny-xl"], models=models)
    assert made.finished and np.isfinite(made.history[-2]["loss"])


@pytest.mark.parametrize(
    "config",
    [
        {"beta_start": 1e-4, "beta_end": 0.02, "prediction_type": "epsilon"},
        {"beta_start": 1e-4, "beta_end": 0.02, "prediction_type": "v_prediction"},
        {"beta_start": 1e-4, "beta_end": 0.02, "prediction_type": "sample"},
        {"shift": 3.0},
    ],
)
def test_the_target_leads_back_to_the_clean_latents(config: dict[str, Any]) -> None:
    noising = Noising({"num_train_timesteps": 1000, "beta_schedule": "linear", **config})
    clean = torch.randn(8, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    noisy, steps, target = noising(clean, StepDraws.of(0, 0))
    if noising.flow:
        back = noisy - (steps / 1000).view(-1, 1, 1, 1) * target
    else:
        kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)[steps].view(-1, 1, 1, 1)
        signal, noise = kept.sqrt(), (1 - kept).sqrt()
        back = {
            "epsilon": (noisy - noise * target) / signal,
            "v_prediction": signal * noisy - noise * target,
            "sample": target,
        }[noising.kind]
    assert torch.allclose(back, clean, atol=2e-3)


def test_a_table_may_name_captions_and_drawn_maps(
    models: Path, pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(pictures, folder, ignore=shutil.ignore_patterns("*.txt"))
    drawn = np.zeros((SIDE, SIDE, 3), np.uint8)
    drawn[20:22] = 255
    Image.fromarray(drawn).save(folder / "map.png")
    rows = [
        {"file_name": f"{n:02}.png", "text": f"block {n}", "conditioning": "map.png"}
        for n in range(12)
    ]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    learnt, held = read_examples(str(folder), 1, 0)
    assert (len(learnt), len(held)) == (9, 3)
    assert {one.caption for one in (*learnt, *held)} == {f"block {n}" for n in range(12)}
    train_any(asked(folder, tmp_path / "out", steps=1), family=FAMILY, models=models)
    kept = list((tmp_path / "out" / "cache").rglob("*.npz"))
    assert len(kept) == 9
    assert all(np.array_equal(np.load(path)["map"], drawn) for path in kept)
    (folder / "metadata.jsonl").unlink()
    lines = "".join(f"{n:02}.png,\n" for n in range(12))
    (folder / "metadata.csv").write_text("file_name,text\n" + lines)
    with pytest.raises(DataError, match="12 of 12 pictures have no caption"):
        read_examples(str(folder), 1, 0)
    (folder / "metadata.csv").write_text("file_name,text\n../secret.png,x\n")
    with pytest.raises(DataError, match="row 1: there is no file"):
        read_examples(str(folder), 1, 0)


def test_what_cannot_be_trained_is_refused_in_a_sentence(
    models: Path, pictures: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(pictures / "00.png", few)
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    cases: list[tuple[dict[str, Any], Any, str]] = [
        ({"data": str(tmp_path / "none")}, FAMILY, "no such folder"),
        ({"data": str(few)}, FAMILY, "there are 1 pictures in it, and at least 8"),
        ({"control": "cany"}, FAMILY, "did you mean 'canny'"),
        ({"control": "normal"}, FAMILY, "no network for normal"),
        ({"base": "oil"}, FAMILY, "no base model in the family tiny"),
        ({"out": full}, FAMILY, "is not empty and holds no training"),
        ({"drop": 2.0}, FAMILY, "drop: 2.0"),
        ({"precision": "fp16"}, FAMILY, "for GPUs"),
    ]
    for changes, family, sentence in cases:
        wanted = replace(asked(pictures, tmp_path / "out"), **changes)
        with pytest.raises(ValueError, match=sentence):
            train_any(wanted, family=family, models=models)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in full.iterdir()] == ["thesis.txt"]


def test_a_base_model_for_inpainting_is_refused(
    models: Path, pictures: Path, tmp_path: Path
) -> None:
    from diffusers import UNet2DConditionModel

    folder = tmp_path / "inpaint"
    shutil.copytree(models / "tiny" / "base", folder)
    shape = dict(UNet2DConditionModel.load_config(folder / "unet")) | {"in_channels": 9}
    UNet2DConditionModel.from_config(shape).save_pretrained(folder / "unet")
    (tmp_path / "tiny").symlink_to(models / "tiny")
    family = FAMILY.model_copy(update={"base": {"paint": ControlNetRef(path="inpaint")}})
    with pytest.raises(FileNotFoundError, match="inpainting model"):
        train_any(asked(pictures, tmp_path / "out"), family=family, models=tmp_path)
