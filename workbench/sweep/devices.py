"""Which devices there are, and whether one that was asked for is among them."""

from __future__ import annotations

import re

_DEVICE = re.compile(r"cpu|mps|cuda(:\d+)?")


def cuda_devices() -> list[str]:
    """The CUDA devices of this process: "cuda:0", "cuda:1", …"""
    import torch

    if not torch.cuda.is_available():
        return []
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def own_device() -> str:
    """CUDA where there is some, else the CPU."""
    return "cuda" if cuda_devices() else "cpu"


def device_problem(device: str | None) -> str:
    """Why a device cannot be used by this process, in one sentence; "" if it can."""
    if device is None or device == "cpu":
        return ""
    if not _DEVICE.fullmatch(device):
        return f'there is no device "{device[:40]}": write cpu, cuda, cuda:0 (the first one) or mps'
    import torch

    if device == "mps":
        there = torch.backends.mps.is_available()
        return "" if there else "there is no mps device here: use the device cpu"
    have = cuda_devices()
    if not have:
        return (
            f"there is no CUDA device here for PyTorch {torch.__version__}: use the device cpu, or "
            "install a PyTorch built for CUDA and its driver"
        )
    if device != "cuda" and device not in have:
        return f"there is no device {device} here; there is: {', '.join(have)}"
    return ""
