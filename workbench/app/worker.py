"""Worker threads with a queue: models are not thread-safe, and callbacks must return at once.

A `Worker` gets its work under a name. A newer task of the same name makes the older one stale: if
it waits it never runs, if it runs it is asked to stop, and its result is refused in either case.
A `JobQueue` does all that it is given, what is urgent first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from queue import SimpleQueue
from threading import Condition, Event, Lock, Thread, current_thread
from typing import Any

from workbench.cancel import CancelToken

log = logging.getLogger(__name__)


class TaskState(Enum):
    """Where a task stands. The last four are final."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STALE = "stale"

    @property
    def final(self) -> bool:
        """True once nothing more will happen to the task."""
        return self not in (TaskState.WAITING, TaskState.RUNNING)


@dataclass(frozen=True)
class _Callbacks:
    start: Callable[[], None] | None
    result: Callable[[Any], None] | None
    end: Callable[[Task], None] | None


class Task:
    """One piece of work. Read `state` and `error` from any thread; `wait` for the end.

    `ended` is set when the task has ended and its callbacks have run.
    """

    def __init__(self, name: str, work: Callable[[CancelToken], Any]) -> None:
        self.name = name
        self.cancel = CancelToken()
        self.state = TaskState.WAITING
        self.error: Exception | None = None
        self._work = work
        self.ended = Event()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the task has ended and its callbacks have run; False after the timeout."""
        return self.ended.wait(timeout)


class Worker:
    """Runs tasks one after another, in the order in which they were submitted."""

    def __init__(self, name: str = "workbench") -> None:
        self._name = name
        self._queue: SimpleQueue[tuple[Task, _Callbacks] | None] = SimpleQueue()
        self._newest: dict[str, Task] = {}
        self._lock = Lock()
        self._thread: Thread | None = None
        self._closed = False

    def submit(
        self,
        name: str,
        work: Callable[[CancelToken], Any],
        *,
        on_start: Callable[[], None] | None = None,
        on_result: Callable[[Any], None] | None = None,
        on_end: Callable[[Task], None] | None = None,
    ) -> Task:
        """Queue `work(cancel)` and return at once.

        All callbacks run on the worker thread: `on_start` before the work, `on_result` with its
        result unless the task was cancelled or overtaken, `on_end` in every case unless overtaken.
        Raises RuntimeError after `close`.
        """
        task = Task(name, work)
        with self._lock:
            if self._closed:
                raise RuntimeError("the worker is closed")
            older = self._newest.get(name)
            self._newest[name] = task
            if older is not None:
                older.cancel.cancel()
            if self._thread is None:
                self._thread = Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._queue.put((task, _Callbacks(on_start, on_result, on_end)))
        return task

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The newest task of each name."""
        with self._lock:
            return tuple(self._newest.values())

    def cancel(self, name: str) -> None:
        """Ask the newest task of that name to stop; does nothing if there is none."""
        with self._lock:
            task = self._newest.get(name)
        if task is not None:
            task.cancel.cancel()

    def close(self, timeout: float = 10.0) -> None:
        """Cancel everything and end the thread, waiting for it at most `timeout` seconds."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for task in self._newest.values():
                task.cancel.cancel()
            thread = self._thread
            self._queue.put(None)
        if thread is not None and thread is not current_thread():
            thread.join(timeout)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            task, callbacks = item
            try:
                self._do(task, callbacks)
            except Exception:
                log.exception("a callback of the task %s failed", task.name)
            finally:
                if not task.state.final:
                    task.state = TaskState.FAILED
                task.ended.set()

    def _overtaken(self, task: Task) -> bool:
        with self._lock:
            return self._newest.get(task.name) is not task

    def _do(self, task: Task, callbacks: _Callbacks) -> None:
        result: Any = None
        if not task.cancel.cancelled:
            task.state = TaskState.RUNNING
            if callbacks.start:
                callbacks.start()
            try:
                result = task._work(task.cancel)
            except Exception as error:
                task.error = error
        if self._overtaken(task):
            task.state = TaskState.STALE
            return
        if task.cancel.cancelled:
            task.state = TaskState.CANCELLED
        elif task.error is not None:
            task.state = TaskState.FAILED
            log.error("the task %s failed", task.name, exc_info=task.error)
        else:
            task.state = TaskState.DONE
            if callbacks.result:
                callbacks.result(result)
        if callbacks.end:
            callbacks.end(task)


@dataclass(eq=False)
class Job:
    """Work of a `JobQueue`. `work(cancel)` must be able to go on where an earlier call was stopped.

    urgent: goes before all jobs that are not, and between two parts of one that is under way.
    about: what it makes, for whoever waits for it.
    """

    title: str
    work: Callable[[CancelToken], Any]
    urgent: bool = False
    about: str = ""
    state: TaskState = TaskState.WAITING
    error: Exception | None = None
    cancel: CancelToken = field(default_factory=CancelToken)
    paused: bool = False
    ended: Event = field(default_factory=Event)


class JobQueue:
    """Runs jobs on one thread, one at a time, urgent ones first, else in order.

    An urgent job makes the one under way stop where it can; that is begun again afterwards.

    Args:
        on_change: called on the thread at work, or on that which submits or stops, after each
            change: a job was queued, has begun or has ended.
        on_end: called on the worker thread with each job that has ended, before `on_change`.
    """

    def __init__(
        self,
        on_change: Callable[[], None] = lambda: None,
        on_end: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self._on_change, self._on_end = on_change, on_end
        self._open: list[Job] = []
        self._waiting: list[Job] = []
        self._running: Job | None = None
        self._condition = Condition()
        self._closed = False
        self._held = False
        self._thread: Thread | None = None

    @property
    def held(self) -> bool:
        """Whether jobs that are not urgent are held back, see `hold`."""
        with self._condition:
            return self._held

    @property
    def now(self) -> tuple[Job | None, tuple[Job, ...]]:
        """The job under way, and those that wait, in their order."""
        with self._condition:
            return self._running, tuple(self._waiting)

    @property
    def unfinished(self) -> tuple[Job, ...]:
        """The jobs that have not ended, or whose end has not been told everywhere."""
        with self._condition:
            return tuple(job for job in self._open if not job.ended.is_set())

    def submit(self, job: Job) -> Job:
        """Queue a job and return at once. RuntimeError after `close`."""
        with self._condition:
            if self._closed:
                raise RuntimeError("the worker is closed")
            self._put(job)
            self._open = [one for one in self._open if not one.ended.is_set()] + [job]
            running = self._running
            if job.urgent and running is not None and not running.urgent:
                running.paused = True
                running.cancel.cancel()
            if self._thread is None:
                self._thread = Thread(target=self._run, name="workbench-jobs", daemon=True)
                self._thread.start()
            self._condition.notify()
        self._on_change()
        return job

    def hold(self, held: bool) -> None:
        """Hold back all jobs that are not urgent, or let them go on.

        One that is under way stops where it can, and waits to go on there.
        """
        with self._condition:
            self._held = held
            running = self._running
            if held and running is not None and not running.urgent:
                running.paused = True
                running.cancel.cancel()
            self._condition.notify()
        self._on_change()

    def drop(self, job: Job) -> None:
        """Forget a job that waits; nothing happens to one that is under way or has ended."""
        with self._condition:
            if job not in self._waiting:
                return
            self._waiting.remove(job)
        job.state = TaskState.CANCELLED
        job.ended.set()
        self._on_change()

    def stop(self) -> None:
        """Forget what waits, and ask the job under way to stop."""
        with self._condition:
            self._held = False
            dropped, self._waiting = self._waiting, []
            if self._running is not None:
                self._running.paused = False
                self._running.cancel.cancel()
        for job in dropped:
            job.state = TaskState.CANCELLED
            job.ended.set()
        self._on_change()

    def close(self, timeout: float = 10.0) -> None:
        """Stop, and end the thread, waiting for it at most `timeout` seconds."""
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread = self._thread
        self.stop()
        if thread is not None and thread is not current_thread():
            thread.join(timeout)

    def _put(self, job: Job, *, first: bool = False) -> None:
        """Behind the jobs of its kind, or before them; urgent ones are before all others."""
        if job.urgent:
            place = sum(other.urgent for other in self._waiting)
        else:
            place = sum(other.urgent for other in self._waiting) if first else len(self._waiting)
        self._waiting.insert(place, job)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            self._on_change()
            try:
                job.work(job.cancel)
            except Exception as error:
                job.error = error
            with self._condition:
                self._running = None
                again = job.paused and job.error is None and not self._closed
                if again:
                    job.paused, job.cancel, job.state = False, CancelToken(), TaskState.WAITING
                    self._put(job, first=True)
            if not again:
                self._end(job)
            self._on_change()
            if not again:
                job.ended.set()

    def _next(self) -> Job | None:
        with self._condition:
            while not self._closed and not self._ready():
                self._condition.wait()
            if self._closed:
                return None
            job = self._running = self._waiting.pop(0)
            job.state = TaskState.RUNNING
            return job

    def _ready(self) -> bool:
        """Whether the first job that waits may begin; urgent ones are first."""
        return bool(self._waiting) and (not self._held or self._waiting[0].urgent)

    def _end(self, job: Job) -> None:
        if job.error is not None:
            job.state = TaskState.FAILED
            log.error("the job %s failed", job.title, exc_info=job.error)
        else:
            job.state = TaskState.CANCELLED if job.cancel.cancelled else TaskState.DONE
        try:
            self._on_end(job)
        except Exception:
            log.exception("the end of the job %s could not be told", job.title)
