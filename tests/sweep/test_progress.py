"""Time left. Protects: what happens once (a slow first step, the look-up of chance and ceiling) is
not taken for the pace, so that the estimate holds from the first seconds on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import pytest

from workbench.generation import Step
from workbench.study import Study, Trial, make_plan
from workbench.sweep import Progress, progress
from workbench.sweep.order import coarse_first
from workbench.sweep.progress import ProgressMeter

STEPS = 10


@pytest.fixture
def trials() -> list[Trial]:
    """150 pictures, 6 of them from the text alone."""
    study = Study(
        name="clock",
        sources=("paperdoll:900001", "paperdoll:900002", "paperdoll:900003"),
        controls=("canny", "depth"),
        prompt="a girl, long hair, snow",
        lengths=(1, 3),
        scales=(0, 0.5, 1, 1.5, 2),
        seeds=(1, 2, 3),
        steps=STEPS,
    )
    return coarse_first(make_plan(study, resolution=64).trials)


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def unseen(_: int) -> NoReturn:
    raise AssertionError("nobody looks at a picture in the making here")


def reports(trials: list[Trial], clock: Clock, meter: ProgressMeter) -> Iterator[float]:
    """Seconds as work would take them, while a meter hears of it: yields after each event."""
    meter.begin(trials)
    meter.phase("generating")
    for first in range(0, len(trials), 6):
        batch = trials[first : first + 6]
        each = sum(1.0 + 0.6 * len(trial.controls) for trial in batch) / 10
        clock.now += 5.0 if first == 0 else 0.2
        for step in range(1, STEPS + 1):
            clock.now += each
            meter.step(Step(tuple(batch), step, STEPS, unseen))
            yield clock.now
        clock.now += 40.0 if first == 0 else 0.05 * each * STEPS
        meter.finished(batch, None)
        yield clock.now


def test_time_left_holds_from_the_first_steps_on(
    trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, told = Clock(), []

    def hear(report: Progress) -> None:
        if report.seconds_left is not None:
            told.append((clock.now, report.seconds_left, report.done))

    monkeypatch.setattr(progress, "time", clock)
    end = list(reports(trials, clock, ProgressMeter(len(trials), hear)))[-1]
    assert told[0][0] < 0.1 * end
    ends = [now + left for now, left, done in told if done]
    assert all(0.8 * end < guess < 1.2 * end for guess in ends), (min(ends), max(ends), end)
    begun = [left for _, left, done in told if not done]
    assert max(begun) < 1.2 * min(begun) + 2 * STEPS, "nor does it jump within the first batch"


def test_workers_tell_no_steps_and_the_pace_is_that_of_what_is_stored(
    trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    meter = ProgressMeter(len(trials), None)
    meter.begin(trials)
    assert meter.seconds_left is None
    clock.now = 30.0
    meter.finished(trials[:78], None)
    left, made = (sum(map(progress.cost, part)) for part in (trials[78:], trials[:78]))
    assert meter.seconds_left == pytest.approx(30 * left / made)
