"""Protects: weights are loaded once, safely, and in the precision that was asked for."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_models import FAMILY, SIDE

from workbench.families import FamilyError, LocateError, ModelRef
from workbench.families.locate import fingerprints, local_place
from workbench.families.manager import ModelManager


def test_pipelines_share_everything_but_the_controlnet(manager: ModelManager) -> None:
    plain, depth, canny = (manager.pipeline(name) for name in (None, "depth", "canny"))
    assert type(plain).__name__ == "StableDiffusionPipeline"
    assert type(depth).__name__ == "StableDiffusionControlNetPipeline"
    for part in ("unet", "vae", "text_encoder", "tokenizer"):
        assert getattr(plain, part) is getattr(depth, part) is getattr(canny, part)
    assert depth.controlnet is not canny.controlnet
    assert manager.pipeline("depth") is depth


def test_managers_of_one_family_share_controlnets_and_judges(manager: ModelManager) -> None:
    ink = manager.for_base("ink")
    assert ink is not manager
    assert ink is manager.for_base("ink")
    assert ink.for_base("render") is manager
    mine, theirs = (m.pipeline("depth").controlnet for m in (manager, ink))
    assert mine is not theirs, "what a pipeline writes into its ControlNet stays with its base"
    assert all(a is b for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
    assert ink.pipeline(None).unet is not manager.pipeline(None).unet
    assert ink.clip() is manager.clip()
    with pytest.raises(FamilyError, match="there is: render, ink"):
        manager.for_base("oil")


def test_several_controls_share_the_controlnets_of_the_single_ones(manager: ModelManager) -> None:
    both = manager.pipeline("canny", "depth")
    assert both is manager.pipeline("canny", "depth")
    nets = list(both.controlnet.nets)
    assert all(
        net is manager.pipeline(name).controlnet
        for net, name in zip(nets, ("canny", "depth"), strict=True)
    )
    assert both.unet is manager.pipeline(None).unet
    assert not both.controlnet.training
    with pytest.raises(FamilyError, match="depth, canny"):
        manager.pipeline("depth", "pose")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_half_precision_files_load_in_the_wanted_precision(models: Path, dtype: str) -> None:
    manager = ModelManager(FAMILY, dtype=dtype, models_dir=models)
    pipeline = manager.pipeline("depth")
    wanted = getattr(torch, dtype)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.controlnet):
        assert {weight.dtype for weight in part.parameters()} == {wanted}
        assert not part.training
        assert not any(weight.requires_grad for weight in part.parameters())
    assert next(manager.clip().model.parameters()).dtype == torch.float32


def test_an_unknown_dtype_or_control_is_refused(manager: ModelManager, models: Path) -> None:
    with pytest.raises(FamilyError, match="float32, float16, bfloat16"):
        ModelManager(FAMILY, dtype="int8", models_dir=models)
    with pytest.raises(FamilyError, match="depth, canny"):
        manager.pipeline("pose")


def test_nothing_is_loaded_before_it_is_needed(tmp_path: Path) -> None:
    manager = ModelManager(FAMILY, models_dir=tmp_path)
    for ask in (manager.pipeline, manager.clip, lambda: manager.controlnet("depth")):
        with pytest.raises(LocateError, match="tiny"):
            ask()
    assert list(manager.networks()) == ["depth"]
    assert manager.weight_hashes() == {}


def test_pickled_weights_are_refused(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "controlnet" / "depth"
    shutil.copytree(models / "tiny" / "controlnet" / "depth", folder)
    weights = folder / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    torch.save({}, weights.with_suffix(".bin"))
    with pytest.raises(OSError, match="safetensors"):
        ModelManager(FAMILY, models_dir=tmp_path).controlnet("depth")


def test_loading_is_quiet(
    models: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        ModelManager(FAMILY, models_dir=models).pipeline("depth")
        ModelManager(FAMILY, models_dir=models).clip()
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert caplog.records == []


def test_hashes_cover_what_was_used_and_follow_the_files(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    manager = ModelManager(FAMILY, models_dir=tmp_path)
    manager.pipeline("depth")
    before = manager.weight_hashes()
    name = "tiny/controlnet/depth/diffusion_pytorch_model.safetensors"
    assert before[name] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    folders = {"/".join(name.split("/")[:3]) for name in before}
    names = ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "model_index.json")
    parts = {f"tiny/base/{part}" for part in names}
    assert folders == parts | {"tiny/controlnet/depth"}
    (tmp_path / name).write_bytes(b"changed")
    after = manager.weight_hashes()
    assert {key for key in before if before[key] != after[key]} == {name}
    manager.clip()
    assert any(key.startswith("tiny/clip/") for key in manager.weight_hashes())


def test_fingerprints_tell_the_variant_and_only_files_that_are_loaded(
    models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models / "tiny", tmp_path / "tiny")
    base = tmp_path / "tiny" / "base"
    ref = ModelRef(path="tiny/base")
    before = fingerprints(ref, local_place(ref, base))
    (base / "safety_checker").mkdir()
    save_file({"w": torch.zeros(9)}, base / "v1-5-pruned-emaonly.safetensors")
    save_file({"w": torch.zeros(9)}, base / "safety_checker" / "model.safetensors")
    unet = base / "unet" / "diffusion_pytorch_model"
    shutil.copy(f"{unet}.safetensors", f"{unet}.non_ema.safetensors")
    assert fingerprints(ref, local_place(ref, base)) == before

    shutil.copy(f"{unet}.safetensors", f"{unet}.fp16.safetensors")
    half = ModelRef(path="tiny/base", variant="fp16")
    commit = "a" * 40
    told = [fingerprints(r, local_place(r, base, commit))["tiny/base"] for r in (ref, half)]
    assert told == [f"revision {commit}", f"revision {commit}, variant fp16"]


def test_the_round_trip_is_the_pipelines_own_vae(manager: ModelManager) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(18)]
    out = manager.vae_roundtrip(images)
    pipeline = manager.pipeline(None)
    with torch.no_grad():
        signal = pipeline.image_processor.preprocess(images[17] / np.float32(255))
        latents = pipeline.vae.encode(signal).latent_dist.mean
        decoded = pipeline.vae.decode(latents).sample
        wanted = pipeline.image_processor.postprocess(decoded, output_type="np")[0]
    assert len(out) == 18
    assert out[17].dtype == np.uint8
    assert np.abs(out[17] / 255 - wanted).max() <= 1.01 / 255
    assert manager.vae_roundtrip([]) == []


def test_token_counts_tell_what_the_text_encoder_cuts(manager: ModelManager) -> None:
    empty, short, long = (manager.token_count(text) for text in ("", "a girl", "a girl " * 20))
    assert (empty.tokens, empty.truncated) == (2, False)
    assert (short.tokens > 2, short.truncated) == (True, False)
    assert (long.tokens > FAMILY.text_limit, long.truncated) == (True, True)


class FakeJudge(torch.nn.Module):
    """Stands in for the network that is loaded for a family: depth is the red channel."""

    def networks(self) -> dict[str, object]:
        return {"depth": lambda batch: batch[..., 0].astype(np.float32) / 255}


def test_networks_are_loaded_when_looked_up_and_once(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []

    def load_judge(folder: Path) -> FakeJudge:
        loaded.append(folder)
        return FakeJudge()

    monkeypatch.setattr("workbench.families.judge.load_judge", load_judge)
    (tmp_path / "tiny" / "judge").mkdir(parents=True)
    manager = ModelManager(FAMILY, models_dir=tmp_path)
    networks = manager.networks()
    assert loaded == []
    picture = np.full((1, 4, 4, 3), 255, np.uint8)
    assert networks["depth"](picture).shape == (1, 4, 4)
    assert manager.for_base("ink").networks()["depth"](picture).mean() == 1
    assert loaded == [tmp_path / "tiny" / "judge"]
    assert "pose" not in networks
    with pytest.raises(FamilyError, match='no network "pose"; there is: depth'):
        manager.network("pose")
