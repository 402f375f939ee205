"""What this machine is, as plain values: processor, memory, devices, disk, packages, tools."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from pathlib import Path
from typing import Any

from workbench.formats import GB, gigabytes
from workbench.threads import POLICY, chosen

LITTLE_DISK = 2 * GB
PROGRAMS = {
    "chromium": ("chromium", "chromium-browser"),
    "C++ compiler": ("g++", "clang++", "cl"),
}
_BLACK_IN_HALF = ("GTX 16",)
"""Parts of the names of GPUs that are known for black pictures in float16."""


def machine_facts() -> dict[str, Any]:
    """Processor, memory, devices and tools."""
    import psutil
    import torch

    memory = psutil.virtual_memory()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": {
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "waiting": chosen(),
            "capability": torch.backends.cpu.get_cpu_capability(),
        },
        "memory": {"total": int(memory.total), "available": int(memory.available)},
        "devices": devices(),
        "tools": tools(),
    }


def tools() -> dict[str, bool]:
    """Programs that some commands need: whether they are there."""
    found = {name: any(map(shutil.which, names)) for name, names in PROGRAMS.items()}
    return found | {"jupyter lab": importlib.util.find_spec("jupyterlab") is not None}


def devices() -> list[dict[str, Any]]:
    """GPUs that PyTorch can compute on: name, memory in bytes (0: unknown), bfloat16 or not."""
    import torch

    found: list[dict[str, Any]] = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        facts = {"device": f"cuda:{index}", "name": torch.cuda.get_device_name(index)}
        bfloat16 = torch.cuda.get_device_capability(index) >= (8, 0)
        found.append(facts | {"total": total, "free": free, "bfloat16": bfloat16})
    if torch.backends.mps.is_available():
        limit = int(torch.mps.recommended_max_memory())
        facts = {"device": "mps", "name": "Apple GPU"}
        found.append(facts | {"total": limit, "free": limit, "bfloat16": False})
    return found


def disk_facts(folder: Path) -> dict[str, Any]:
    """Free bytes where a folder is or would be, and whether it can be written to."""
    nearest = folder.resolve()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    free = shutil.disk_usage(nearest).free
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    return {"folder": str(folder), "free": free, "writable": writable}


def black_in_half(device: dict[str, Any]) -> bool:
    """Whether a device is known for black pictures in float16."""
    return any(part in device["name"] for part in _BLACK_IN_HALF) or device["device"] == "mps"


def machine_warnings(facts: dict[str, Any]) -> list[str]:
    """What works but will not please, one sentence each."""
    found: list[str] = []
    if not facts["devices"]:
        found.append("There is no GPU: the embedded model is made for that, real models are slow.")
        found.append("float16 and bfloat16 are slower than float32 on a CPU, not faster.")
        if shutil.which("nvidia-smi"):
            found.append(
                "There is an NVIDIA driver, but this PyTorch cannot use it: install a build of "
                "torch for CUDA."
            )
    for device in facts["devices"]:
        name = device["name"]
        if black_in_half(device):
            found.append(
                f"{name} may return black pictures in float16; they become failed trials: take "
                "dtype: float32 then."
            )
        elif not device["bfloat16"]:
            found.append(f"{name} has no fast bfloat16: take float16 or float32.")
    if facts["cpu"]["threads"] > 1 and facts["cpu"]["waiting"] is None:
        found.append(
            "PyTorch was loaded before the workbench, so its threads spin while they wait for each "
            f"other, which is slow beside other programs: import workbench first, or set {POLICY} "
            "to PASSIVE."
        )
    if facts["disk"]["free"] < LITTLE_DISK:
        found.append(f"Only {gigabytes(facts['disk']['free'])} are free for runs.")
    for tool, use in (
        ("jupyter lab", "the notebook app"),
        ("chromium", "the tests in a browser"),
        ("C++ compiler", "compile: regional on a CPU"),
    ):
        if not facts["tools"][tool]:
            found.append(f"There is no {tool}, which {use} needs.")
    return found
