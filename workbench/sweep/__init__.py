"""The sweep: from a study to a filled run folder, resumable at any point."""

from workbench.sweep.backends import ExecutorChoice
from workbench.sweep.estimate import DryRun, dry_run
from workbench.sweep.messages import ExecutorError
from workbench.sweep.progress import Progress, ProgressCallback
from workbench.sweep.runner import run_study, run_trials

__all__ = [
    "DryRun",
    "ExecutorChoice",
    "ExecutorError",
    "Progress",
    "ProgressCallback",
    "dry_run",
    "run_study",
    "run_trials",
]
