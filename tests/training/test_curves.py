"""Protects the learning curves: nothing of an earlier go is lost, and steps add up over goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.training.curves import learning_table, save_curve


def history(last: int, adherence: float) -> list[dict[str, float]]:
    return [
        {"step": 0, "adherence": adherence},
        {"step": last, "noise": 0.123456789},
        {"step": last, "adherence": adherence + 0.1},
    ]


def test_steps_add_up_over_goes(tmp_path: Path) -> None:
    assert learning_table(tmp_path).empty
    save_curve(history(40, 0.2), 32, "pose", tmp_path, seed=1, start="depth")
    save_curve(history(20, 0.5), 32, "pose", tmp_path, seed=2, start="pose")
    table = learning_table(tmp_path)
    assert list(table["step"]) == [0, 40, 40, 60]
    assert list(table["go"]) == [0, 0, 1, 1] and table["shipped"].all()
    assert set(table["metric"]) == {"Pose PCK@0.2"}
    assert list(table["start"]) == ["depth", "depth", "pose", "pose"]
    assert list(table["adherence"]) == pytest.approx([0.2, 0.3, 0.5, 0.6])


def test_the_same_go_is_kept_once_and_a_new_beginning_forgets_the_old(tmp_path: Path) -> None:
    save_curve(history(40, 0.2), 32, "pose", tmp_path, seed=1)
    for adherence in (0.4, 0.5):
        save_curve(history(20, adherence), 32, "pose", tmp_path, seed=2, start="pose")
    assert list(learning_table(tmp_path)["adherence"]) == pytest.approx([0.2, 0.3, 0.5, 0.6])
    save_curve(history(40, 0.1), 32, "pose", tmp_path, seed=1)
    goes = json.loads((tmp_path / "curves" / "pose.json").read_text())["goes"]
    assert len(goes) == 1 and goes[0]["history"][1]["noise"] == 0.12346


def test_improving_does_not_make_a_curve_that_of_the_weights(tmp_path: Path) -> None:
    save_curve(history(40, 0.2), 32, "pose", tmp_path, seed=1)
    path = tmp_path / "curves" / "pose.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shipped": False}))
    save_curve(history(20, 0.4), 32, "pose", tmp_path, seed=2, start="pose")
    assert len(learning_table(tmp_path)) == 4 and not learning_table(tmp_path)["shipped"].any()
    save_curve(history(40, 0.2), 32, "pose", tmp_path, seed=1)
    assert learning_table(tmp_path)["shipped"].all()
