"""`workbench score` on pictures of the embedded world. Protects: options reach the measuring, and a
mistake ends with a sentence and exit status 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run_command
from foreign import save

import workbench as wb
from workbench.paperdoll import render, sample_scene


@pytest.mark.models
def test_a_folder_whose_pictures_say_nothing(tmp_path: Path) -> None:
    for seed in (1, 2):
        save(tmp_path / "in" / f"{seed}.png", render(sample_scene(seed)).rgb)
    settings = ("control=canny", "source=1.png", "scale=1", "prompt=a girl, snow", "model=1.5")
    told = [part for pair in settings for part in ("--set", pair)]
    done = run_command("score", tmp_path / "in", "-o", tmp_path / "run", "--no-vae", *told)
    assert done.code == 0 and "Done: the run is in" in done.out, done.err
    run = wb.open_run(tmp_path / "run")
    (record,) = run.records.values()
    assert (record.made_by["file"], record.trial.base) == ("2.png", "1.5")
    assert "No VAE was named" in run.origin


def test_a_mistake_ends_with_a_sentence(tmp_path: Path) -> None:
    done = run_command("score", tmp_path / "nowhere")
    assert done.code == 2 and "there is no such folder, table or run" in done.err
    done = run_command("score", tmp_path, "--set", "colour=red")
    assert done.code == 2 and "there is no column 'colour'" in done.err
