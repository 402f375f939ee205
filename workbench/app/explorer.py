"""The explorer of a run as a widget: the module of the page, with a kernel behind it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from workbench.explorer import View
from workbench.explorer.page import module, style
from workbench.runs import Run, open_run

log = logging.getLogger(__name__)

MOST = 400
"""So many pictures are sent for one request at the most."""


class Explorer(anywidget.AnyWidget):
    """The explorer of one run. Pictures are sent when they come into sight.

    Args:
        run: the run; nothing of it is changed.

    `picked` is where the reader is: control, source, seed, prompt and scale by name. It can be set.
    """

    _esm = module()
    _css = style()
    data = traitlets.Dict().tag(sync=True)
    picked = traitlets.Dict().tag(sync=True)

    def __init__(self, run: Run) -> None:
        self.run = run
        self._worker = ThreadPoolExecutor(1, "explorer")
        self._view = run.view()
        super().__init__(data=self._view.shown.data)
        self.on_msg(self._asked)

    def refresh(self) -> None:
        """Look at the run again, which may have grown; the reader stays where they are."""
        self.run.refresh()
        self._view = self.run.view()
        self.data = self._view.shown.data

    def close(self) -> None:
        """Let go of the run and its networks."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _asked(self, _: Any, message: Mapping[str, Any], __: Sequence[Any]) -> None:
        """Callbacks return at once: reading and encoding is the worker's."""
        if message.get("kind") == "pictures":
            self._worker.submit(self._deliver, self._view, message.get("numbers"))

    def _deliver(self, view: View, numbers: object) -> None:
        try:
            wanted = numbers[:MOST] if isinstance(numbers, list) else []
            there = view.shown.pictures
            number = {there[n]: n for n in wanted if isinstance(n, int) and 0 <= n < len(there)}
            sent: list[int] = []
            files: list[bytes] = []
            for key, file in view.pictures.files(list(number)):
                sent.append(number[key])
                files.append(file)
            self.send({"kind": "pictures", "numbers": sent}, files)
        except Exception:
            log.exception("the explorer could not send pictures")

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and for whatever shows none the trade-off as a picture."""
        found = super()._repr_mimebundle_(**options)
        data = found[0] if isinstance(found, tuple) else found
        if isinstance(data, dict):
            data["text/html"] = self.run._repr_html_()
        return found


def explore(run: Run | str | Path) -> Explorer:
    """The explorer of a run, or of a run folder, to be the last line of a cell.

    StoreError if there is no run there.
    """
    return Explorer(run if isinstance(run, Run) else open_run(run))
