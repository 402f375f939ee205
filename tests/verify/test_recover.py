"""Protects reproduction: what a report or a picture carries is enough to make it again.

The end-to-end tests run the embedded model with two steps, through the command line.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command_line import run_command
from demo_run import STUDY
from tiny_run import TinyManager, make_study

from workbench.images import encode_png, read_image, read_png
from workbench.report import write_report
from workbench.store import RunFolder
from workbench.study import Study, StudyError, make_plan, single_study
from workbench.sweep import run_study
from workbench.verify.recover import RecoveryError, recover_study


def same_pictures(one: RunFolder, other: RunFolder) -> None:
    assert one.trial_ids() == other.trial_ids()
    for name in one.trial_ids():
        np.testing.assert_array_equal(one.read_sample(name), other.read_sample(name))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of the embedded model, made by the command line."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    done = run_command("run", folder / "study.yaml", "--out", folder / "run")
    assert done.code == 0, done.err
    return RunFolder.open(folder / "run")


@pytest.mark.models
def test_the_study_of_a_report_makes_the_whole_run_again(demo: RunFolder, tmp_path: Path) -> None:
    report = write_report(demo, tmp_path / "report.html")
    taken = run_command("study", report, "-o", tmp_path / "again.yaml")
    assert taken.code == 0 and taken.err == ""
    assert run_command("run", tmp_path / "again.yaml", "--out", tmp_path / "run").code == 0
    again = RunFolder.open(tmp_path / "run")
    same_pictures(demo, again)
    np.testing.assert_array_equal(demo.measurements()["value"], again.measurements()["value"])
    manifests = [run.read_json("manifest.json") for run in (demo, again)]
    assert manifests[0]["study_hash"] == manifests[1]["study_hash"]


@pytest.mark.models
def test_the_study_of_a_picture_makes_that_very_picture_again(
    demo: RunFolder, tmp_path: Path
) -> None:
    records = list(demo.records())
    wanted = [
        next(r.trial.id for r in records if r.trial.control is not None),
        next(r.trial.id for r in records if r.trial.control is None),
    ]
    for number, name in enumerate(wanted):
        picture = tmp_path / f"{number}.png"
        picture.write_bytes(demo.sample_path(name).read_bytes())
        study, out = tmp_path / f"{number}.yaml", tmp_path / f"run{number}"
        taken = run_command("study", picture, "-o", study)
        assert taken.code == 0 and taken.err == ""
        done = run_command("run", study, "--out", out)
        assert done.code == 0, done.err
        again = RunFolder.open(out)
        assert again.trial_ids() == (name,)
        np.testing.assert_array_equal(again.read_sample(name), read_image(picture))
        cells = set(demo.read_record(name).cells)
        assert set(again.read_record(name).cells) <= cells


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lengths": [0]},
        {"shortening": "random", "lengths": [1]},
        {"shortening": "leave-one-out", "lengths": []},
        {"extra_prompts": {"conflicting": ["a boy", "sunny"], "empty": []}},
        {"guidance_scale": 1.0, "negative_prompt": "rain", "scheduler": "euler"},
        {"control_start": 0.2, "control_end": 0.9, "steps": 10, "negative_prompt": "it's: #1"},
        {"control_start": 0.9, "control_end": 0.95, "steps": 2},
        {"controls": [{"type": "canny", "settings": {"low": 50, "tolerance": 0.02}}]},
        {"controls": [{"pair": ["depth", {"type": "canny", "settings": {"low": 50}}]}]},
        {"controls": [{"pair": ["depth", "canny"], "scales": {"depth": [0, 0.5, 1]}}, "canny"]},
        {"prompt": ["3", "yes: no", "- x", "#hair", "'quoted'"], "lengths": [5]},
    ],
    ids=lambda changes: "-".join(changes) or "plain",
)
def test_every_kind_of_trial_has_a_study_of_its_own(changes: dict[str, Any]) -> None:
    study = make_study(**changes)
    plan = make_plan(study, resolution=64)
    for cell in plan.cells:
        trial = plan.trials_by_id[cell.trial_id]
        text = single_study(trial, cell, dtype="bfloat16", batch_size=4)
        single = Study.from_dict(yaml.safe_load(text))
        (only,) = make_plan(single, resolution=64).trials
        assert only == trial
        assert (single.dtype, single.batch_size, single.fill_batches) == ("bfloat16", 4, True)


@pytest.mark.parametrize("controls", [["canny"], [{"pair": ["canny", "depth"]}]])
def test_a_prompt_cut_from_its_end_keeps_its_cell(controls: list[Any]) -> None:
    """Then the readings against the full prompt are the same ones too."""
    plan = make_plan(make_study(scales=[1], controls=controls), resolution=64)
    for cell in plan.cells:
        text = single_study(plan.trials_by_id[cell.trial_id], cell, dtype="float32", batch_size=1)
        assert "fill_batches" not in text
        again = make_plan(Study.from_dict(yaml.safe_load(text)), resolution=64)
        assert {c.id for c in again.cells} == {c.id for c in plan.cells_by_trial[cell.trial_id]}


@pytest.fixture
def photos(tmp_path: Path, manager: TinyManager) -> RunFolder:
    """A run whose sources are files."""
    rng = np.random.default_rng(0)
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    for name in ("mine/deep/a.png", "mine/b.png"):
        blocks = rng.integers(0, 256, (8, 8, 3), np.uint8)
        (tmp_path / name).write_bytes(encode_png(np.kron(blocks, np.ones((9, 9, 1), np.uint8))))
    values = make_study(sources=["deep/a.png", "b.png"]).model_dump(mode="json")
    study = Study.from_dict(values, folder=tmp_path / "mine")
    return run_study(study, tmp_path / "run", manager=manager)


def controlled(run: RunFolder) -> str:
    return next(record.trial.id for record in run.records() if record.trial.control)


def test_pictures_from_files_are_named_and_pinned_not_carried(
    photos: RunFolder, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    report = write_report(photos, away / "report.html")
    done = run_command("study", report, "-o", away / "study.yaml")
    assert done.code == 0
    assert "needs 2 pictures that a report does not carry" in done.err
    for source in photos.read_sources().values():
        assert source.label in done.err and source.sha256 in done.err
    with pytest.raises(StudyError, match="there is no file"):
        Study.from_yaml(away / "study.yaml")

    (away / "deep").mkdir()
    for name in ("deep/a.png", "b.png"):
        (away / name).write_bytes((tmp_path / "mine" / name).read_bytes())
    study = Study.from_yaml(away / "study.yaml")
    assert {t.id for t in make_plan(study, resolution=64).trials} == set(photos.trial_ids())
    assert recover_study(report, away).missing == {}

    (away / "b.png").write_bytes((tmp_path / "mine/deep/a.png").read_bytes())
    with pytest.raises(StudyError, match=r'sources\[1\]: "b.png" is not the picture this study'):
        make_plan(study, resolution=64)


def test_a_picture_gives_no_folder_of_its_maker_away(photos: RunFolder, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    for name in photos.trial_ids():
        text = " ".join(read_png(photos.sample_path(name))[1].values())
        assert "deep/" not in text and str(tmp_path) not in text
    copy = away / "sample.png"
    copy.write_bytes(photos.sample_path(controlled(photos)).read_bytes())
    (label,) = recover_study(copy, away).missing
    assert label in ("a.png", "b.png")


def test_inside_a_run_folder_the_kept_pictures_are_used(photos: RunFolder, tmp_path: Path) -> None:
    name = controlled(photos)
    out = tmp_path / "single.yaml"
    done = run_command("study", photos.sample_path(name), "-o", out)
    assert "is taken from the run folder: run/sources/" in done.err
    (trial,) = make_plan(Study.from_yaml(out), resolution=64).trials
    assert trial.id == name

    assert run_command("study", photos.path, "-o", tmp_path / "all.yaml").code == 0
    plan = make_plan(Study.from_yaml(tmp_path / "all.yaml"), resolution=64)
    assert {t.id for t in plan.trials} == set(photos.trial_ids())


def test_a_study_is_printed_where_no_file_is_named(run: RunFolder) -> None:
    done = run_command("study", run.path)
    assert done.code == 0
    assert Study.from_dict(yaml.safe_load(done.out)).hash == run.study().hash


def test_pins_are_checked_but_are_no_setting() -> None:
    plain = make_study()
    hashes = dict.fromkeys(plain.sources, "ab" * 32)
    pinned = make_study(source_sha256=hashes)
    assert pinned.hash == plain.hash and "source_sha256" not in plain.to_yaml()
    with pytest.raises(StudyError, match="renders to other pixels"):
        make_plan(pinned, resolution=64)
    with pytest.raises(StudyError, match="is not among the sources"):
        make_study(source_sha256={"paperdoll:7": "ab" * 32})
    with pytest.raises(StudyError, match="64 hexadecimal digits"):
        make_study(source_sha256={plain.sources[0]: "abc"})
    assert make_study(fill_batches=True).hash != plain.hash


def report_with(text: str) -> Callable[[Path], None]:
    link = base64.b64encode(text.encode()).decode()
    page = f'<a href="data:application/yaml;base64,{link}">study</a>'
    return lambda path: path.write_text(page) and None


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_text("<html>nothing</html>"), "neither a report nor a picture"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00binary"), "neither a report nor a picture"),
        (lambda path: path.write_bytes(encode_png(np.zeros((4, 4, 3), np.uint8))), "no study"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\nbroken"), "broken|kind"),
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "not a run folder"),
        (report_with("name: [1"), "cannot be used"),
        (report_with("name: x\nsources: 3"), "cannot be used"),
        (report_with("name: !!python/object:os.system x"), "cannot be used"),
    ],
)
def test_what_carries_no_study_is_refused(
    tmp_path: Path, write: Callable[[Path], Any], words: str
) -> None:
    path = tmp_path / "thing"
    write(path)
    with pytest.raises(RecoveryError, match=words):
        recover_study(path)
    done = run_command("study", path)
    assert done.code == 2 and "Traceback" not in done.err
