"""Jobs that wait behind one another: dropped, held back, let go on.

Protects a sweep that is paused from being lost or made twice, and single pictures from waiting for
it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tiny_app import TinyEngine

import workbench as wb
from workbench.app.session import Session
from workbench.app.worker import Job, JobQueue, TaskState
from workbench.cancel import CancelToken

PATIENCE = 300.0


@pytest.fixture
def queue() -> Iterator[JobQueue]:
    queue = JobQueue()
    yield queue
    queue.close()


def quick(done: list[str], name: str, *, urgent: bool = False) -> Job:
    return Job(name, lambda _: done.append(name), urgent=urgent)


def steps(done: list[str], started: threading.Event) -> Job:
    """A job that goes on, where it was stopped, until it has begun twice."""
    begun: list[int] = []

    def work(cancel: CancelToken) -> None:
        begun.append(1)
        started.set()
        while len(begun) < 2 and not cancel.cancelled:
            time.sleep(0.005)
        if not cancel.cancelled:
            done.append("sweep")

    return Job("sweep", work)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < end:
        time.sleep(0.005)
    assert true()


def test_what_is_held_back_lets_single_pictures_pass_and_goes_on(queue: JobQueue) -> None:
    done: list[str] = []
    started = threading.Event()
    sweep = queue.submit(steps(done, started))
    behind = queue.submit(quick(done, "behind"))
    assert started.wait(PATIENCE)
    queue.hold(True)
    until(lambda: queue.now == (None, (sweep, behind)))
    assert queue.submit(quick(done, "picture", urgent=True)).ended.wait(PATIENCE)
    assert done == ["picture"] and queue.held and not sweep.ended.is_set()
    queue.hold(False)
    assert behind.ended.wait(PATIENCE)
    assert done == ["picture", "sweep", "behind"] and sweep.state is TaskState.DONE


def test_a_job_that_waits_is_dropped_and_the_others_go_on(queue: JobQueue) -> None:
    done: list[str] = []
    queue.hold(True)
    jobs = [queue.submit(quick(done, name)) for name in "abc"]
    queue.drop(jobs[1])
    assert jobs[1].ended.is_set() and jobs[1].state is TaskState.CANCELLED
    queue.drop(jobs[1])
    queue.hold(False)
    assert jobs[2].ended.wait(PATIENCE) and done == ["a", "c"]


def test_stop_ends_what_is_held_back(queue: JobQueue) -> None:
    done: list[str] = []
    queue.hold(True)
    held = queue.submit(quick(done, "a"))
    queue.stop()
    assert held.state is TaskState.CANCELLED and not queue.held
    assert queue.submit(quick(done, "b")).ended.wait(PATIENCE) and done == ["b"]


def test_what_is_stopped_before_it_began_is_told(session: Session) -> None:
    session.pause()
    sweep = session.make({"seed": [1, 2]})
    assert sweep is not None
    session.stop()
    assert sweep.state is TaskState.CANCELLED
    assert session.wait(PATIENCE).status == "Stopped. Nothing waits any more."


def test_a_sweep_is_paused_dropped_and_resumed_on_the_screen(
    session: Session, engine: TinyEngine
) -> None:
    engine.pause = 0.05
    sweep = session.make({"scale": [0, 0.5, 1], "seed": [1, 2]})
    other = session.make({"seed": [7, 8, 9]})
    assert sweep is not None and other is not None
    assert (sweep.about, other.about) == ("sweep of 3 scales × 2 seeds", "sweep of 3 seeds")
    until(lambda: session.state.now.work.done >= 1)
    session.pause()
    until(lambda: session.state.now.work.queue == (sweep, other))
    assert session.state.now.work.held and not session.state.now.work.running
    sheet = session.state.now.sheet
    assert sheet is not None
    there = set(wb.open_run(sheet.folder).records)
    assert 1 <= len(there) < 6
    session.drop(other)
    assert session.state.now.work.queue == (sweep,)
    engine.pause = 0.0
    session.resume()
    session.wait(PATIENCE)
    made = wb.open_run(sheet.folder).records
    assert sweep.state is TaskState.DONE and there < set(made) and len(made) == 6


def test_another_run_on_the_screen_is_told_nothing_of_the_one_at_work(
    session: Session, engine: TinyEngine
) -> None:
    session.make()
    before = session.wait(PATIENCE).sheet
    assert before is not None
    session.new_run()
    engine.gate.clear()
    session.make()
    until(lambda: len(engine.made) == 2)
    at_work = session.state.now.sheet
    session.open(before.folder).wait(PATIENCE)
    opened = session.state.now.sheet
    engine.gate.set()
    screen = session.wait(PATIENCE)
    assert at_work is not None and at_work.folder != before.folder
    assert screen.status == f"Done. It is kept in {at_work.folder}."
    assert screen.sheet is opened and len(wb.open_run(at_work.folder).records) == 1
