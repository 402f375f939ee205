"""What stands in the app's place in an exported notebook.

Protects readers of a notebook without a kernel from an empty place.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
from tiny_app import make_engine
from written_run import write_run

from workbench.app import Workbench
from workbench.app.still import MOST, still


def test_pictures_of_the_newest_run_with_what_steered_them(
    demo_frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame = demo_frame[demo_frame["seed"] == 1]
    run = write_run(tmp_path / "a 'run' & more", frame, ("a <b>girl</b>", "long hair") * 4)
    page = still([run.path, tmp_path / "older"])
    alts = re.findall(r"alt='([^']*)' src='data:image/webp;base64,\w", page)
    assert len(alts) == MOST and all("&lt;b&gt;girl" in alt or "no prompt" in alt for alt in alts)
    assert "<b>girl" not in page and "&#x27;run&#x27; &amp; more" in page
    assert page.startswith('<div class="wb-run" data-run="')


def test_without_a_run_there_is_a_sentence(tmp_path: Path) -> None:
    assert "Run the notebook" in still([])
    assert "Run the notebook" in still([tmp_path / "gone"])
    bench = Workbench(tmp_path / "runs", engine=make_engine(tmp_path / "engine"))
    found = bench._repr_mimebundle_()
    data = found[0] if isinstance(found, tuple) else found
    assert "application/vnd.jupyter.widget-view+json" in data and "Run the" in data["text/html"]
    assert data["text/plain"] == "The ControlNet workbench"
    bench.close()
