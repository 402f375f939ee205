"""Progress of a verification."""

from __future__ import annotations

import time
from collections.abc import Sequence

from workbench.generation import Step
from workbench.store import Record
from workbench.sweep import Progress, ProgressCallback


class Meter:
    """Counts pictures and tells the time left: the pace so far, and the records' own seconds."""

    def __init__(self, callback: ProgressCallback | None) -> None:
        self._callback = callback
        self._phase = ""
        self._done = self._total = self._pictures = 0
        self._to_make = 0.0
        self._started = time.monotonic()
        self._last = float("-inf")

    def expect(self, pictures: int, chosen: Sequence[Record]) -> None:
        """What lies ahead: pictures to measure, and trials to make."""
        self._pictures = pictures
        self._total = pictures + len(chosen)
        self._to_make = sum(
            float(r.made_by.get("seconds") or 0) * int(r.made_by.get("batch_size") or 1)
            for r in chosen
        )

    def phase(self, name: str) -> None:
        """Enter another phase."""
        self._phase = name
        self._started = time.monotonic()
        if name == "done":
            self._done, self._to_make = self._total, 0.0
        self._report(force=True)

    def measured(self, pictures: int) -> None:
        """So many more pictures are measured."""
        self._done += pictures
        self._report()

    def step(self, event: Step) -> None:
        """A step of a batch that is made again."""
        if event.done == event.total:
            self._done += len({trial.id for trial in event.trials})
        self._report()

    @property
    def seconds_left(self) -> float | None:
        """Estimate for the rest; None while nothing is known."""
        elapsed = time.monotonic() - self._started
        if self._phase == "measuring again" and self._done:
            pace = elapsed / self._done
            return pace * (self._pictures - self._done) + self._to_make
        if self._phase == "making again":
            return self._to_make * (self._total - self._done) / max(1, self._total - self._pictures)
        return 0.0 if self._phase == "done" else None

    def _report(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self._callback is None or (not force and now - self._last < 0.2):
            return
        self._last = now
        self._callback(Progress(self._done, self._total, self.seconds_left, self._phase))
