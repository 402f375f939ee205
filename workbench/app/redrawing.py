"""A figure drawn anew in its place: `redrawn()`, for what goes on and wants to be watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def redrawn() -> Callable[[Figure], None]:
    """A place below the cell at work: each figure that it is called with replaces the one before.

    Outside a notebook each is told in a line.
    """
    from IPython.display import display

    handle: Any = None

    def show(figure: Figure) -> None:
        nonlocal handle
        if handle is None:
            handle = display(figure, display_id=True)  # type: ignore[no-untyped-call]
        else:
            handle.update(figure)

    return show
