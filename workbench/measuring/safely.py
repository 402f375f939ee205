"""Measuring so that one picture on which it fails costs neither the others nor itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.study import Cell

if TYPE_CHECKING:
    from workbench.measuring.measurer import Measured, Measurer

log = logging.getLogger(__name__)

NOT_MEASURED = "could not be measured"


def measure_safely(
    measurer: Measurer,
    samples: Sequence[tuple[str, np.ndarray]],
    cells: Mapping[str, Sequence[Cell]] | None = None,
) -> list[Measured]:
    """As `Measurer.measure`; where it fails, sample by sample.

    A sample on which it fails alone gets NaN with the error as the reason, which begins with
    `NOT_MEASURED`. `Measurer.unmeasured` counts such readings as missing, so that the next start
    tries again: the picture itself is sound and is kept.
    """
    try:
        return measurer.measure(samples, cells)
    except Exception as error:
        log.warning("%d pictures could not be measured together: %s", len(samples), error)
    of_trial = measurer.plan.cells_by_trial if cells is None else cells
    found: list[Measured] = []
    for trial_id, image in samples:
        try:
            found += measurer.measure([(trial_id, image)], cells)
        except Exception as error:
            log.warning("trial %s could not be measured", trial_id, exc_info=True)
            reason = f"{NOT_MEASURED}: {type(error).__name__}: {error}"
            found.append(measurer.nothing(trial_id, of_trial.get(trial_id, ()), reason))
    return found
