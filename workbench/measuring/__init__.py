"""Measuring: judges applied to samples, with chance, ceiling and adherence for every reading."""

from workbench.measuring.adherence import Reference, adherence
from workbench.measuring.judges import Clip, Judges
from workbench.measuring.measurer import (
    NOT_MEASURED,
    Measured,
    Measurer,
    PlannedReadings,
    embedding_of,
    measure_safely,
)
from workbench.measuring.specs import DEFINITIONS, metric_spec

__all__ = [
    "DEFINITIONS",
    "NOT_MEASURED",
    "Clip",
    "Judges",
    "Measured",
    "Measurer",
    "PlannedReadings",
    "Reference",
    "adherence",
    "embedding_of",
    "measure_safely",
    "metric_spec",
]
