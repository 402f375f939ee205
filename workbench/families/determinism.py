"""The one place that makes PyTorch repeat itself, for as long as a piece of work lasts.

What holds (tests/verify/test_determinism.py): on one machine, in one environment and with equal
batch sizes, the same trial gives the same bytes, whatever else is in its batch and in whichever
process. Another batch size lets rounding differ, within 2/255 of a pixel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
CUBLAS_VALUE = ":4096:8"
"""One of the two values under which NVIDIA promises that cuBLAS repeats itself."""


@contextmanager
def deterministic(threads: int | None = None) -> Iterator[None]:
    """Inside, the same work gives the same bits; on exit every switch is as it was before.

    Algorithms that are known to vary are replaced or, where PyTorch has no other, warned of;
    cuDNN neither times algorithms against each other nor varies; TF32 is off.

    Args:
        threads: processor threads of PyTorch inside; None leaves their number alone.
    """
    import torch

    cudnn = torch.backends.cudnn
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with ExitStack() as stack:
        stack.callback(torch.use_deterministic_algorithms, algorithms, warn_only=warn_only)
        stack.callback(_set_variable, CUBLAS, os.environ.get(CUBLAS))
        stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        for owner, name, value in (
            (cudnn, "benchmark", False),
            (cudnn, "deterministic", True),
            (cudnn, "allow_tf32", False),
        ):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        if threads is not None:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        os.environ.setdefault(CUBLAS, CUBLAS_VALUE)
        torch.set_float32_matmul_precision("highest")  # no TF32 in products
        torch.use_deterministic_algorithms(True, warn_only=True)
        yield


def flags() -> dict[str, Any]:
    """The switches that decide whether results repeat, as they are now, and the threads."""
    import torch

    return {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cublas_workspace": os.environ.get(CUBLAS, ""),
        "threads": torch.get_num_threads(),
    }


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
