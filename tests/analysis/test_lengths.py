"""Protects the first table from means over prompt lengths to which the scale does other things."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from workbench.analysis import lengths_in_words, trend, trends_by_length

Simulate = Callable[..., pd.DataFrame]


def reason(frame: pd.DataFrame, what: str = "prompt") -> str:
    table = trends_by_length(frame)
    (found,) = set(table.loc[table["what"] == what, "reason"])
    return str(found)


def test_each_length_is_the_trend_of_its_own_prompts(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.5 * s, lambda s, n: 1 - 0.1 * n * s, lengths=(0, 2, 7))
    table = trends_by_length(frame)
    for row in table.to_dict("records"):
        metric = {"control": "canny_f1", "prompt": "clip_used"}[row["what"]]
        own = trend(frame[frame["length"] == row["length"]], metric).iloc[0]
        for name in ("change", "change_low", "change_high", "direction"):
            assert row[name] == own[name]
    assert list(table.loc[table["what"] == "prompt", "length"]) == [2, 7]  # no prompt at 0
    assert list(table.loc[table["what"] == "control", "length"]) == [0, 2, 7]


def test_lengths_alike_may_be_averaged(simulate: Simulate) -> None:
    frame = simulate(
        lambda s, n: 0.5 * s, lambda s, n: 1 - 0.3 * s, lengths=(2, 4, 7), sources=6, noise=0.02
    )
    assert reason(frame) == reason(frame, "control") == ""


def test_other_verdicts_are_told_apart(simulate: Simulate) -> None:
    cost = {1: 0.6, 2: 0.0, 7: 0.0}
    frame = simulate(
        lambda s, n: 0.5 * s, lambda s, n: 1 - cost[n] * s, lengths=(1, 2, 7), sources=6
    )
    assert reason(frame) == "falls with 1 tag, no clear effect with 2 and 7 tags"
    turned = simulate(
        lambda s, n: 0.5 * s, lambda s, n: 1 + (0.4 if n == 7 else -0.4) * s, lengths=(2, 7)
    )
    assert reason(turned) == "falls with 2 tags, rises with 7 tags"


def test_intervals_that_do_not_overlap_are_told_apart(simulate: Simulate) -> None:
    frame = simulate(
        lambda s, n: 0.5 * s, lambda s, n: 1 - 0.5 * s / n, lengths=(1, 2, 4), sources=8,
        noise=0.01,
    )  # fmt: skip
    assert reason(frame) == "the intervals with 1 and 4 tags do not overlap"


def test_a_clear_interaction_is_reason_enough(simulate: Simulate) -> None:
    """The slopes vary over sources, so intervals overlap; within each source they differ."""
    frame = simulate(
        lambda s, n: 0.5 * s, lambda s, n: 1 - (0.7 - 0.02 * n) * s, lengths=(2, 7), sources=6,
        noise=0.01, slope_sd=0.15,
    )  # fmt: skip
    assert reason(frame) == "prompt length × scale is clear"


@pytest.mark.parametrize("sources", [1, 2])
def test_one_source_and_one_length_tell_nothing(simulate: Simulate, sources: int) -> None:
    cost = {1: 0.6, 7: 0.0}
    frame = simulate(lambda s, n: s, lambda s, n: 1 - cost[n] * s, lengths=(1, 7), sources=1)
    assert reason(frame) == ""
    one = simulate(lambda s, n: s, lambda s, n: 1 - 0.4 * s, lengths=(7,), sources=sources)
    assert reason(one) == ""
    assert trends_by_length(one.iloc[:0]).empty


def test_lengths_in_words() -> None:
    named = ["1 tag"], ["2 tags", "4 tags", "7 tags, cut at 5 tokens"], ["1 word", "9 words"]
    assert [lengths_in_words(names) for names in named] == [
        "1 tag", "2, 4 and 7 tags", "1 and 9 words",
    ]  # fmt: skip
    assert lengths_in_words(["short", "long"]) == '"short" and "long"'
    assert lengths_in_words(["no prompt", "7 tags"]) == "no prompt and 7 tags"
