"""Protects the promise of determinism: what is identical, what only within 2/255, and why.

Each run is made by a fresh process on the embedded model.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from workbench.families import determinism
from workbench.families.determinism import deterministic
from workbench.families.hardware import hardware
from workbench.store import RunFolder
from workbench.verify.result import METRIC_TOLERANCE, PIXEL_TOLERANCE

SCRIPT = Path(__file__).with_name("demo_run.py")
ROOT = Path(__file__).resolve().parents[2]
NUMBERS = ["value", "chance", "ceiling", "adherence"]


def make(out: Path, batch_size: int, threads: int = 1) -> RunFolder:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
    }
    command = [sys.executable, str(SCRIPT), str(out), str(batch_size)]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=600)
    return RunFolder.open(out)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """Runs of the same study: by batch size, the one of 8 twice, and one on two threads."""
    folder = tmp_path_factory.mktemp("runs")
    made = {
        name: make(folder / name, int(name.partition(" ")[0])) for name in ("3", "8", "8 again")
    }
    made["two threads"] = make(folder / "two threads", 8, threads=2)
    return made


def pictures(run: RunFolder) -> dict[str, np.ndarray]:
    return {name: run.read_sample(name) for name in run.trial_ids()}


def readings(run: RunFolder) -> pd.DataFrame:
    return run.measurements().set_index(["cell", "metric"]).sort_index()


@pytest.mark.models
def test_two_processes_give_the_same_bytes_and_numbers(runs: dict[str, RunFolder]) -> None:
    one, two = runs["8"], runs["8 again"]
    assert len(one.trial_ids()) == 12
    for name in one.trial_ids():
        assert one.sample_path(name).read_bytes() == two.sample_path(name).read_bytes()
    pd.testing.assert_frame_equal(readings(one), readings(two), check_exact=True)
    table = "measurements.parquet"
    assert (one.path / table).read_bytes() == (two.path / table).read_bytes()


@pytest.mark.models
@pytest.mark.parametrize("other", ["3", "two threads"])
def test_batch_size_and_threads_change_no_more_than_a_rounding(
    runs: dict[str, RunFolder], other: str
) -> None:
    one, two = pictures(runs["8"]), pictures(runs[other])
    assert one.keys() == two.keys()
    for name, picture in one.items():
        distance = np.abs(picture.astype(int) - two[name].astype(int))
        assert distance.max() <= PIXEL_TOLERANCE
        assert (distance > 0).mean() < 0.01
    old, new = readings(runs["8"]), readings(runs[other])
    # Readings of another picture, be it by a rounding, may move a little more than those of the
    # same picture measured anew; they must stay far below what any figure shows.
    scores = old.index.get_level_values("metric").str.startswith("clip")
    np.testing.assert_allclose(new[scores]["value"], old[scores]["value"], atol=0.1)
    for name in ("chance", "ceiling"):
        limit = 100 * METRIC_TOLERANCE
        np.testing.assert_allclose(new[scores][name], old[scores][name], atol=limit)


@pytest.mark.models
def test_the_manifest_and_the_records_say_what_made_it_so(runs: dict[str, RunFolder]) -> None:
    manifest = runs["8"].read_json("manifest.json")
    assert manifest["hardware"] == hardware("cpu")
    flags = manifest["deterministic"]
    assert flags == {
        "deterministic_algorithms": True,
        "cudnn_deterministic": True,
        "cudnn_benchmark": False,
        "cudnn_tf32": False,
        "matmul_tf32": False,
        "float32_matmul_precision": "highest",
        "cpu_float32": "ieee",
        "fp16_reduced_sums": True,
        "bf16_reduced_sums": True,
        "cublas_workspace": ":4096:8",
        "threads": 1,
    }
    assert runs["two threads"].read_json("manifest.json")["deterministic"]["threads"] == 2
    for name, size in (("3", {2, 3}), ("8", {4, 8})):
        made = [record.made_by for record in runs[name].records()]
        assert {m["batch_size"] for m in made} <= size
        assert {m["threads"] for m in made} == {1}


def test_the_switches_are_set_inside_and_put_back_outside() -> None:
    before = determinism.flags()
    with pytest.raises(ZeroDivisionError), deterministic(threads=before["threads"] + 1):
        inside = determinism.flags()
        assert inside["deterministic_algorithms"] and inside["cudnn_deterministic"]
        assert not (inside["cudnn_benchmark"] or inside["cudnn_tf32"] or inside["matmul_tf32"])
        assert inside["threads"] == before["threads"] + 1
        raise ZeroDivisionError
    assert determinism.flags() == before


def test_usual_leaves_algorithms_alone_and_computes_float32_in_full() -> None:
    before = determinism.flags()
    torch.set_float32_matmul_precision("high")
    try:
        with deterministic(choice="usual"):
            inside = determinism.flags()
    finally:
        torch.set_float32_matmul_precision("highest")
    precise = {"float32_matmul_precision": "highest", "matmul_tf32": False, "cudnn_tf32": False}
    assert inside == before | precise and not inside["deterministic_algorithms"]


def test_memory_is_not_filled_where_that_only_costs() -> None:
    memory = torch.utils.deterministic
    assert memory.fill_uninitialized_memory
    with deterministic():
        assert not memory.fill_uninitialized_memory
    assert memory.fill_uninitialized_memory


def test_switches_that_were_on_come_back_on() -> None:
    backends = torch.backends
    torch.set_float32_matmul_precision("high")
    backends.cudnn.benchmark = True
    try:
        before = determinism.flags()
        with deterministic():
            assert determinism.flags()["float32_matmul_precision"] == "highest"
            with deterministic():
                pass
            assert determinism.flags()["deterministic_algorithms"]
        assert determinism.flags() == before and before["cudnn_benchmark"]
    finally:
        torch.set_float32_matmul_precision("highest")
        backends.cudnn.benchmark = False


def test_importing_the_package_switches_nothing() -> None:
    """State of a whole process is not for an import to change."""
    code = (
        "from workbench.families import determinism as d; before = d.flags()\n"
        "import workbench.sweep, workbench.verify.run, workbench.measuring\n"
        "assert d.flags() == before"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_nothing_that_is_used_is_known_to_vary() -> None:
    """PyTorch warns of algorithms that do not repeat themselves; upsampling is the usual one."""
    with deterministic(), warnings.catch_warnings():
        warnings.simplefilter("error")
        image = torch.rand(1, 3, 8, 8)
        torch.nn.functional.interpolate(image, scale_factor=2.0, mode="nearest")
        torch.nn.functional.interpolate(image, size=(5, 5), mode="area")
        torch.nn.functional.scaled_dot_product_attention(image, image, image)
