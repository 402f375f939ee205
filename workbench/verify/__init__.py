"""Verification: can a run be believed, and can it be made again?

`run.verify_run` does the work and needs torch; what a report says of it (`state`) does not.
`taking.take_study` gets studies back out of reports, pictures and run folders.
"""

from workbench.verify.result import Group, Item, Verification
from workbench.verify.state import read_state, state_sentence, write_state

__all__ = ["Group", "Item", "Verification", "read_state", "state_sentence", "write_state"]
