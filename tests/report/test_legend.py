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
from workbench.explorer import LocalNetworks, RunPictures
from workbench.paperdoll import render, sample_scene
from workbench.report import render_report
from workbench.report.sheets import ShownMap, control_maps
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

    def maps(pictures: RunPictures) -> dict[tuple[str, str, str], ShownMap]:
        return {
            (source, analysis.control_type(label), text): shown
            for label, text in pictures.settings.items()
            for source in pictures.sources
        }

    monkeypatch.setattr("workbench.report.content.control_maps", maps)
    frame = synthetic_frame(scales=(0.0, 1.0), lengths=(3,), sources=2)
    text = render_report(write_run(tmp_path / "r", frame, ("a girl", "winter", "snow")))
    assert "In the control maps:" in text and "color: rgb(120, 120, 120)" in text
    assert "&lt;i&gt;x" in text and "<i>x" not in text


def test_maps_of_classes_bring_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder.prepare(tmp_path / "run")  # it keeps no maps
    lent = {"segmentation": lambda batch: np.full(batch.shape[:3], 11, np.uint8)}
    monkeypatch.setattr(LocalNetworks, "lend", lambda *_: lent)
    settings = get_control("segmentation").settings().canonical()
    frame = pd.DataFrame({"control": ["segmentation"], "control_settings": [settings]})
    source = SourceImage("paperdoll:1", "0" * 64, render(sample_scene(1)).rgb)
    pictures = RunPictures(run, frame, LocalNetworks("paperdoll"))
    monkeypatch.setattr(RunPictures, "sources", {"paperdoll:1": source})
    (found,) = control_maps(pictures).values()
    assert [entry.name for entry in found.legend] == ["coat"]
