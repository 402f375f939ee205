"""`References.pairwise` as a function."""

from workbench.measuring.adherence import Reference
from workbench.measuring.references import References
from workbench.study import Cell


def apart_reference(references: References, cell: Cell, metric: str) -> Reference:
    """How far apart unrelated pictures are, and equal ones."""
    return references.pairwise(cell, metric)
