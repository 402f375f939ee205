"""What stands in the app's place where no widget can be shown, as in an exported notebook."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

MOST = 6
"""So many pictures are shown."""
MARK = "wb-still"
"""Class of what is shown where no widget can be. The styles of the widgets hide it, so that it is
seen where they never came: offline, on GitHub, without a kernel."""


class Still:
    """A widget with an output beside it, for whatever shows no widget.

    An output of its own, since an exported notebook that has the widget's state shows nothing else
    of the same output, and that takes scripts from a network.
    """

    def still(self) -> str:
        """The widget as HTML that needs nothing else; "" for none."""
        raise NotImplementedError

    def _ipython_display_(self, **_: Any) -> None:
        from IPython.display import HTML, display

        found = self._repr_mimebundle_()  # type: ignore[attr-defined]
        data, metadata = found if isinstance(found, tuple) else (found, {})
        display(data, metadata=metadata, raw=True)
        if shown := self.still():
            display(HTML(f'<div class="{MARK}">{shown}</div>'))


def still(runs: Sequence[Path]) -> str:
    """HTML of some pictures of the newest run, each with what steered it; it needs nothing else.

    Args:
        runs: run folders, newest first.
    """
    from workbench.explorer.pictures import webp
    from workbench.store import RunFolder, StoreError

    said = "<p><b>The ControlNet workbench.</b> Run the notebook to use it.</p>"
    if not runs:
        return said
    figures = []
    with suppress(StoreError):
        run = RunFolder.open(runs[0])
        for name in run.trial_ids()[:MOST]:
            with suppress(StoreError):
                trial = run.read_record(name).trial
                alt = f"{trial.prompt or 'no prompt'}, {trial.control or 'no control'}"
                data = base64.b64encode(webp(run.read_sample(name))).decode("ascii")
                figures.append(
                    "<figure style='margin:0;width:128px;font-size:12px'>"
                    f"<img width='128' alt='{escape(alt)}' src='data:image/webp;base64,{data}'>"
                    f"<figcaption>scale {trial.scale:g}, seed {trial.seed}</figcaption></figure>"
                )
    strip = f"<div style='display:flex;flex-wrap:wrap;gap:8px'>{''.join(figures)}</div>"
    place = escape(str(runs[0]))  # so that a page for a class shows the run's explorer here
    return f'<div class="wb-run" data-run="{place}">{said}<p>{place}</p>{strip}</div>'
