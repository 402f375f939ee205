"""What happens when making pictures fails: smaller batches, then failed trials, then an end.

Nothing of it is silent: smaller batches are logged and recorded in `made_by`, a trial that cannot
be made even alone is a failed trial with a reason, and where nothing at all can be made the run
ends with the error.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

FULL = "out of memory"
PATIENCE = 3
"""So many failures before the first success end the work."""

# PyTorch reports a full main memory, and its libraries a full device, as RuntimeError:
# CUBLAS_STATUS_ALLOC_FAILED, CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED.
_FULL = (
    *("out of memory", "can't allocate memory", "failed to allocate", "bad_alloc"),
    *("alloc_failed", "allocation_failed"),
)


class GenerationError(ValueError):
    """Trials cannot be made as asked: a map is missing or has another size, or memory is full."""


class CallbackError(Exception):
    """Carries an error of the caller's own callback past the handling of failed batches."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass
class FailureBudget:
    """How many pictures may yet fail before one succeeds; after that, any number may."""

    left: float

    @classmethod
    def of(cls, total: int, *, unlimited: bool = False) -> FailureBudget:
        """For so many pictures; `unlimited` where earlier ones have come out."""
        return cls(math.inf if unlimited else min(PATIENCE, total))

    def succeeded(self) -> None:
        """A picture came out."""
        self.left = math.inf

    def tolerates(self, failures: int = 1) -> bool:
        """Whether the work may go on after so many more failures."""
        self.left -= failures
        return self.left > 0

    def spend(self, error: Exception) -> None:
        """One picture failed alone; raises its error where no more failures are tolerated."""
        if self.tolerates():
            return
        if is_full(error):
            raise GenerationError(
                "there is not enough memory for even one picture at a time: close other "
                f"programs, or take half precision or another device ({first_line(error)})"
            ) from error
        raise error


def is_full(error: BaseException) -> bool:
    """Whether memory ran out, on the device or on the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _FULL)


@contextmanager
def memory_errors(doing: str) -> Iterator[None]:
    """Inside, memory that runs out is a GenerationError: a sentence with the ways out."""
    try:
        yield
    except GenerationError:
        raise
    except Exception as error:
        if not is_full(error):
            raise
        raise GenerationError(full_message(doing, error)) from error


def full_message(doing: str, error: BaseException) -> str:
    """What to tell a user whose memory ran out."""
    return (
        f"memory ran out while {doing} ({first_line(error)}): close other programs, set "
        "runtime.offload: model on a GPU, take half precision on it or another device, or a "
        "smaller study"
    )


def is_full_record(made_by: Mapping[str, Any]) -> bool:
    """Whether a sample's `made_by` says that memory did not suffice for its first batch."""
    return str(made_by.get("fallback", "")).startswith(FULL)


def reason_of(error: BaseException) -> str:
    """Why a batch failed, in a few words."""
    return FULL if is_full(error) else f"{type(error).__name__}: {first_line(error)}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, shortened."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def free_memory() -> None:
    """Give back what a failed call still holds."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
