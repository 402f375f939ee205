"""Protects: choices of memory and speed are really in force, are told as they are, and leave the
pictures what they were."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from samples import make_samples
from tiny_families import FAMILIES, write_tiny_families
from tiny_models import FAMILY, SIDE, make_maps, make_trial

from workbench.families import FamilyError, Runtime
from workbench.families.manager import ModelManager
from workbench.families.runtime import apply_runtime, attention_kernel, runtime_record, whole_range

MAPS = make_maps()
TRIALS = [make_trial(scale=scale, seed=seed) for seed, scale in enumerate((0.0, 0.5, 1.0))]


def manager_with(models: Path, **choices: Any) -> ModelManager:
    return ModelManager(FAMILY, models_dir=models, runtime=Runtime(**choices))


def pictures(manager: ModelManager) -> np.ndarray:
    made = make_samples(TRIALS, MAPS, manager)
    assert [result.failed_reason for result in made] == ["", "", ""]
    return np.stack([np.asarray(result.image) for result in made]).astype(int)


@pytest.fixture(scope="module")
def usual(models: Path) -> np.ndarray:
    """The pictures with all choices at their defaults."""
    return pictures(manager_with(models))


@pytest.mark.parametrize(
    "choices",
    [
        {"attention": "math"},
        {"attention": "flash"},
        {"attention": "eager"},
        {"vae_slicing": True},
        {"vae_tiling": True},
        {"channels_last": False},
    ],
    ids=str,
)
def test_choices_are_in_force_and_leave_the_pictures_alone(
    models: Path, usual: np.ndarray, choices: dict[str, Any]
) -> None:
    manager = manager_with(models, **choices)
    assert np.abs(pictures(manager) - usual).max() <= 2
    force = manager.in_force["depth",]
    for name, value in choices.items():
        assert force[name] == value
    pipeline = manager.pipeline("depth")
    assert pipeline.vae.use_slicing == choices.get("vae_slicing", False)
    assert pipeline.vae.use_tiling == choices.get("vae_tiling", False)
    weight = pipeline.unet.conv_in.weight
    last = weight.is_contiguous(memory_format=torch.channels_last)
    assert last == choices.get("channels_last", True)


@pytest.mark.parametrize(("attention", "kernel"), [("auto", "flash"), ("math", "math")])
def test_the_kernel_told_is_the_one_that_runs(models: Path, attention: str, kernel: str) -> None:
    manager = manager_with(models, attention=attention)
    manager.pipeline("depth")
    told = manager.in_force["depth",]
    assert set(told["attention_kernels"].values()) == {kernel}
    assert told["attention_processors"] == ["AttnProcessor2_0"]
    query = torch.randn(1, 4, 16, 4)
    with torch.no_grad(), attention_kernel(manager.runtime), torch.profiler.profile() as seen:
        torch.nn.functional.scaled_dot_product_attention(query, query, query)
    names = {event.name for event in seen.events()}
    assert any(f"_attention_{kernel}" in name or f"_{kernel}_attention" in name for name in names)


def test_eager_attention_calls_no_fused_kernel(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = manager_with(models, attention="eager")
    manager.pipeline("depth")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a fused kernel was called")

    cross = next(
        m for n, m in manager.pipeline("depth").unet.named_modules() if n.endswith("attn2")
    )
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", refuse)
    cross(torch.randn(1, 4, cross.query_dim), torch.randn(1, 4, cross.cross_attention_dim))
    assert manager.in_force["depth",]["attention_kernels"] == {}
    assert manager.in_force["depth",]["attention_processors"] == ["AttnProcessor"]


def test_a_kernel_the_device_lacks_is_refused(models: Path) -> None:
    with pytest.raises(FamilyError, match=r"efficient does not run on cpu.*take auto"):
        manager_with(models, attention="efficient").pipeline(None)


@pytest.mark.parametrize("attention", ["math", "flash"])
def test_a_device_that_does_not_tell_its_kernel_is_not_refused(
    models: Path, monkeypatch: pytest.MonkeyPatch, attention: str
) -> None:
    def silent(*_: Any) -> int:
        raise NotImplementedError("no kernel registered")

    monkeypatch.setattr(torch, "_fused_sdp_choice", silent)
    manager = manager_with(models, attention=attention)
    manager.pipeline("depth")
    kernels = manager.in_force["depth",]["attention_kernels"]
    assert set(kernels.values()) == {"unknown"}
    parts = {name.partition(" ")[0] for name in kernels}
    assert {"UNet2DConditionModel", "ControlNetModel"} <= parts, "one must not hide another"


def test_compiled_blocks_make_the_same_pictures_with_a_scale_for_each_sample(
    models: Path, usual: np.ndarray
) -> None:
    manager = manager_with(models)
    pipeline, chosen = manager.pipeline("depth"), Runtime(compile="regional")
    force = apply_runtime(pipeline, chosen, "cpu", compile_backend="aot_eager")
    blocks = [
        block
        for part in (pipeline.unet, pipeline.controlnet)
        for block in part.modules()
        if type(block).__name__ == "BasicTransformerBlock"
    ]
    compiled = [block._compiled_call_impl for block in blocks]
    assert force["compiled_blocks"] == len(blocks) > 0 and None not in compiled
    assert np.abs(pictures(manager) - usual).max() <= 2
    again = apply_runtime(manager.pipeline(None), chosen, "cpu", compile_backend="aot_eager")
    assert 0 < again["compiled_blocks"] < len(blocks)
    assert [block._compiled_call_impl for block in blocks] == compiled, "compiled only once"


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offload_is_refused_on_a_cpu_before_anything_is_loaded(
    tmp_path: Path, offload: str
) -> None:
    with pytest.raises(FamilyError, match=r"computes on the CPU: take offload: none$"):
        manager_with(tmp_path, offload=offload)


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offload_is_handed_to_diffusers_with_the_device(
    models: Path, monkeypatch: pytest.MonkeyPatch, offload: str
) -> None:
    from diffusers import DiffusionPipeline

    asked: list[tuple[str, str]] = []
    for kind in ("model", "sequential"):
        name = f"enable_{kind}_cpu_offload"
        monkeypatch.setattr(
            DiffusionPipeline, name, lambda _, device, kind=kind: asked.append((kind, device))
        )
    runtime = Runtime(offload=offload)
    manager = ModelManager(FAMILY, models_dir=models, device="meta", runtime=runtime)
    unet = manager.pipeline(None).unet
    assert asked == [(offload, "meta")]
    assert unet.device.type == "cpu", "the weights wait in main memory"
    assert manager.in_force[()]["vae_slicing"] is True, "which is the default off the CPU"


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_the_hooks_of_offloading_get_along_with_those_of_the_sampler(
    models: Path, usual: np.ndarray, offload: str
) -> None:
    """accelerate's hooks replace forwards, and so does the sampler's own: run both, on a CPU."""
    from accelerate import cpu_offload

    manager = manager_with(models)
    for controls in ((), ("depth",)):
        pipeline = manager.pipeline(*controls)
        if offload == "model":
            pipeline.enable_model_cpu_offload(device="cpu")
            continue
        # As enable_sequential_cpu_offload does, which insists on "cpu:0", and torch has no such.
        pipeline.remove_all_hooks()
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                cpu_offload(part, torch.device("cpu"), offload_buffers=len(part._parameters) > 0)
    assert hasattr(manager.pipeline("depth").controlnet, "_hf_hook")
    assert np.abs(pictures(manager) - usual).max() <= 2
    assert np.abs(pictures(manager) - usual).max() <= 2, "and a second time"
    assert len(manager.vae_roundtrip([np.full((SIDE, SIDE, 3), 90, np.uint8)])) == 1


def test_choices_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="take offload: model, or compile: none"):
        Runtime(offload="sequential", compile="regional")


def test_the_record_names_asked_and_in_force(models: Path) -> None:
    manager = manager_with(models, attention="math")
    manager.pipeline("depth", "canny")
    record = runtime_record(manager.runtime, manager.in_force)
    assert record["asked"]["attention"] == "math" and record["asked"]["vae_slicing"] == "auto"
    assert record["in_force"]["depth + canny"]["vae_slicing"] is False
    assert record["in_force"]["no control"]["channels_last"] is True


def test_a_vae_that_overflows_in_half_precision_computes_in_float32(
    models: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    manager = ModelManager(FAMILY, models_dir=models, dtype="float16")
    vae = manager.pipeline(None).vae
    vae.register_to_config(force_upcast=True)
    with whole_range(vae) as dtype:
        assert (dtype, vae.dtype) == (torch.float32, torch.float32)
    assert vae.dtype == torch.float16
    seen: list[torch.dtype] = []
    handle = vae.encoder.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    source = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    (half,) = manager.vae_roundtrip([source])
    handle.remove()
    (full,) = manager_with(models).vae_roundtrip([source])
    assert seen == [torch.float32]
    rounding = 3  # of the weights, which were half precision before
    assert np.abs(half.astype(int) - full).max() <= rounding
    assert "kept in float32" not in caplog.text, "diffusers' warning about nothing"


def test_the_ceiling_is_decoded_as_the_samples_are(models: Path, tmp_path: Path) -> None:
    """Only SDXL's pipelines heed `force_upcast`, which VAEs have on unless they say otherwise."""
    write_tiny_families(tmp_path)
    for name, expected in (("tiny-sd", torch.float16), ("tiny-xl", torch.float32)):
        manager = ModelManager(FAMILIES[name], models_dir=tmp_path, dtype="float16")
        pipeline, seen = manager.pipeline(None), []
        pipeline.vae.decoder.register_forward_hook(lambda m, i, o, to=seen: to.append(o.dtype))
        manager.vae_roundtrip([np.full((SIDE, SIDE, 3), 90, np.uint8)])
        make_samples([make_trial(family=name, base="one", control=None)], {}, manager)
        assert seen == [expected, expected], name
