"""How the pictures of a run are divided into tasks: single batches, or lots of several."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.generation.batching import plan_batches
from workbench.study import Trial
from workbench.sweep.executors import ExecutorChoice
from workbench.sweep.tasks import Job, Task

MAKING = ("make", "lot")
"""The kinds of tasks that make pictures."""
LOTS_EACH = 4
"""So many lots for each worker, or more: at the end nobody waits long for the last of them."""
JOINING = 8
"""So many workers are reckoned with at least where more may join while the run is at work."""


def expected_workers(choice: ExecutorChoice, there: int) -> int:
    """How many workers will share the work, `there` of which are there."""
    return max(there, JOINING if choice.remote else 1)


def make_tasks(job: Job, trials: Sequence[Trial], size: int, most: int, workers: int) -> list[Task]:
    """Tasks that make these trials, each of one kind of batch.

    size: pictures in a batch that nothing is known of yet. most: the most that batches may come to
    have; where that is more, workers are to find it out and get lots of at most so many trials.
    """
    if most <= size:
        return single_batches(job, trials, size)
    lot = max(size, min(most, -(-len(trials) // (LOTS_EACH * workers))))
    return [
        Task(job, "lot", tuple(trial.id for trial in batch.trials), size=size)
        for batch in plan_batches(trials, lot)
    ]


def single_batches(
    job: Job, trials: Sequence[Trial], size: int, *, lenient: bool = False
) -> list[Task]:
    """One task for each batch of at most `size`."""
    return [
        Task(job, "make", tuple(trial.id for trial in batch.trials), size=size, lenient=lenient)
        for batch in plan_batches(trials, size)
    ]
