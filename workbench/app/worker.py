"""One worker thread and one queue: models are not thread-safe, and callbacks must return at once.

Work is submitted under a name. A newer task of the same name makes the older one stale: if it
waits it never runs, if it runs it is asked to stop, and its result is refused in either case.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from queue import SimpleQueue
from threading import Event, Lock, Thread, current_thread
from typing import Any

from workbench.generation.cancel import CancelToken

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
    """One piece of work. Read `state` and `error` from any thread; `wait` for the end."""

    def __init__(self, name: str, work: Callable[[CancelToken], Any]) -> None:
        self.name = name
        self.cancel = CancelToken()
        self.state = TaskState.WAITING
        self.error: Exception | None = None
        self._work = work
        self._ended = Event()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the task has ended and its callbacks have run; False after the timeout."""
        return self._ended.wait(timeout)


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
                task._ended.set()

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
