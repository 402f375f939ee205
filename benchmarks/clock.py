"""How much of a stretch of time models spend in their forward passes."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from torch import nn
from torch.nn.modules import module as hooks
from torchmetrics import Metric


class Stopwatch:
    """Seconds since it was made: on the wall, and of processor time over all threads.

    On a busy machine the second is the one to compare.
    """

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """(wall, processor) seconds."""
        wall, processor = self._began
        return time.perf_counter() - wall, time.process_time() - processor


class ForwardClock:
    """Counts the seconds during which the forward pass of some module runs.

    `seconds` is wall time, `cpu_seconds` processor time, `by_model` wall time by class.

    Inside the context every module is watched; a module called by another one is not counted
    twice, and torchmetrics' metrics, which are modules too, are not models. For one thread and
    for devices that compute synchronously.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.by_model: dict[str, float] = {}
        self._depth = 0
        self._watch = Stopwatch()
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        self._handles = [
            hooks.register_module_forward_pre_hook(self._before),
            hooks.register_module_forward_hook(self._after, always_call=True),
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _before(self, module: nn.Module, inputs: Any) -> None:
        if isinstance(module, Metric):
            return
        if self._depth == 0:
            self._watch = Stopwatch()
        self._depth += 1

    def _after(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(module, Metric):
            return
        self._depth -= 1
        if self._depth == 0:
            spent, processor = self._watch.read()
            name = type(module).__name__
            self.seconds += spent
            self.cpu_seconds += processor
            self.by_model[name] = self.by_model.get(name, 0.0) + spent
