"""Runs the command line in this process and catches what it prints."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import threading
from dataclasses import dataclass
from unittest import mock


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def run_command(*arguments: object) -> Done:
    """As typing `workbench ARGUMENTS`; an exception that is not caught comes through."""
    from workbench.cli import main

    out, err = io.StringIO(), io.StringIO()
    code, interrupt = 0, signal.getsignal(signal.SIGINT)
    with (
        mock.patch.object(sys, "argv", ["workbench", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, interrupt)  # a command that was stopped keeps its own
    return Done(code, out.getvalue(), err.getvalue())
