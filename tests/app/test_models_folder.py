"""Protects: the app and `wb.run` go the same way with a models folder and a device.

The folder brings families of its own, and nothing is set but the two arguments.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from tiny_families import write_tiny_families

import workbench as wb
from workbench.families import FamilyError, catalogue

PATIENCE = 300.0


def test_a_picture_of_the_app_is_that_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    write_tiny_families(models)
    bench = wb.Workbench(tmp_path / "runs", family="tiny-sd", models=models, device="cpu")
    try:
        session = bench.session
        session.wait(PATIENCE)
        choice = session.state.now.choice
        assert choice.base == "one"
        session.choose(control="canny", steps=1)
        session.make()
        sheet = session.wait(PATIENCE).sheet
        assert sheet is not None and sheet.study is not None
        (picture,) = wb.open_run(sheet.folder).pictures.values()
        file = tmp_path / "study.yaml"
        file.write_text(sheet.study.to_yaml(), "utf-8")
    finally:
        bench.close()
    monkeypatch.setattr(catalogue, "_named_folders", [])
    run = wb.run(file, tmp_path / "run", models=models, device="cpu")
    (same,) = run.pictures.values()
    assert np.array_equal(picture, same)
    assert run.study.family == "tiny-sd" and wb.open_run(run.path).study == run.study

    # Verified, too, with the models that made it; a copy in another process knows them as well.
    for again in (run, pickle.loads(pickle.dumps(run)), wb.open_run(run.path, models)):
        found = again.verify(trials=1, seed=1)
        assert {item.outcome for group in found.groups for item in group.items} == {"identical"}


def test_a_family_that_is_not_known_leaves_the_workbench_that_is_open(tmp_path: Path) -> None:
    """It is refused with its sentence alone, before the other one is closed."""
    bench = wb.Workbench(tmp_path)
    try:
        with pytest.raises(FamilyError, match="no model family"):
            wb.Workbench(tmp_path, family="nosuch")
        assert bench.comm is not None
    finally:
        bench.close()
    widget = wb.Workbench.__new__(wb.Workbench)
    widget.close()
