"""Every stage, for two steps on a few scenes: it runs, resumes, and exports loadable folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workbench.training.context import TrainingContext
from workbench.training.data import render_arrays, world_data
from workbench.training.stages import StageError, run_stage, stage_names
from workbench.training.vae import encode, new_vae, normalise_latents, reconstruct


def context(root: Path, **limits: Any) -> TrainingContext:
    """Where the stages of a test work, on one thread and a few scenes."""
    return TrainingContext(root / "work", root / "paperdoll", threads=1, scenes=64, **limits)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family made by all kinds of stages in their order, two steps each.

    Of the ControlNets, which differ in the map that is drawn, two are made.
    """
    root = tmp_path_factory.mktemp("training")
    made = {f"controlnet:{name}" for name in ("canny", "depth")}
    for stage in stage_names():
        if stage.startswith("controlnet:") and stage not in made:
            continue
        finished = run_stage(stage, context(root, steps=2))
        assert finished, stage
    return root


def test_the_folders_load_as_a_stock_pipeline(built: Path) -> None:
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

    folder = built / "paperdoll"
    controlnet = ControlNetModel.from_pretrained(folder / "controlnet" / "depth")
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(
        folder / "base", controlnet=controlnet, safety_checker=None
    )
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline(
        "a girl, snow",
        image=torch.zeros(1, 3, 128, 128),
        num_inference_steps=2,
        output_type="np",
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    assert picture.shape == (128, 128, 3)
    assert np.isfinite(picture).all()


def test_clip_loads_and_scores(built: Path) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    folder = built / "paperdoll" / "clip"
    model = CLIPModel.from_pretrained(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    ids = tokenizer(["a girl", "a boy, snow"], padding=True, return_tensors="pt")
    pixels = torch.zeros(1, 3, 128, 128)
    assert model(**ids, pixel_values=pixels).logits_per_image.shape == (1, 2)


def test_the_other_style_is_a_checkpoint_of_its_own(built: Path) -> None:
    from diffusers import StableDiffusionPipeline

    base = StableDiffusionPipeline.from_pretrained(built / "paperdoll" / "base")
    ink = StableDiffusionPipeline.from_pretrained(built / "paperdoll" / "ink")
    for part in ("unet", "vae"):
        pairs = zip(getattr(base, part).parameters(), getattr(ink, part).parameters(), strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs), part
    same = zip(base.text_encoder.parameters(), ink.text_encoder.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)


def test_a_controlnet_leaves_its_learning_curve(built: Path) -> None:
    import json

    curve = json.loads((built / "paperdoll" / "curves" / "canny.json").read_text())
    assert curve["control"] == "canny"
    assert [go["start"] for go in curve["goes"]] == [""]
    looks = [row["step"] for row in curve["goes"][0]["history"] if "adherence" in row]
    assert looks == [0, 2]  # the first and the last


def test_improving_starts_from_the_finished_weights(built: Path, tmp_path: Path) -> None:
    """No checkpoint, one step at a warm-up rate: the weights stay near those it started from."""
    import shutil

    from workbench.training.auditor import load_auditor

    models = tmp_path / "paperdoll"
    shutil.copytree(built / "paperdoll", models)
    (tmp_path / "work").mkdir()
    for world in ("world", "auditor-world"):
        (tmp_path / "work" / world).symlink_to(built / "work" / world)
    before = [p.clone() for p in load_auditor(models / "auditor").parameters()]
    assert run_stage("auditor", context(tmp_path, steps=1, improve=True))
    after = list(load_auditor(models / "auditor").parameters())
    gaps = [float((a - b).abs().max()) for a, b in zip(after, before, strict=True)]
    assert 0 < max(gaps) < 1e-3


def test_improving_draws_anew_and_goes_on_with_the_curve(built: Path, tmp_path: Path) -> None:
    """Learning the first go's draws again would teach little; its curve must not be lost."""
    import json
    import shutil

    models = tmp_path / "paperdoll"
    shutil.copytree(built / "paperdoll", models)
    shutil.copytree(built / "work", tmp_path / "work")
    for seed in (None, 7, 7):  # the third has nothing left to do
        assert run_stage("controlnet:canny", context(tmp_path, steps=1, improve=True, seed=seed))
    goes = json.loads((models / "curves" / "canny.json").read_text())["goes"]
    assert [go["start"] for go in goes] == ["", "canny", "canny"]
    seeds = [go["seed"] for go in goes]
    assert len(set(seeds)) == 3 and seeds[2] == 7


def test_a_finished_stage_is_not_run_again(built: Path) -> None:
    before = (built / "work" / "unet.safetensors").stat().st_mtime_ns
    assert run_stage("unet", context(built, steps=2))
    assert (built / "work" / "unet.safetensors").stat().st_mtime_ns == before


def test_an_unknown_stage_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="controlnet:depth"):
        run_stage("controlnet:hats", context(tmp_path))


def test_a_stage_without_its_groundwork_says_what_to_run_first(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="builds on stage clip"):
        run_stage("unet", context(tmp_path))


def test_normalising_latents_changes_no_picture() -> None:
    rgb = render_arrays(range(8))["rgb"]
    vae = new_vae().eval()
    data = world_data_like(rgb)
    before = reconstruct(vae, rgb)
    normalise_latents(vae, data, count=8)
    latents = encode(vae, rgb).float()
    assert np.abs(before.astype(int) - reconstruct(vae, rgb).astype(int)).max() <= 1
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(4), atol=0.02)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(4), atol=0.02)


def world_data_like(rgb: np.ndarray) -> object:
    """Just enough of `WorldData` for what reads pictures only."""
    from types import SimpleNamespace

    return SimpleNamespace(rgb=rgb)


def test_a_half_made_world_is_made_anew(tmp_path: Path) -> None:
    first = world_data(tmp_path, range(4), workers=1)
    rows = np.array(first.rgb)
    (tmp_path / "complete.json").unlink()
    (tmp_path / "rgb.npy").write_bytes(b"cut off")
    assert np.array_equal(world_data(tmp_path, range(4), workers=1).rgb, rows)


def test_a_controlnet_can_start_from_another_one(built: Path, tmp_path: Path) -> None:
    """One step at a warm-up rate after the start: the copy stays near the one it came from."""
    import shutil

    from workbench.training.export import load_controlnet

    models = tmp_path / "paperdoll"
    shutil.copytree(built / "paperdoll", models)
    shutil.copytree(
        built / "work", tmp_path / "work", ignore=shutil.ignore_patterns("controlnet-*")
    )
    assert run_stage("controlnet:hed", context(tmp_path, steps=1, start_from="canny"))
    canny = dict(load_controlnet("canny", models).named_parameters())
    for name, weights in load_controlnet("hed", models).named_parameters():
        assert float((weights - canny[name]).abs().max()) < 2e-3, name


@pytest.mark.parametrize(
    ("stage", "start", "words"),
    [
        ("unet", "canny", "only ControlNets"),
        ("controlnet:canny", "canny", "no finished other one"),
        ("controlnet:canny", "hats", "no finished other one"),
    ],
)
def test_a_start_that_cannot_be_is_refused(built: Path, stage: str, start: str, words: str) -> None:
    with pytest.raises(StageError, match=words):
        run_stage(stage, context(built, start_from=start))
