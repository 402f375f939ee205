"""Measuring and storing a batch while the next one is drawn.

One thread does it, batch after batch in their order, and no more than `WAITING` batches are drawn
but not stored while another is at work: this bounds the memory, and what a kill can lose. The
pictures, the readings and the order in which they are stored are those of doing it in line.

Pipelines are not safe for threads, so the thread touches none: before it starts, all models are
loaded, and chance and ceiling, which go through the VAE of the pipeline, are known. Where anything
fails in the thread, as memory may, the batch is measured once more in line, with the device to
itself, so that errors come out where they always did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager

WAITING = 2
"""How many batches may be drawn and not stored while another is drawn."""

FREE = ("auto", "eager")
"""Choices of `Runtime.attention` that concern the pipelines alone."""

T = TypeVar("T")


def pays(manager: ModelManager) -> bool:
    """Whether batches are measured beside: on a CUDA device, where the processor is idle meanwhile.

    On a CPU both would share the cores. A kernel that was chosen for attention is in force in all
    threads while a batch is drawn, so that the judges would use it at times: then it is not done.
    """
    return manager.device.partition(":")[0] == "cuda" and manager.runtime.attention in FREE


def beside(
    batches: Iterator[T], work: Callable[[T], None], again: Callable[[T], None]
) -> Iterator[T]:
    """Yield each batch once its work is done, by a thread that works while the next are drawn.

    Args:
        batches: drawn one by one, in the thread of the caller.
        work: done in the thread. What raises there is left for `again`, and so is every batch
            after it until the caller has caught up.
        again: does the same in the thread of the caller; its errors end the iteration.

    An error of `batches` comes out after what was drawn before it is stored.
    """
    waiting: deque[tuple[T, Future[bool]]] = deque()
    failures: list[Exception] = []

    def oldest() -> T:
        batch, done = waiting.popleft()
        if not done.result():
            again(batch)
        return batch

    with ThreadPoolExecutor(1, thread_name_prefix="measuring") as thread:
        for batch in _until_error(batches, failures):
            before = waiting[-1][1] if waiting else None
            waiting.append((batch, thread.submit(_attempt, work, batch, before)))
            while waiting and (len(waiting) > WAITING or waiting[0][1].done()):
                yield oldest()
        while waiting:
            yield oldest()
    if failures:
        raise failures[0]


def _until_error(batches: Iterator[T], failures: list[Exception]) -> Iterator[T]:
    """The batches up to an error in drawing, which goes into the list."""
    try:
        yield from batches
    except Exception as error:
        failures.append(error)


def _attempt(work: Callable[[T], None], batch: T, before: Future[bool] | None) -> bool:
    """Whether the work was done: not where it failed, nor after a batch for which it was not."""
    if before is not None and not before.result():
        return False  # the order is kept
    try:
        work(batch)
    except Exception:
        return False
    return True
