"""The progress of one piece of work, shown five times a second, with the picture in the making."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workbench.app.state import LOOK_SIZE
from workbench.images import encode_png, fit_image

if TYPE_CHECKING:
    from workbench.generation import Step
    from workbench.sweep import Progress

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.2
LOOK_SHARE = 4.0
"""Between two looks at a picture in the making pass this many times the seconds that one takes, so
that it is never held up by much, however slow the decoder is."""


class Live:
    """Takes the progress of one piece of work.

    Args:
        tell: takes the fields of `Work` that changed.
        grow: called when more pictures are stored.
        look_at: id of the trial whose picture is looked at while it is made; "" looks at none.

    `pace` is the seconds that a picture takes, None while that is unknown.
    """

    def __init__(
        self, tell: Callable[[dict[str, Any]], object], grow: Callable[[], None], look_at: str = ""
    ) -> None:
        self._tell, self._grow, self._look_at = tell, grow, look_at
        self._shown, self._phase, self._done = 0.0, "", -1
        self._begun: tuple[float, int] | None = None
        self._look, self._rest_until = b"", 0.0
        self.pace: float | None = None

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.phase == "generating":
            if self._begun is None:
                self._begun = (now, progress.done)
            elif progress.done > self._begun[1]:
                self.pace = (now - self._begun[0]) / (progress.done - self._begun[1])
        moved = progress.phase != self._phase or progress.done != self._done
        if not moved and now - self._shown < PROGRESS_SECONDS:
            return
        more = progress.phase in ("generating", "finishing", "done") and progress.done > self._done
        self._shown, self._phase, self._done = now, progress.phase, progress.done
        left, step = progress.seconds_left, progress.step
        if step is not None:
            self._look_again(step)
        self._tell(
            {
                "done": progress.done,
                "total": progress.total,
                "seconds_left": float("nan") if left is None else float(left),
                "phase": progress.phase,
                "step": 0 if step is None else step.done,
                "steps": 0 if step is None else step.total,
                "look": self._look,
            }
        )
        if more:
            self._grow()

    def _look_again(self, step: Step) -> None:
        """Decode what the picture looks like by now, unless the last look was a moment ago."""
        began = time.monotonic()
        places = [place for place, t in enumerate(step.trials) if t.id == self._look_at]
        if not places or step.done == step.total or began < self._rest_until:
            return
        try:
            picture = step.preview(places[0])
            size = min(LOOK_SIZE, *picture.shape[:2])
            self._look = encode_png(fit_image(picture, size))
        except Exception:  # the picture itself must not fail by it
            log.warning("the picture in the making cannot be shown", exc_info=True)
            self._look_at, self._look = "", b""
        now = time.monotonic()
        self._rest_until = now + LOOK_SHARE * (now - began)
