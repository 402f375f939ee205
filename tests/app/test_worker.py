"""The worker thread: one task at a time, in order, with cancelling and refusal of stale results.

Protects the models, which only one thread may use, and the screen from pictures of an older choice.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from workbench.app.worker import TaskState, Worker
from workbench.cancel import CancelToken

PATIENCE = 10.0


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


def until_cancelled(started: threading.Event):
    """Work that runs until it is asked to stop."""

    def work(cancel: CancelToken) -> str:
        started.set()
        while not cancel.cancelled:
            threading.Event().wait(0.005)
        return "half-made"

    return work


def test_tasks_run_in_order_on_one_other_thread(worker: Worker) -> None:
    seen: list[tuple[str, int]] = []
    tasks = [
        worker.submit(name, lambda _, n=name: seen.append((n, threading.get_ident())))
        for name in "abc"
    ]
    assert all(task.wait(PATIENCE) for task in tasks)
    assert [name for name, _ in seen] == ["a", "b", "c"]
    threads = {thread for _, thread in seen}
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_submitting_returns_while_earlier_work_runs(worker: Worker) -> None:
    started = threading.Event()
    first = worker.submit("long", until_cancelled(started))
    assert started.wait(PATIENCE)
    second = worker.submit("short", lambda _: 1)
    assert (first.state, second.state) == (TaskState.RUNNING, TaskState.WAITING)
    worker.cancel("long")
    assert second.wait(PATIENCE)
    assert (first.state, second.state) == (TaskState.CANCELLED, TaskState.DONE)


def test_a_cancelled_tasks_result_is_not_delivered(worker: Worker) -> None:
    started, results, ends = threading.Event(), [], []
    task = worker.submit(
        "draw",
        until_cancelled(started),
        on_result=results.append,
        on_end=lambda t: ends.append(t.state),
    )
    assert started.wait(PATIENCE)
    worker.cancel("draw")
    assert task.wait(PATIENCE)
    assert (results, ends) == ([], [TaskState.CANCELLED])


def test_a_newer_task_makes_running_and_waiting_ones_stale(worker: Worker) -> None:
    started, results, ends = threading.Event(), [], []

    def submit(work):
        return worker.submit("draw", work, on_result=results.append, on_end=ends.append)

    running = submit(until_cancelled(started))
    assert started.wait(PATIENCE)
    waiting = submit(lambda _: "never run")
    newest = submit(lambda _: "newest")
    assert newest.wait(PATIENCE)
    assert running.state is TaskState.STALE and waiting.state is TaskState.STALE
    assert results == ["newest"] and ends == [newest]


def test_other_names_are_not_made_stale(worker: Worker) -> None:
    results: list[int] = []
    one = worker.submit("a", lambda _: 1, on_result=results.append)
    two = worker.submit("b", lambda _: 2, on_result=results.append)
    assert one.wait(PATIENCE) and two.wait(PATIENCE)
    assert results == [1, 2]


def test_a_failure_is_kept_and_the_thread_lives_on(worker: Worker) -> None:
    def broken(_: CancelToken) -> None:
        raise ValueError("no such scale")

    failed = worker.submit("draw", broken)
    assert failed.wait(PATIENCE)
    assert failed.state is TaskState.FAILED and str(failed.error) == "no such scale"
    again = worker.submit("draw", lambda _: 1)
    assert again.wait(PATIENCE) and again.state is TaskState.DONE


def test_a_failing_callback_does_not_kill_the_thread(worker: Worker) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("the view is gone")

    bad = worker.submit("a", lambda _: 1, on_result=broken)
    start = worker.submit("b", lambda _: 1, on_start=lambda: broken(0))
    good = worker.submit("c", lambda _: 1)
    assert bad.wait(PATIENCE) and start.wait(PATIENCE) and good.wait(PATIENCE)
    assert good.state is TaskState.DONE
    assert start.state is TaskState.FAILED


def test_closing_stops_running_work_and_refuses_more() -> None:
    worker, started = Worker(), threading.Event()
    running = worker.submit("long", until_cancelled(started))
    waiting = worker.submit("other", lambda _: 1)
    assert started.wait(PATIENCE)
    worker.close(PATIENCE)
    worker.close(PATIENCE)
    assert running.state is TaskState.CANCELLED and waiting.state is TaskState.CANCELLED
    with pytest.raises(RuntimeError, match="closed"):
        worker.submit("more", lambda _: 1)
