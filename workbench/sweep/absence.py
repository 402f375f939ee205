"""Workers that stay away: said once, and the end of a run that waits for them in vain."""

from __future__ import annotations

import logging
import time

from workbench.sweep.errors import ExecutorError
from workbench.sweep.executors import Crew

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
SAY_SECONDS = 10.0


class Absence:
    """Watches whether any worker is there. Dask itself would wait for ever and say nothing."""

    def __init__(self, crew: Crew, patience: float) -> None:
        self._crew, self._patience = crew, patience
        self._looked = time.monotonic()
        self._gone: float | None = None
        self._said = False

    def doubt(self) -> None:
        """Ask at the next look, however short a time ago the last one was."""
        self._looked = float("-inf")

    def look(self) -> bool:
        """Ask the crew, once a second at most. True if nobody is there.

        Raises ExecutorError when there was no worker for as long as the run shall wait.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return self._gone is not None
        self._looked = now
        if self._crew.present():
            if self._said:
                log.warning("there are workers again; the run goes on")
            self._gone, self._said = None, False
            return False
        self._gone = now if self._gone is None else self._gone
        away = now - self._gone
        if away >= self._patience:
            raise ExecutorError(
                f"no worker that can do the work was there for {away:.0f} s: what was done until "
                "now is kept, and the same command goes on once there are workers again; where "
                "they may take longer to come, give it a longer --worker-timeout"
            )
        if away >= min(SAY_SECONDS, self._patience / 2) and not self._said:
            self._said = True
            log.warning(
                "no worker is there (they ended, or their time was up): waiting up to %.0f s for "
                "others",
                self._patience,
            )
        return True
