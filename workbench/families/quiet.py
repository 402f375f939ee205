"""Using the libraries without their own progress bars, hints, warnings and tracebacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from workbench.families.catalogue import FamilyError


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence progress bars and hints that have nothing to do with our models, for a while.

    diffusers imports image processors of transformers, which warn that torchvision is missing.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    shown = [library for library in libraries if library.is_progress_bar_enabled()]
    loud = [(library, library.get_verbosity()) for library in libraries]
    for library, _ in loud:
        library.set_verbosity_error()
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, verbosity in loud:
            library.set_verbosity(verbosity)
        for library in shown:
            library.enable_progress_bar()


@contextmanager
def told_plainly(name: str, what: str) -> Iterator[None]:
    """Turn what the libraries raise for a folder or a file that is no `what` into one sentence.

    Raises FamilyError. A missing package or too little memory goes through as it is.
    """
    import torch
    from safetensors import SafetensorError

    known = (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError)
    try:
        yield
    except (FamilyError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "UnpicklingError":  # of weights only; the rest was not read
            reason = "its .bin holds more than weights, and no code in it is run"
        elif isinstance(error, known):
            reason = " ".join(str(error).split())[:300] or type(error).__name__
        else:
            raise
        if ".tar" in reason and "weights_only" in reason:
            reason = "its .bin is in the old tar format, which cannot be read as weights only"
        raise FamilyError(f"{name} cannot be loaded as {what}: {reason}") from error
