"""Loading models without the libraries' own progress bars and hints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence progress bars and hints that have nothing to do with our models, for a while.

    diffusers imports image processors of transformers, which warn that torchvision is missing.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    shown = [
        library
        for library in (diffusers_logging, transformers_logging)
        if library.is_progress_bar_enabled()
    ]
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        for library in shown:
            library.enable_progress_bar()
