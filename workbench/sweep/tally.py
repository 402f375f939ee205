"""Counting what workers have stored: when a task is done, and within lots while they are made."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from contextlib import suppress

import numpy as np

from workbench.store import RunFolder, StoreError
from workbench.study import Plan
from workbench.sweep.progress import ProgressMeter

LOOK_SECONDS = 2.0


class Tally:
    """Tells the meter of each trial once, however often it is heard of.

    made: whether any picture came out, in this start or an earlier one.
    """

    def __init__(self, run: RunFolder, plan: Plan, meter: ProgressMeter) -> None:
        self.made = False
        self._run, self._plan, self._meter = run, plan, meter
        self._counted: set[str] = set()
        self._watched: set[str] = set()
        self._looked = float("-inf")

    def watch(self, trials: Iterable[str]) -> None:
        """Look for these while their tasks are at work.

        Trials that failed in an earlier start are there already; they count once their task is
        done.
        """
        self._watched = set(trials) - set(self._run.trial_ids())

    def look(self, *, at_once: bool = False) -> None:
        """Count what has come into the run folder, every few seconds at most or `at_once`."""
        now = time.monotonic()
        if not self._watched or (now - self._looked < LOOK_SECONDS and not at_once):
            return
        self._looked = now
        new: set[str] = set()
        with suppress(OSError):  # a shared folder may be away for a moment
            new = self._watched.intersection(self._run.trial_ids())
        stored = [t for t in new if (self._run.trial_folder(t) / "record.json").is_file()]
        pictures = [trial for trial in stored if self._run.sample_path(trial).is_file()]
        self.count(stored, pictures[0] if pictures else "")

    def count(self, trials: Collection[str], picture: str) -> None:
        """These are stored; `picture` is one of them that has one, or ""."""
        self.made = self.made or bool(picture)
        new = [self._plan.trials_by_id[trial] for trial in trials if trial not in self._counted]
        self._counted.update(trials)
        self._watched.difference_update(trials)
        if new:
            self._meter.finished(new, self._picture(picture))

    def _picture(self, trial: str) -> np.ndarray | None:
        try:
            return self._run.read_sample(trial) if trial and self._meter.heard else None
        except StoreError:  # it was moved away in this moment; only the display wants it
            return None
