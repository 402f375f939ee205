"""Verification: can a run be believed, can it be made again, and how do two runs differ?

`run.verify_run` compares the stored run with the run made again and needs torch; what a report says
of it (`result`), `diff_runs` and `recover_study`, which gets studies back out of reports, pictures
and run folders, do not.
"""

from workbench.verify.diff import RunDifference, diff_runs
from workbench.verify.recover import RecoveredStudy, RecoveryError, recover_study
from workbench.verify.result import (
    Group,
    Item,
    Verification,
    read_state,
    state_sentence,
    write_state,
)

__all__ = [
    "Group",
    "Item",
    "RecoveredStudy",
    "RecoveryError",
    "RunDifference",
    "Verification",
    "diff_runs",
    "read_state",
    "recover_study",
    "state_sentence",
    "write_state",
]
