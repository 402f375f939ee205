"""A training of the real command is killed, and nobody can tell from what comes out.

Protects whoever trains for days on a machine that is switched off: two real SIGKILLs, one while
pictures are read and one while it learns, and the same command ends with the weights of a training
that was never broken off, which then draw in a study.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_line import run_command
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_models import FAMILY, SIDE, write_tiny_family

from workbench.training.trainer import ControlNetTraining, train_any

WEIGHTS = "controlnet/diffusion_pytorch_model.safetensors"
PICTURES = 200
ENDLESS = 100_000
"""Steps of a training that is killed: it cannot be over before."""
PATIENCE = 300.0
"""Seconds after which a training that does nothing is given up."""


def write_pictures(folder: Path) -> None:
    """Pictures of blocks with captions in one table, as an ImageFolder has them."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(PICTURES):
        blocks = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        name = f"{number:03}.png"
        Image.fromarray(np.kron(blocks, np.ones((SIDE // 4, SIDE // 4, 1), np.uint8))).save(
            folder / name
        )
        rows.append(json.dumps({"file_name": name, "text": f"a girl, {number} blocks"}))
    (folder / "metadata.jsonl").write_text("\n".join(rows))


def kill_once(command: list[str], ready: Callable[[], bool]) -> None:
    """Start a command, and kill it as soon as something is so."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        given_up = time.monotonic() + PATIENCE
        while not ready():
            assert process.poll() is None, f"it ended by itself with {process.returncode}"
            assert time.monotonic() < given_up, "it does nothing"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL


def test_two_kills_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import workbench as wb

    models, data = tmp_path / "models", tmp_path / "pictures"
    write_tiny_family(models)
    write_pictures(data)
    entry = FAMILY.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    catalogue = {"families": {"tiny": entry}}
    (models / "families.yaml").write_text(yaml.safe_dump(catalogue))
    monkeypatch.setenv("WORKBENCH_MODELS", str(models))
    out = models / "mine"
    options = [
        *("train", "controlnet", "--family", "tiny", "--control", "canny", "--data", str(data)),
        *("--out", str(out), "--device", "cpu", "--threads", "1", "--rate", "0.01", "--warm-up"),
        *("2", "--batch-size", "2", "--save-every", "3", "--validate-every", str(ENDLESS)),
    ]
    command = [sys.executable, "-m", "workbench", *options, "--steps"]
    checkpoint = out / "checkpoint.safetensors"
    kill_once([*command, str(ENDLESS)], lambda: len(list(out.rglob("*.npz"))) >= 20)
    assert not (out / WEIGHTS).exists()
    kill_once([*command, str(ENDLESS)], checkpoint.is_file)
    with safe_open(checkpoint, framework="pt") as file:
        steps = int(file.metadata()["step"]) + 2
    done = run_command(*options, "--steps", steps)
    assert done.code == 0, done.err
    assert f"resumed at step {steps - 2} of {steps}" in done.out
    whole = replace(
        ControlNetTraining("tiny", "canny", str(data), tmp_path / "whole"),
        device="cpu", threads=1, rate=0.01, warm_up=2, batch_size=2, steps=steps,
        save_every=ENDLESS, validate_every=ENDLESS,
    )  # fmt: skip
    assert train_any(whole).finished
    killed, unbroken = load_file(out / WEIGHTS), load_file(tmp_path / "whole" / WEIGHTS)
    assert all(torch.equal(killed[name], unbroken[name]) for name in unbroken | killed)
    for name in ("log.jsonl", "curve.csv"):
        assert (out / name).read_text() == (tmp_path / "whole" / name).read_text()

    mine = {"extends": "tiny", "controlnets": {"canny": {"path": "mine/controlnet"}}}
    catalogue["families"]["mine"] = mine
    (models / "families.yaml").write_text(yaml.safe_dump(catalogue))
    study = {
        "name": "trained",
        "family": "mine",
        "sources": [str(data / "000.png")],
        "controls": ["canny"],
        "prompt": "a girl",
        "scales": [0, 1],
        "seeds": [1],
        "steps": 2,
    }
    run = wb.run(wb.Study.from_dict(study), tmp_path / "run")
    assert run.table.query("metric == 'canny_f1_matched'")["value"].notna().all()
