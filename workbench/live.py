"""Long work as people see it: a bar with the time left where it runs, and a polite Ctrl-C."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from html import escape
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from workbench.formats import duration, printable

if TYPE_CHECKING:
    from workbench.generation import CancelToken

Show = Callable[[Any], None]
"""Takes progress: `done`, `total`, `seconds_left` (None or NaN while unknown), `phase`, and `unit`
where `done` and `total` count anything but pictures."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C ended long work politely; the message says where it is kept and how to go on."""


@contextmanager
def cancelling() -> Iterator[CancelToken]:
    """Turn the first Ctrl-C into a polite cancel; a second one interrupts at once."""
    import signal
    import threading
    from types import FrameType

    from workbench.generation import CancelToken

    token = CancelToken()

    def polite(_number: int, _frame: FrameType | None) -> None:
        if token.cancelled:
            raise KeyboardInterrupt
        token.cancel()
        sys.stderr.write("\nStopping after this step; press Ctrl-C again to stop at once.\n")

    if threading.current_thread() is not threading.main_thread():
        yield token
        return
    before = signal.signal(signal.SIGINT, polite)
    try:
        yield token
    finally:
        signal.signal(signal.SIGINT, before)


def silence(stream: Any) -> None:
    """Let what is written to a stream that nobody reads any more go nowhere."""
    with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def progress_bar(title: str) -> Iterator[Show]:
    """Yield a callback for `run_study` that draws a bar, the count and the time left.

    In a notebook the bar is an output of the cell that changes in place. Where standard error is
    no terminal, a line is printed for each phase and each tenth instead.
    """
    shell = _notebook()
    if shell is not None:
        yield _cell_bar(title, shell.display_pub.publish)
        return
    title = printable(title)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )

    class Bar(Console):
        def on_broken_pipe(self) -> None:
            """The work goes on where nobody looks any more; rich would end the process."""
            silence(sys.stderr)

    console = Bar(stderr=True)
    last = ("", 0)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None, left="")

        def show(progress: Any) -> None:
            nonlocal last
            unit = _unit(progress)
            what = f"{title}: {progress.phase}{unit}"
            bar.update(
                task,
                completed=progress.done,
                total=progress.total,
                description=what,
                left=_left(progress),
            )
            tenths = 10 * progress.done // max(progress.total, 1)
            if not console.is_terminal and last != (progress.phase, tenths):
                last = (progress.phase, tenths)
                done = f"({progress.done}/{progress.total}{unit})"
                line = f"{title}: {progress.phase} {done} {_left(progress)}".rstrip()
                console.print(line, markup=False, emoji=False)

        yield show


def _notebook() -> Any:
    """The shell of the notebook's kernel that runs this, None elsewhere. Imports nothing."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None


def _cell_bar(title: str, publish: Callable[..., None]) -> Show:
    """A bar as HTML, with a line of text where HTML is not shown."""
    transient = {"display_id": uuid4().hex}
    begun = False

    def show(progress: Any) -> None:
        nonlocal begun
        done, total = progress.done, progress.total
        text = f"{title}: {progress.phase}, {done} of {total}{_unit(progress)}"
        if left := _left(progress):
            text += f", {left}"
        bar = f'<progress value="{done:d}" max="{max(total, 1):d}"></progress>'
        data = {"text/plain": text, "text/html": f"<div>{bar} {escape(text)}</div>"}
        publish(data, {}, transient=transient, update=begun)
        begun = True

    return show


def _unit(progress: Any) -> str:
    unit = getattr(progress, "unit", "")
    return f" {unit}" if unit else ""


def _left(progress: Any) -> str:
    left = progress.seconds_left
    return "" if left is None or left != left else f"{duration(left)} left"
