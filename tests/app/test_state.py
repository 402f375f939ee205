"""The app's state: one consistent value, told to observers, from any thread.

Protects against lost updates and against one broken view silencing the others.
"""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from workbench.app.state import AppState, Choice, Offer, Screen

CHOICE = Choice("paperdoll:1", "canny", ("a", "b"), ("a",))
OFFER = Offer(CHOICE, ("paperdoll:1",), {"canny": "Canny edges"}, ("render",), ("unipc",))


@pytest.fixture
def state() -> AppState:
    return AppState(Screen(CHOICE, OFFER))


def test_observers_hear_which_fields_changed(state: AppState) -> None:
    heard: list[frozenset[str]] = []
    state.observe(heard.append)
    state.change(preview_status="x", status="")
    assert heard == [frozenset({"preview_status"})]


def test_a_change_to_the_same_value_is_no_change(state: AppState) -> None:
    heard: list[frozenset[str]] = []
    state.observe(heard.append)
    state.change(choice=replace(CHOICE))
    assert heard == []


def test_a_snapshot_does_not_change_under_its_reader(state: AppState) -> None:
    before = state.now
    state.change(preview_status="new")
    assert (before.preview_status, state.now.preview_status) == ("", "new")


def test_an_observer_that_fails_does_not_stop_the_others(state: AppState) -> None:
    heard: list[frozenset[str]] = []

    def broken(_: frozenset[str]) -> None:
        raise RuntimeError("view is gone")

    state.observe(broken)
    state.observe(heard.append)
    state.change(preview_status="x")
    assert heard == [frozenset({"preview_status"})]


def test_an_observer_can_stop_and_may_change_the_state_itself(state: AppState) -> None:
    def echo(_: frozenset[str]) -> None:
        state.change(status=state.now.preview_status)

    stop = state.observe(echo)
    state.change(preview_status="one")
    stop()
    stop()
    state.change(preview_status="two")
    assert state.now.status == "one"


def test_no_update_is_lost_between_threads(state: AppState) -> None:
    def add() -> None:
        for _ in range(500):
            state.update(lambda s: {"choice": replace(s.choice, seed=s.choice.seed + 1)})

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state.now.choice.seed == 1 + 8 * 500
