"""How a worker makes the pictures of a task, and what it keeps of that from task to task."""

from __future__ import annotations

from itertools import chain

from workbench.families.manager import ModelManager
from workbench.generation.batching import BatchSize, BatchSizer
from workbench.generation.cancel import CancelToken
from workbench.measuring import Measurer
from workbench.store import RunFolder
from workbench.study import Study
from workbench.sweep.batches import done_record, store_batch
from workbench.sweep.tasks import Outcome, Task


class Maker:
    """Makes, measures and stores pictures of one study.

    made: good pictures so far. `name`, the worker's, goes on record.
    """

    def __init__(
        self,
        run: RunFolder,
        study: Study,
        manager: ModelManager,
        measurer: Measurer,
        cancel: CancelToken,
        name: str,
    ) -> None:
        self.made = 0
        self._run, self._study, self._manager, self._measurer = run, study, manager, measurer
        self._cancel, self._name = cancel, name
        self._sizers: dict[BatchSize, BatchSizer] = {}

    def batch(self, task: Task) -> Outcome:
        """All trials of the task at once. After a cancel nothing of them is stored."""
        from workbench.generation import generate

        trials = [self._measurer.plan.trials_by_id[trial] for trial in task.trials]
        batches = generate(
            trials,
            self._measurer.source_maps,
            self._manager,
            batch_size=self._sizer(task.size),
            cancel=self._cancel,
            allow_failures=task.lenient or self.made > 0,
        )
        results = list(chain.from_iterable(batches))
        if len(results) < len(trials):
            return Outcome(stopped=True)
        store_batch(self._run, self._measurer, results, self._name)
        good = [result.trial.id for result in results if result.image is not None]
        self.made += len(good)
        return Outcome(stored=task.trials, picture=good[-1] if good else "")

    def lot(self, task: Task) -> Outcome:
        """The trials in batches of the size that this worker finds, each stored before the next.

        What is stored already, perhaps by a worker that died of this lot, is left as it is, and the
        rest is made in batches of the first size. After a cancel the batches that were finished
        stay.
        """
        from workbench.generation import generate

        plan = self._measurer.plan
        stored = {trial: done_record(self._run, trial) for trial in task.trials}
        left = [plan.trials_by_id[trial] for trial, record in stored.items() if record is None]
        done = [trial for trial, record in stored.items() if record is not None]
        pictures = [trial for trial, record in stored.items() if record and not record.failed]
        before = task.lenient or self.made > 0 or bool(pictures)
        # A worker may have died because its batches grew.
        sizer = self._sizer(task.size if done else "auto")
        for results in generate(
            left,
            self._measurer.source_maps,
            self._manager,
            batch_size=sizer,
            cancel=self._cancel,
            allow_failures=before,
        ):
            store_batch(self._run, self._measurer, results, self._name)
            done += [result.trial.id for result in results]
            good = [result.trial.id for result in results if result.image is not None]
            pictures += good
            self.made += len(good)
        return Outcome(
            stored=tuple(done),
            picture=pictures[-1] if pictures else "",
            stopped=len(done) < len(task.trials),
        )

    def _sizer(self, size: BatchSize) -> BatchSizer:
        """What this worker has learned in earlier tasks of batches of that size.

        Of a number, which is a task of one batch, it learns only what did not fit; of "auto" also
        how large batches may grow.
        """
        if size not in self._sizers:
            self._sizers[size] = BatchSizer(size, self._manager, fill=self._study.fill_batches)
        return self._sizers[size]
