"""Protects what runs say of the device that made them, and the switches that decide its figures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from workbench.families import hardware as room
from workbench.families.determinism import deterministic, flags
from workbench.generation.recovery import is_full

CARD = SimpleNamespace(name="NVIDIA L4", total_memory=24 * 2**30, major=8, minor=9)
NEW = hasattr(torch.backends.cudnn, "conv")


@pytest.fixture
def fresh() -> Iterator[None]:
    room.hardware.cache_clear()
    yield
    room.hardware.cache_clear()


def test_the_processor_is_told(fresh: None) -> None:
    found = room.hardware("cpu")
    assert found["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert found["processor"] and room.card("cpu") == {"processor": found["processor"]}


def test_a_card_is_told_with_its_driver_and_libraries(
    fresh: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = tmp_path / "version"
    driver.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"
    )
    monkeypatch.setattr(room, "_DRIVER_FILE", driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: CARD)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    expected = {"card": "NVIDIA L4", "memory": "24.0 GiB", "compute": "8.9"}
    expected |= {"driver": "570.86.15", "cuda": "12.8", "cudnn": "91002"}
    assert room.hardware("cuda:0") == expected
    assert room.card("cuda:0") == {"card": "NVIDIA L4"}


def test_a_device_that_is_not_here_is_nothing(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert room.hardware("cuda:3") == {}


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_failed_allocations_of_libraries_are_a_lack_of_memory(message: str) -> None:
    assert is_full(RuntimeError(message))
    assert not is_full(ValueError(message))


SWITCHED = """
import torch
from workbench.families.determinism import deterministic, flags

def state():
    names = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
    found = []
    for name in names:
        backend, operation = name.split(".")
        found.append(getattr(getattr(torch.backends, backend), operation).fp32_precision)
    for read in (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32):
        try:
            found.append(read())
        except RuntimeError:
            found.append("mixed")
    return found

for line in (
    "torch.set_float32_matmul_precision('medium')",
    "torch.backends.fp32_precision = 'tf32'",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
):
    exec(line)
    before, outside = state(), flags()
    with deterministic():
        inside = flags()
        assert not inside["cudnn_tf32"] and not inside["matmul_tf32"], (line, inside)
        assert inside["float32_matmul_precision"] == "highest", (line, inside)
        assert inside["cpu_float32"] == "ieee", (line, inside)
        assert torch.get_float32_matmul_precision() == "highest"  # other libraries ask so
    assert state() == before, (line, before, state())
    assert flags() == outside
assert "mixed" in before
print("done")
"""


@pytest.mark.skipif(not NEW, reason="PyTorch before 2.9 has one set of switches only")
def test_new_switches_of_tf32_do_not_crash_and_come_back() -> None:
    """In a process of its own: switches of both kinds at once are an error for all that follows."""
    done = subprocess.run(
        [sys.executable, "-c", SWITCHED], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "done\n", done.stderr


def test_lower_precision_of_the_processor_is_switched_off_too() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert flags()["float32_matmul_precision"] in ("medium", "high")
        with deterministic():
            assert flags()["float32_matmul_precision"] == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
