"""Pictures that are there already, measured like those of a run: from other programs, or of a run
whose pictures are to be read by other judges. What comes out is a run folder of its own."""

from workbench.scoring.measure import Choice, score
from workbench.scoring.tables import COLUMNS, ScoringError

__all__ = ["COLUMNS", "Choice", "ScoringError", "score"]
