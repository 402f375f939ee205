"""Protects: models that cannot fit are refused in one sentence before anything is loaded, those
that may fit are tried, and memory that runs out is a sentence and no traceback."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import NO_WORLD, make_manager, make_study

from workbench.cli.common import friendly_message
from workbench.families.manager import ModelManager
from workbench.families.memory import memory_need, weights_need
from workbench.families.runtime import Runtime
from workbench.generation import GenerationError
from workbench.images import encode_png
from workbench.study import Plan, Study, make_plan
from workbench.sweep import estimate, run_study, runner

STUDY = make_study(base=["render"])


def plan_of(study: Study) -> Plan:
    return make_plan(study, resolution=64)


def room(monkeypatch: pytest.MonkeyPatch, **free: int | None) -> None:
    """What is free on each kind of device."""
    monkeypatch.setattr(estimate, "free_memory", lambda device: free[device.partition(":")[0]])


def manager_on(device: str, models: Path, **more: Any) -> ModelManager:
    return ModelManager(NO_WORLD, device=device, models_dir=models, **more)


def needs(models: Path) -> tuple[int, int, int]:
    """Weights of the makers, of the judges, and the whole need."""
    parts = {"bases": ["render"], "controlnets": ["canny"], "networks": []}
    weights = weights_need(NO_WORLD, "float32", models, **parts)
    whole = memory_need(NO_WORLD, "float32", weights)
    assert weights is not None and whole is not None
    return weights.makers, weights.judges, whole


def test_weights_that_cannot_fit_are_refused_with_the_ways_out(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers, judges, _ = needs(models)
    room(monkeypatch, cuda=makers + judges - 1, cpu=10**12)
    manager = manager_on("cuda:0", models)
    words = r"weights of this study.*free on cuda:0.*runtime.offload: model.*dtype: float16"
    with pytest.raises(GenerationError, match=words):
        estimate.check_fit(STUDY, plan_of(STUDY), manager)
    assert not manager.weight_hashes(), "nothing was loaded"


def test_an_estimate_that_is_a_bit_too_large_only_warns(
    models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    makers, judges, whole = needs(models)
    manager = manager_on("cuda:0", models)
    with caplog.at_level(logging.WARNING):
        room(monkeypatch, cuda=whole, cpu=10**12)
        estimate.check_fit(STUDY, plan_of(STUDY), manager)
        assert not caplog.records
        room(monkeypatch, cuda=makers + judges, cpu=10**12)
        estimate.check_fit(STUDY, plan_of(STUDY), manager)
    assert "memory may be short" in caplog.text
    room(monkeypatch, cuda=None, cpu=10**12)
    estimate.check_fit(STUDY, plan_of(STUDY), manager)


def test_what_is_offloaded_must_fit_into_main_memory(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers, judges, _ = needs(models)
    manager = manager_on("cuda:0", models, runtime=Runtime(offload="model"))
    room(monkeypatch, cuda=judges, cpu=makers)
    estimate.check_fit(STUDY, plan_of(STUDY), manager)
    room(monkeypatch, cuda=judges, cpu=makers - 1)
    with pytest.raises(GenerationError, match="free on cpu"):
        estimate.check_fit(STUDY, plan_of(STUDY), manager)


def test_half_precision_on_a_cpu_is_warned_of(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for dtype in ("float32", "float16"):
        with caplog.at_level(logging.WARNING):
            estimate.check_fit(STUDY, plan_of(STUDY), manager_on("cpu", models, dtype=dtype))
        assert ("dtype: float32 is faster" in caplog.text) == (dtype == "float16")


def test_a_run_asks_before_it_loads(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = make_manager(models, NO_WORLD)
    monkeypatch.setattr(runner, "load_manager", lambda *_: manager)
    monkeypatch.setattr(runner, "get_family", lambda _: NO_WORLD)
    monkeypatch.setattr(runner, "require_plan", lambda *_: ())
    room(monkeypatch, cpu=1000)
    with pytest.raises(GenerationError, match="free on cpu"):
        run_study(STUDY, tmp_path / "run")
    assert not manager.weight_hashes()


@pytest.mark.parametrize("part", ["pipeline", "vae_roundtrip", "clip"])
def test_memory_that_runs_out_before_the_first_picture_is_a_sentence(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore lines")

    manager = make_manager(models, NO_WORLD)
    monkeypatch.setattr(manager, part, full)
    with pytest.raises(GenerationError, match=r"^memory ran out while .*Tried.*offload: model"):
        run_study(STUDY, tmp_path / "run", manager=manager)


def test_commands_without_a_run_tell_it_too() -> None:
    told = friendly_message(torch.OutOfMemoryError("CUDA out of memory"))
    assert told is not None and told.startswith("memory ran out")
    assert friendly_message(RuntimeError("shapes differ")) is None


def test_maps_that_cannot_steer_are_told_of_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "flat.png").write_bytes(encode_png(np.full((64, 64, 3), 120, np.uint8)))
    study = make_study(sources=["flat.png", "paperdoll:900001"], scales=[1])
    study._folder = tmp_path
    notes = estimate.dry_run(study, tmp_path / "run", calibrate=False).notes
    assert [note for note in notes if "empty" in note] == [
        "The map of flat.png (Canny edges) is empty: nothing of it is drawn, so it cannot steer."
    ]
