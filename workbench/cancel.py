"""A flag that another thread raises to stop a generation."""

from __future__ import annotations

from threading import Event


class CancelToken:
    """Set once, read from any thread. A cancelled token stays cancelled: make a new one."""

    def __init__(self) -> None:
        self._event = Event()

    def cancel(self) -> None:
        """Ask the work that holds this token to stop at its next step."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def __repr__(self) -> str:
        return f"CancelToken(cancelled={self.cancelled})"
