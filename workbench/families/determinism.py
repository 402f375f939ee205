"""The one place that makes PyTorch repeat itself, for as long as a piece of work lasts.

What holds (tests/verify/test_determinism.py): on one machine, in one environment and with equal
batch sizes, the same trial gives the same bytes, whatever else is in its batch and in whichever
process. Another batch size lets rounding differ, within 2/255 of a pixel in float32.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from workbench.families.runtime import Determinism

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
CUBLAS_VALUE = ":4096:8"
"""One of the two values under which NVIDIA promises that cuBLAS repeats itself."""


_PRECISIONS = (
    *("cuda.matmul", "cudnn.conv", "cudnn.rnn"),
    *("mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn"),
)
_LEGACY = {"ieee": "highest", "none": "highest", "tf32": "high", "bf16": "medium"}


@contextmanager
def deterministic(threads: int | None = None, choice: Determinism = "strict") -> Iterator[None]:
    """Inside, the same work gives the same bits; on exit every switch is as it was before.

    Algorithms that are known to vary are replaced or, where PyTorch has no other, warned of;
    cuDNN neither times algorithms against each other nor varies; float32 is computed in full, not
    in TF32 or bfloat16, whether that was allowed by PyTorch's older switches or its newer ones.
    Memory that PyTorch hands out is not filled: this costs time, and only what reads memory that
    nobody wrote could tell.

    Args:
        threads: processor threads of PyTorch inside; None leaves their number alone.
        choice: of a study's `Runtime`; with "usual" float32 is still computed in full, and the
            choice of algorithms is left as it is.
    """
    with ExitStack() as stack:
        _full_precision(stack)
        if threads is not None:
            stack.enter_context(processor_threads(threads))
        if choice == "strict":
            _same_algorithms(stack)
        yield


def _same_algorithms(stack: ExitStack) -> None:
    """Choose algorithms that repeat themselves until the stack is closed."""
    import torch

    cudnn, memory = torch.backends.cudnn, torch.utils.deterministic
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    stack.callback(torch.use_deterministic_algorithms, algorithms, warn_only=warn_only)
    stack.callback(_set_variable, CUBLAS, os.environ.get(CUBLAS))
    switches = (
        (cudnn, "benchmark", False),
        (cudnn, "deterministic", True),
        (memory, "fill_uninitialized_memory", False),
    )
    for owner, name, value in switches:
        stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)
    os.environ.setdefault(CUBLAS, CUBLAS_VALUE)
    torch.use_deterministic_algorithms(True, warn_only=True)


@contextmanager
def processor_threads(count: int) -> Iterator[None]:
    """Inside, PyTorch computes with so many processor threads; on exit with as many as before.

    Another number may round sums differently, so a piece of work that sets it must put it back.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def flags() -> dict[str, Any]:
    """The switches that decide whether results repeat, as they are now, and the threads."""
    import torch

    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    new = {name: switch.fp32_precision for name, switch in _switches().items()}
    if new:
        own = {value for name, value in new.items() if name.startswith("mkldnn")} - {"none"}
        precision = {
            "cudnn_tf32": "tf32" in (new["cudnn.conv"], new["cudnn.rnn"]),
            "matmul_tf32": new["cuda.matmul"] == "tf32",
            "float32_matmul_precision": _LEGACY[new["cuda.matmul"]],
            "cpu_float32": ", ".join(sorted(own)) or "ieee",
        }
    else:  # before PyTorch 2.9
        precision = {
            "cudnn_tf32": cudnn.allow_tf32,
            "matmul_tf32": matmul.allow_tf32,
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
        }
    return {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": cudnn.deterministic,
        "cudnn_benchmark": cudnn.benchmark,
        **precision,
        "fp16_reduced_sums": _first(matmul.allow_fp16_reduced_precision_reduction),
        "bf16_reduced_sums": _first(matmul.allow_bf16_reduced_precision_reduction),
        "cublas_workspace": os.environ.get(CUBLAS, ""),
        "threads": torch.get_num_threads(),
    }


def _full_precision(stack: ExitStack) -> None:
    """Switch TF32 and its like off until the stack is closed.

    PyTorch 2.9 and later have two sets of switches and raise RuntimeError when an older one is read
    after a newer one was set (https://docs.pytorch.org/docs/stable/notes/cuda.html). So the older
    ones are put back only where they could be read, and the newer ones have the last word.
    """
    import torch

    for switch in _switches().values():
        stack.callback(setattr, switch, "fp32_precision", switch.fp32_precision)
    with suppress(RuntimeError):
        stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
    with suppress(RuntimeError):
        stack.callback(setattr, torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    for switch in _switches().values():
        switch.fp32_precision = "ieee"


def _switches() -> dict[str, Any]:
    """PyTorch's newer switches of float32 by their names in `torch.backends`; none before 2.9."""
    import torch

    found = {}
    for name in _PRECISIONS:
        backend, _, operation = name.partition(".")
        switch = getattr(getattr(torch.backends, backend, None), operation, None)
        try:
            switch.fp32_precision  # type: ignore[union-attr]  # noqa: B018
        except (AttributeError, AssertionError):
            return {}
        found[name] = switch
    return found


def _first(value: Any) -> Any:
    """A switch of one value or, in newer versions of PyTorch, the first of several."""
    return value[0] if isinstance(value, tuple) else value


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
