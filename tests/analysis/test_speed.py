"""Protects the speed of the analysis: a report must not wait for its statistics.

Processor time is measured, not the clock, and held against a yardstick of the same kind of work on
the same machine, so that a busy or slow machine does not fail the test.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from workbench import analysis
from workbench.analysis.interaction import interactions

Frames = Callable[..., pd.DataFrame]


def seconds(work: Callable[[], object]) -> float:
    """Least processor time of three goes."""
    found = []
    for _ in range(3):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def yardstick(frame: pd.DataFrame) -> float:
    """Seconds of sorting and grouping, which on two quiet cores are about 0.1."""
    numbers = np.random.default_rng(0).normal(size=1_000_000)
    keys = ["source", "control", "scale", "seed", "metric"]

    def work() -> None:
        np.sort(numbers)
        for _ in range(5):
            frame.groupby(keys)["value"].mean()

    return seconds(work)


def test_no_statistic_of_five_thousand_pictures_takes_ten_yardsticks(
    synthetic_frame: Frames,
) -> None:
    frame = synthetic_frame(sources=28, seeds=6)
    work: dict[str, Callable[[], object]] = {
        "trend": lambda: analysis.trend(frame, "clip_used"),
        "curve": lambda: analysis.curve(frame, "clip_used"),
        "interactions": lambda: interactions(frame),
        "ranking": lambda: analysis.ranking(frame),
        "sweet spot": lambda: analysis.sweet_spot(frame),
        "tags": lambda: analysis.tag_slopes(frame),
    }
    unit = yardstick(frame)
    taken = {name: seconds(do) / unit for name, do in work.items()}
    print(taken)
    assert max(taken.values()) < 10, taken


def test_five_thousand_pictures_are_analysed_in_about_two_seconds(synthetic_frame: Frames) -> None:
    """All findings of 5,040 pictures, about 40,000 numbers, two control types.

    Here they take twenty times the yardstick, which is 0.1 s; a loop over chains took fifty times.
    """
    frame = synthetic_frame(sources=28, seeds=6)
    assert frame["cell"].nunique() == 5040
    taken, unit = seconds(lambda: analysis.findings(frame)), yardstick(frame)
    print(f"findings {taken:.2f} s, yardstick {unit:.2f} s")
    assert taken < 40 * unit
