"""The sweep: from a study to a filled run folder, resumable at any point."""

from workbench.sweep.dryrun import DryRun, dry_run
from workbench.sweep.errors import ExecutorError
from workbench.sweep.executors import ExecutorChoice
from workbench.sweep.progress import Progress, ProgressCallback
from workbench.sweep.runner import run_study

__all__ = [
    "DryRun",
    "ExecutorChoice",
    "ExecutorError",
    "Progress",
    "ProgressCallback",
    "dry_run",
    "run_study",
]
