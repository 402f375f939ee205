"""Protects: pictures of other programs become a run whose readings are those of a run's own.

A run of the tiny family is written out as other programs would have written it, and scored.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign import export, save, steered, webui
from tiny_run import NO_WORLD, TINY_WORLD, TinyManager

import workbench as wb
from workbench.families import Family
from workbench.families.manager import JudgesAlone
from workbench.generation import CancelToken
from workbench.report.writing import render_report
from workbench.runs import Run
from workbench.scoring import Choice, ScoringError, measure, score
from workbench.scoring.tables import read_rows
from workbench.store import RunFolder, StoreError
from workbench.study import StudyError
from workbench.sweep import run_study
from workbench.verify.recover import RecoveryError, recover_study
from workbench.verify.run import verify_run
from workbench.verify.stored import run_digest

FACTS = ["prompt", "full_prompt", "label", "dropped", "scale", "seed", "control_settings"]


def by_picture(run: Run, metric_only: str = "") -> dict[tuple[str, str], Any]:
    """(pixels, metric) -> value, chance, ceiling and the facts of the cell, of steered pictures."""
    pixels = {trial: record.sample_sha256 for trial, record in run.records.items()}
    table = run.table[run.table["scale"] > 0]
    rows = table[["trial", "metric", "value", "chance", "ceiling", *FACTS]].fillna(-9)
    return {
        (pixels[trial], metric): values
        for trial, metric, *values in rows.itertuples(index=False)
        if metric.startswith(metric_only) and not metric.startswith("diversity")
    }


@pytest.mark.parametrize("program", ["webui", "comfyui", "table"])
def test_readings_are_those_of_the_run(
    program: str, original: Run, manager: TinyManager, tmp_path: Path
) -> None:
    given = export(original, program, tmp_path / "pictures")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    done = wb.score(given, tmp_path / "scored", manager=manager)
    assert {path: path.read_bytes() for path in before} == before
    assert by_picture(done) == by_picture(original)
    assert done.status.sentence == ""
    named = {"webui": "webui", "comfyui": "ComfyUI", "table": "an unknown program"}[program]
    assert f"8 by {named}" in done.origin
    assert {r.made_by["program"] for r in done.records.values()} == {named}
    assert all(r.made_by["file"].endswith(".png") for r in done.records.values())
    text = done.folder.study_text()
    assert not {"steps:", "scheduler:", "guidance_scale:", "seeds:"} & set(text.split())


@pytest.fixture(scope="module")
def scored(original: Run, manager: TinyManager, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the web UI's pictures; a cell of the grid is missing. Not to be changed."""
    folder = tmp_path_factory.mktemp("web")
    pictures = export(original, "webui", folder / "pictures")
    lines = (pictures / "metadata.csv").read_text().splitlines()
    (pictures / "metadata.csv").write_text("\n".join(lines[:-1]))
    return wb.score(pictures, folder / "scored", manager=manager)


def test_a_finished_run_may_have_holes(scored: Run) -> None:
    assert len(scored.records) == 7 and scored.status.sentence == ""
    page = render_report(scored.folder)
    assert page.count("were not made by it: they were read from the folder pictures") >= 1
    assert "this makes the same run again" not in page and ">measured<" in page
    assert "pictures made elsewhere" in scored.page().read_text("utf-8")
    assert scored.origin[:30] in scored._repr_html_()


def test_verify_measures_again_and_makes_nothing(scored: Run, manager: TinyManager) -> None:
    found = verify_run(scored.path, manager=manager)
    assert found is not None and found.exit_code == 0
    assert found.group("readings").count("identical") == 7  # type: ignore[union-attr]
    trials = found.group("trials")
    assert trials is not None and not trials.items
    assert trials.note == "pictures that were made elsewhere cannot be made again"


def _edit(run: RunFolder, change: Callable[[dict[str, Any]], None]) -> None:
    path = run.record_path(run.trial_ids()[0])
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "group"),
    [
        (lambda r: next(iter(r["cells"].values())).update(scale=0.25), "cells"),
        (lambda r: next(row for row in r["rows"] if row["value"]).update(value=0.123), "readings"),
        (lambda r: r["trial"].update(seed=99), "pictures"),
    ],
)
def test_verify_finds_an_edited_record(
    change: Callable[[dict[str, Any]], None],
    group: str,
    scored: Run,
    manager: TinyManager,
    tmp_path: Path,
) -> None:
    shutil.copytree(scored.path, tmp_path / "run")
    _edit(RunFolder(tmp_path / "run"), change)
    found = verify_run(tmp_path / "run", manager=manager)
    assert found is not None and found.exit_code == 1
    assert found.group(group).outcome == "different"  # type: ignore[union-attr]


def test_a_picture_that_was_removed_is_missed(
    scored: Run, manager: TinyManager, tmp_path: Path
) -> None:
    shutil.copytree(scored.path, tmp_path / "run")
    shutil.rmtree(RunFolder(tmp_path / "run").trial_folder(next(iter(scored.records))))
    found = verify_run(tmp_path / "run", manager=manager)
    assert found is not None and found.exit_code != 0
    assert found.group("pictures").count("not checked") == 1  # type: ignore[union-attr]


def test_nobody_makes_the_pictures_again(scored: Run, manager: TinyManager, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be made again"):
        run_study(scored.study, tmp_path / "again", manager=manager)
    assert not (tmp_path / "again").exists()
    for path in (scored.path, scored.report(tmp_path / "report.html")):
        with pytest.raises(RecoveryError, match="cannot be made again"):
            recover_study(path, tmp_path)


def test_a_run_is_read_by_other_judges(original: Run, models: Path, tmp_path: Path) -> None:
    folder = models / "tiny" / "clip-2"
    if not folder.is_dir():
        import torch
        from transformers import CLIPModel

        shutil.copytree(models / "tiny" / "clip", folder)
        model = CLIPModel.from_pretrained(folder)
        torch.manual_seed(7)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        model.save_pretrained(folder)
    offered = {"clip": {"other": {"path": "tiny/clip-2"}}}
    family = Family.model_validate(TINY_WORLD.model_dump() | {"judges": offered})
    chosen = TinyManager(family.with_judges({"clip": "other"}), models_dir=models)
    before = run_digest(original.folder)
    done = wb.score(original.path, tmp_path / "read", judges=["other"], manager=chosen)
    assert run_digest(original.folder) == before
    assert len(done.records) == len(original.records) == 12
    assert len(done.table["cell"].unique()) == len(original.table["cell"].unique()) == 16
    assert by_picture(done, "canny") == by_picture(original, "canny")
    assert by_picture(done, "clip_source") != by_picture(original, "clip_source")
    assert "read from the run run (12 by the workbench)" in done.origin
    difference = original.diff(done)
    assert len(difference.cells) == 16 and not difference.pictures and not difference.only_a
    with pytest.raises(ScoringError, match="name the judges"):
        score(original.path, tmp_path / "same", Choice())


def test_without_a_vae_a_source_is_its_own_ceiling(
    original: Run, models: Path, tmp_path: Path
) -> None:
    class Alone(JudgesAlone, TinyManager):
        pass

    table = export(original, "table", tmp_path / "pictures")
    done = wb.score(table, tmp_path / "run", vae=False, manager=Alone(NO_WORLD, models_dir=models))
    canny = done.table[done.table["metric"] == "canny_f1"]
    assert (canny["ceiling"] == 1).all() and canny["chance"].notna().all()
    assert "No VAE was named" in done.origin
    manifest = done.folder.read_manifest()
    assert manifest is not None and not any("base" in name for name in manifest.weight_hashes or {})


def test_a_picture_of_text_alone_is_held_against_every_source(
    original: Run, manager: TinyManager, tmp_path: Path
) -> None:
    pictures = export(original, "webui", tmp_path / "pictures")
    alone = next(r.trial for r in original.records.values() if r.trial.control is None)
    text = webui(alone)["parameters"].partition(", ControlNet 0")[0]
    save(pictures / "alone.png", original.pictures[alone.id], {"parameters": text})
    with (pictures / "metadata.csv").open("a") as file:
        file.write("\nalone.png,\n")
    done = wb.score(pictures, tmp_path / "run", manager=manager)
    mine = done.table[done.table["scale"] == 0]
    assert mine["trial"].nunique() == 1 and mine["source"].nunique() == 2


def test_sources_among_the_pictures_are_not_scored(original: Run, tmp_path: Path) -> None:
    folder, sources = tmp_path / "pictures", original.sources
    for trial, source in steered(original):
        if source.startswith("900001"):
            save(folder / f"{trial.id}.png", original.pictures[trial.id], webui(trial))
    save(folder / "900001.png", sources["paperdoll:900001"])
    found = read_rows(folder, {"source": "900001.png"}).rows
    assert len(found) == 4 and {row.source for row in found} == {"900001.png"}


def test_an_exported_folder_of_a_run_is_scored_like_the_run(
    original: Run, manager: TinyManager, tmp_path: Path
) -> None:
    folder = original.to_imagefolder(tmp_path / "pictures")
    done = wb.score(folder, tmp_path / "run", manager=manager)
    assert len(done.records) == len(original.records) == 12
    assert len(done.table["cell"].unique()) == 16
    assert by_picture(done, "canny") == by_picture(original, "canny")


def test_what_was_stopped_goes_on(
    original: Run, manager: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "GROUP", 3)
    table, cancel = export(original, "table", tmp_path / "pictures"), CancelToken()

    def stop(progress: Any) -> None:
        if progress.done:
            cancel.cancel()

    score(table, tmp_path / "run", Choice(), manager=manager, progress=stop, cancel=cancel)
    half = Run(tmp_path / "run")
    assert len(half.records) == 3 and "3 of 8 pictures are there" in half.status.sentence
    done = wb.score(table, tmp_path / "run", manager=manager)
    whole, found = by_picture(original), by_picture(done)
    assert whole.keys() == found.keys()  # judges round otherwise in smaller groups
    assert all(found[key][0] == pytest.approx(whole[key][0], abs=1e-4) for key in whole)


def test_a_run_with_pictures_of_its_own_is_left_alone(
    original: Run, manager: TinyManager, tmp_path: Path
) -> None:
    shutil.copytree(original.path, tmp_path / "run")
    before = run_digest(RunFolder(tmp_path / "run"))
    table = export(original, "table", tmp_path / "pictures")
    with pytest.raises(StoreError, match="pictures of its own"):
        score(table, tmp_path / "run", Choice(), manager=manager)
    assert run_digest(RunFolder(tmp_path / "run")) == before


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"picture": "nowhere.png"}, "row 1 (nowhere.png): there is no file"),
    "unnamed": ({"picture": ""}, "no picture is named"),
    "control": ({"control": "cany"}, "there is no control type 'cany'"),
    "prompt": ({"prompt": ""}, "row 1 (a.png): no prompt is told"),
    "scale": ({"scale": ""}, "no scale is told"),
    "number": ({"scale": "much"}, "row 1 (a.png): scale 'much'"),
    "nothing": ({"source": ""}, "neither source nor map is told"),
    "both": ({"map": "s.png"}, "it has a source and a map of it"),
    "no source": ({"source": "gone.png"}, "gone.png does not exist"),
    "broken": ({"picture": "broken.png"}, "row 1 (broken.png): "),
    "twice": ({"picture": "b.png"}, "it is the same picture as row 1"),
    "sizes": ({"picture": "large.png"}, "row 2 (b.png): it has 32 pixels a side, and the first"),
    "seeds": ({"seed": "2"}, "tell them apart by the column `seed` or `model`"),
    "settings": ({"settings": '{"low": -5}'}, "greater than or equal to 0"),
    "world": ({}, "know nothing but the embedded world at 128"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_row_before_anything_begins(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(measure, "load_manager", load)
    rng = np.random.default_rng(1)
    for name, side in (("a", 32), ("b", 32), ("s", 32), ("large", 64)):
        save(tmp_path / f"{name}.png", rng.integers(0, 255, (side, side, 3), np.uint8))
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    row = {"prompt": "a cat", "source": "s.png", "control": "canny", "scale": "1", "map": ""}
    row |= {"settings": ""}
    changes, expected = MISTAKES[mistake]
    rows = [
        row | {"picture": "a.png", "seed": "1"} | changes,
        row | {"picture": "b.png", "seed": "2"},
    ]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, sorted(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(ScoringError) as told:
        score(tmp_path / "t.csv", tmp_path / "run", Choice())
    assert expected in str(told.value)
    assert not (tmp_path / "run").exists()


def test_the_middle_of_a_wide_picture_is_held_against_the_middle_of_its_source(
    manager: TinyManager, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    wide = np.kron(rng.integers(0, 255, (8, 12, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    save(tmp_path / "in" / "a.png", wide)
    save(tmp_path / "in" / "s.png", np.kron(wide, np.ones((2, 2, 1), np.uint8)))
    save(tmp_path / "in" / "tall.png", wide.transpose(1, 0, 2))
    row = {"picture": "a.png", "prompt": "a cat", "control": "canny", "scale": 1}
    table = tmp_path / "in" / "metadata.jsonl"
    table.write_text(json.dumps(row | {"source": "tall.png"}))
    with pytest.raises(ScoringError, match="cut both alike"):
        score(tmp_path / "in", tmp_path / "run", Choice(), manager=manager)
    table.write_text(json.dumps(row | {"source": "s.png"}))
    done = wb.score(tmp_path / "in", tmp_path / "run", manager=manager)
    (picture,) = done.pictures.values()
    assert np.array_equal(picture, wide[:, 16:80])
    f1 = done.table.set_index("metric")["value"]["canny_f1_matched"]
    assert f1 == pytest.approx(1, abs=0.1)
