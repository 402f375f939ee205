"""What goes wrong with workers, said to the user."""

from __future__ import annotations


class ExecutorError(Exception):
    """Workers cannot be had, are lost, or refuse. The message is for the user, one sentence for
    each thing that is wrong; what was stored until then is kept."""


class UnfitWorkerError(ExecutorError):
    """This worker cannot take part, but others may: it has other versions, no such device, or does
    not see the run folder."""


class WorkerDiedError(Exception):
    """Worker processes died of the same task again and again."""
