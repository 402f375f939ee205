"""How far a run is, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from workbench.study import Trial

if TYPE_CHECKING:
    from workbench.generation import Step

CONTROL_COST = 0.45
"""What each ControlNet adds to a step, in steps without one."""
OVERHEAD = 1.15
"""Measuring and storing, as a factor on the time of drawing, where it was not seen yet."""
MIN_INTERVAL = 0.2
MB = 1_000_000


@dataclass(frozen=True, eq=False)
class Progress:
    """One report of a running study.

    done, total: trials that are finished, of all trials of the plan (stored ones count as done).
    seconds_left: estimate for what is left, None while nothing is known yet.
    phase: "downloading", "loading", "preparing", "measuring", "generating", "finishing" or "done".
    unit: "" for trials; "MB" while models are downloaded: `done` and `total` then count megabytes.
    last_image: the newest sample, uint8 H×W×3, or None.
    step: the denoising step that a batch in this process has just done, if one is at work; what it
    looks like may be asked for inside of the callback only.
    """

    done: int
    total: int
    seconds_left: float | None
    phase: str
    last_image: np.ndarray | None = None
    unit: str = ""
    step: Step | None = None


ProgressCallback = Callable[[Progress], None]
"""Called with each report."""


def cost(trial: Trial) -> float:
    """Work of one trial, in denoising steps without a ControlNet."""
    return trial.steps * (1.0 + CONTROL_COST * len(trial.controls))


class ProgressMeter:
    """Keeps the count and the clock of a run and reports at most five times a second.

    Time left is told from the pace of denoising steps and from what a batch takes after its last
    one. What happens once, such as the first step, the loading of judges and the look-up of chance
    and ceiling, is in neither pace. Where no steps are heard of, as from workers, it is told from
    the pace of what is stored.
    """

    def __init__(self, total: int, callback: ProgressCallback | None) -> None:
        self._callback = callback
        self._total = total
        self._done = 0
        self._phase = "loading"
        self._image: np.ndarray | None = None
        self._to_make = 0
        self._work_left = 0.0
        self._work_done = 0.0
        self._partial = 0.0
        self._started: float | None = None
        self._steps_seconds = 0.0
        self._steps_work = 0.0
        self._last_step: float | None = None
        self._storing: list[float] = []
        self._last_report = float("-inf")

    @property
    def heard(self) -> bool:
        """Whether anybody wants the reports."""
        return self._callback is not None

    def phase(self, name: str) -> None:
        """Enter another phase."""
        self._phase = name
        self._report(force=True)

    def download(self, total: int) -> Callable[[str, int], None]:
        """A `Watch` for a download of `total` bytes that reports megabytes.

        Small files come first and take as long as a question, so time left is told from the pace
        of a hundredth on.
        """
        started, got = time.monotonic(), 0

        def watch(_name: str, arrived: int) -> None:
            nonlocal got
            got += arrived
            now = time.monotonic()
            if self._callback is not None and (
                got >= total or now - self._last_report >= MIN_INTERVAL
            ):
                self._last_report = now
                known = got * 100 >= total
                left = (now - started) * max(total - got, 0) / got if known and got else None
                megabytes = (min(got, total) // MB, total // MB)
                self._callback(Progress(*megabytes, left, "downloading", unit="MB"))

        return watch

    def count_done(self, trials: int) -> None:
        """Trials that were there before the start."""
        self._done = trials

    def begin(self, trials: Iterable[Trial]) -> None:
        """Start the clock on trials that are about to be made."""
        missing = list(trials)
        self._to_make = len(missing)
        self._work_left = sum(cost(trial) for trial in missing)
        self._started = time.monotonic()

    def step(self, event: Step) -> None:
        """A batch at work has done a step."""
        whole = sum(cost(trial) for trial in event.trials)
        now, work = time.monotonic(), event.done / event.total * whole
        if self._last_step is not None and work > self._partial:
            self._steps_seconds += now - self._last_step
            self._steps_work += work - self._partial
        self._last_step, self._partial = now, work
        self._report(step=event)

    def finished(self, trials: Iterable[Trial], image: np.ndarray | None) -> None:
        """Trials are stored."""
        made = list(trials)
        if self._last_step is not None and made:
            self._storing.append((time.monotonic() - self._last_step) / len(made))
        self._last_step = None
        self._to_make -= len(made)
        work = sum(cost(trial) for trial in made)
        self._work_left -= work
        self._work_done += work
        self._partial = 0.0
        self._done += len(made)
        self._image = self._image if image is None else image
        self._report(force=True)

    @property
    def seconds_left(self) -> float | None:
        """Wall time for the rest at the pace so far."""
        if self._phase == "done":
            return 0.0
        left = max(0.0, self._work_left - self._partial)
        if self._steps_work > 0:
            drawing = left * self._steps_seconds / self._steps_work
            if len(self._storing) > 1:
                return drawing + median(self._storing[1:]) * self._to_make
            return drawing * OVERHEAD
        if self._started is None or self._work_done <= 0:
            return None
        return left * (time.monotonic() - self._started) / self._work_done

    def _report(self, *, force: bool = False, step: Step | None = None) -> None:
        now = time.monotonic()
        if self._callback is None or (not force and now - self._last_report < MIN_INTERVAL):
            return
        self._last_report = now
        left = self.seconds_left
        self._callback(Progress(self._done, self._total, left, self._phase, self._image, step=step))
