"""Protects: the colours of control maps are named in the report, and names never become markup."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench import analysis
from workbench.controls import get_control
from workbench.controls.base import LegendEntry
from workbench.families.manager import ModelManager
from workbench.paperdoll import render, sample_scene
from workbench.report import render_report
from workbench.report.sheets import ShownMap, control_maps, short_label
from workbench.store import RunFolder
from workbench.study import SourceImage


def test_the_colours_of_control_maps_are_named(
    tmp_path: Path,
    synthetic_frame: Callable[..., pd.DataFrame],
    write_run: Callable[..., RunFolder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    legend = (LegendEntry("wall", (120, 120, 120), 0.9), LegendEntry("<i>x", (1, 2, 3), 0.1))
    shown = ShownMap(np.zeros((8, 8, 3), np.uint8), legend)

    def maps(
        _: RunFolder, frame: pd.DataFrame, *more: object
    ) -> dict[tuple[str, str, str], ShownMap]:
        none = pd.Series("", index=frame.index)
        keys = zip(
            frame["source"], frame["control"], frame.get("control_settings", none), strict=True
        )
        return {(str(s), analysis.control_type(str(c)), str(t)): shown for s, c, t in keys}

    monkeypatch.setattr("workbench.report.content.control_maps", maps)
    frame = synthetic_frame(scales=(0.0, 1.0), lengths=(3,), sources=2)
    text = render_report(write_run(tmp_path / "r", frame, ("a girl", "winter", "snow")))
    assert "In the control maps:" in text and "color: rgb(120, 120, 120)" in text
    assert "&lt;i&gt;x" in text and "<i>x" not in text


def test_maps_of_classes_bring_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder.prepare(tmp_path / "run")  # it keeps no maps
    lent = {"segmentation": lambda batch: np.full(batch.shape[:3], 11, np.uint8)}
    monkeypatch.setattr(ModelManager, "networks", lambda _: lent)
    settings = get_control("segmentation").settings().canonical()
    frame = pd.DataFrame({"control": ["segmentation"], "control_settings": [settings]})
    source = SourceImage("paperdoll:1", "0" * 64, render(sample_scene(1)).rgb)
    (found,) = control_maps(run, frame, {"paperdoll:1": source}, "paperdoll").values()
    assert [entry.name for entry in found.legend] == ["coat"]


def test_rows_of_a_sheet_are_named_by_what_tells_the_sources_apart() -> None:
    assert short_label("paperdoll:900001") == "paperdoll:900001"
    assert short_label("../sources/astronaut.png") == "astronaut"
    assert short_label("map:../drawings/house.png") == "house"
