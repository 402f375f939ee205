"""`workbench influence`, with the models replaced by tiny ones.

Protects: the cost is said before the work and alone with --dry-run, the statement and the figure
come out, and a study that cannot be asked ends with a sentence and exit code 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import run_command
from tiny_manager import models
from tiny_run import TINY_WORLD, make_manager, make_study

from workbench.families.manager import ModelManager
from workbench.influences import making

__all__ = ["models"]


@pytest.fixture
def study(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study file of the family whose name the tiny models bear here."""

    def tiny(*_: Any) -> ModelManager:
        return make_manager(models)

    monkeypatch.setattr(making, "get_family", lambda _: TINY_WORLD)
    monkeypatch.setattr(making, "load_manager", tiny)
    for name in ("require_plan", "check_fit"):
        monkeypatch.setattr(making, name, lambda *_: ())
    path = tmp_path / "tiny.yaml"
    path.write_text(make_study(scales=[1], lengths=[2], seeds=[1]).to_yaml(), "utf-8")
    return path


def test_the_command_says_what_it_costs_and_who_is_driving(study: Path, tmp_path: Path) -> None:
    run, figure = tmp_path / "run", tmp_path / "figure.svg"
    planned = run_command("influence", study, "--out", run, "--dry-run")
    assert planned.code == 0 and not run.exists()
    cost = "Four predictions at each of 2 steps for 2 pictures, about"
    assert planned.out.startswith(cost)
    odd = run_command("influence", study, "--out", run, "--figure", tmp_path / "figure.jpg")
    assert (odd.code, "figure.jpg.png" in odd.err) == (2, True)
    assert not run.exists()
    done = run_command("influence", study, "--out", run, "--figure", figure, "--maps-at", "2")
    assert done.code == 0 and cost in done.err
    assert done.out.startswith("Canny, 2 tags, scale 1, guidance 5: ")
    assert b"<svg" in figure.read_bytes()
    again = run_command("influence", run, "--dry-run")
    assert again.out == "All 2 pictures have been looked at: nothing is left to do.\n"


def test_what_cannot_be_asked_ends_with_a_sentence(study: Path) -> None:
    study.write_text(study.read_text("utf-8").replace("guidance_scale: 5.0", "guidance_scale: 1"))
    done = run_command("influence", study)
    assert done.code == 2 and "guidance_scale: without guidance" in done.err
