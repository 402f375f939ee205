"""What happens when making pictures fails: smaller batches, then failed trials, then an end.

Nothing of it is silent: smaller batches are logged and recorded in `made_by`, a trial that cannot
be made even alone is a failed trial with a reason, and where nothing at all can be made the run
ends with the error.
"""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

log = logging.getLogger(__name__)

FULL = "out of memory"
PATIENCE = 3
"""So many failures of one kind, before its first success, and no more of that kind is tried."""
Kind = tuple[str, ...]
"""What can fail as a whole: a base model, and the control types (with methods) that steer it."""

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
    """How many pictures of each kind may fail before one of them comes out; then any number may.

    Kinds are counted apart: pictures without a ControlNet that come out say nothing of a ControlNet
    that cannot run. Where the limit is reached, that kind is given up, or the work ends if nothing
    at all has come out.

    Args:
        total: pictures that are to be made; fewer than `PATIENCE` of them make the limit lower.
        sound: the kinds of which a picture has come out.
        unlimited: nothing ends, and nothing is given up.
    """

    total: int
    sound: set[Kind] = field(default_factory=set)
    unlimited: bool = False
    given_up: dict[Kind, str] = field(default_factory=dict)
    failed: Counter[Kind] = field(default_factory=Counter)

    def succeeded(self, kind: Kind) -> None:
        """A picture of that kind came out."""
        self.sound.add(kind)

    def tolerates(self, kind: Kind, failures: int = 1) -> bool:
        """Whether more of the kind may be tried after so many more failures."""
        self.failed[kind] += failures
        known = self.unlimited or kind in self.sound
        return known or self.failed[kind] < min(PATIENCE, self.total)

    def spend(self, kind: Kind, error: Exception) -> None:
        """One picture failed alone. Where no more are tolerated, the kind is given up.

        Raises the error if no picture of any kind has come out.
        """
        if self.tolerates(kind):
            return
        if self.sound:
            self.given_up[kind] = not_tried(kind, reason_of(error))
            log.warning("%s", self.given_up[kind])
            return
        if is_full(error):
            raise GenerationError(
                "there is not enough memory for even one picture at a time: close other "
                f"programs, or take half precision or another device ({first_line(error)})"
            ) from error
        raise error


def not_tried(kind: Kind, reason: str) -> str:
    """Why pictures of a kind that was given up are not tried, as a failed trial's reason."""
    base, *controls = kind
    what = f"{' + '.join(controls) or 'no control'} on {base}"
    return f"not tried, as the first pictures of {what} all failed: {reason}"


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
