"""Two runs beside each other on the screen.

Protects: settings that differ and pictures that only one has are named, and what runs say is text.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from tiny_app import TinyEngine

from workbench import analysis
from workbench.app import Workbench
from workbench.app.compare import _tradeoffs, comparison_html
from workbench.app.state import Comparison
from workbench.plots import DARK, LIGHT

PATIENCE = 300.0


def test_two_runs_are_compared_on_the_screen(engine: TinyEngine, tmp_path: Path) -> None:
    bench = Workbench(tmp_path / "runs", engine=engine)
    session = bench.session
    session.make({"scale": [0, 1]})
    one = session.wait(PATIENCE).sheet
    session.new_run()
    session.choose(steps=3)
    session.make()
    two = session.wait(PATIENCE).sheet
    assert one is not None and two is not None and one.folder != two.folder
    assert [label for label, _ in bench.runs.other.options] == [
        "(with no other run)",
        "workbench-1",
    ]
    bench.runs.other.value = one.folder
    found = session.wait(PATIENCE).compared
    assert found is not None and (found.a, found.b) == ("workbench-2", "workbench-1")
    assert found.settings["steps"] == ("3", "2")
    assert "workbench-1" in bench.runs.compared.value and "<td" in bench.runs.compared.value
    with pytest.raises(ValueError, match="the run on the screen itself"):
        session.compare(two.folder)
    session.open(one.folder)
    assert session.wait(PATIENCE).compared is None and bench.runs.compared.value == ""
    session.compare(two.folder)
    assert session.wait(PATIENCE).compared is not None
    session.new_run()
    assert bench.runs.compared.value == ""
    session.open(one.folder)
    session.wait(PATIENCE)
    session.compare(tmp_path / "nothing")
    assert "cannot be compared" in session.wait(PATIENCE).status
    bench.close()


def test_both_trade_offs_are_drawn_for_both_themes(demo_frame: pd.DataFrame) -> None:
    frame = analysis.distinct_controls(demo_frame)
    run: Any = SimpleNamespace(
        labels={"depth": "Depth"},
        tradeoff=lambda: analysis.tradeoff(frame),
        sweet_spots=lambda: analysis.sweet_spot(frame),
    )
    drawn = [_tradeoffs((run, run), ("one", "two"), ["depth"], theme) for theme in (LIGHT, DARK)]
    assert drawn[0][0].startswith(b"\x89PNG") and drawn[0][0] != drawn[1][0]
    assert "Depth, one" in drawn[0][1] and "Depth, two" in drawn[0][1]


def test_texts_of_runs_are_shown_and_not_run() -> None:
    bad = "<script>x</script>"
    text = comparison_html(Comparison(bad, bad, {bad: (bad, bad)}, (bad,), bad, b"x", b"y", bad))
    assert "<script" not in text and "&lt;script&gt;" in text
