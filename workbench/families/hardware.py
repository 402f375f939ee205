"""What a device is, as far as it decides pixels: card, driver and libraries, or the processor."""

from __future__ import annotations

import platform
import re
import subprocess
from functools import cache
from pathlib import Path

_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_CPU_FILE = Path("/proc/cpuinfo")


@cache
def hardware(device: str) -> dict[str, str]:
    """What is known of a device ("cpu", "cuda:0", "mps") here; {} for one that is not here.

    A GPU: "card", "memory", "compute" (its capability), "driver", and the versions "cuda" (or
    "rocm") and "cudnn" that PyTorch was built with. The CPU: "processor", and "instructions" (the
    set that PyTorch's kernels use).
    """
    import torch

    kind = device.partition(":")[0]
    found: dict[str, object] = {}
    if kind == "cpu":
        found = {
            "processor": _processor(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
        }
    elif kind == "cuda" and torch.cuda.is_available():
        about = torch.cuda.get_device_properties(device)
        found = {
            "card": about.name,
            "memory": f"{about.total_memory / 2**30:.1f} GiB",
            "compute": f"{about.major}.{about.minor}",
            "driver": _driver(),
            "cuda": torch.version.cuda,
            "rocm": torch.version.hip,
            "cudnn": torch.backends.cudnn.version(),
        }
    elif kind == "mps" and torch.backends.mps.is_available():
        found = {"card": _processor(), "driver": platform.mac_ver()[0]}
    return {name: str(value) for name, value in found.items() if value}


def card(device: str) -> dict[str, str]:
    """The card or processor alone, for the record of a picture: {"card": name}."""
    return {k: v for k, v in hardware(device).items() if k in ("card", "processor")}


def _driver() -> str:
    try:
        found = re.search(r"\b\d{3,}\.\d[\d.]*", _DRIVER_FILE.read_text("utf-8"))
        if found:
            return found[0]
        raise OSError("the file names no version")
    except OSError:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout.partition("\n")[0].strip()


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", _CPU_FILE.read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()
