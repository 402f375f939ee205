"""What a person can do in the app, tested without a browser, on tiny models.

Protects: every picture is a trial in a run folder that anybody can make again, what is there is
never made twice, a picture does not wait for a sweep, work can be stopped and goes on, failures
become sentences.
"""

from __future__ import annotations

import gc
import math
import threading
import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_app import PROMPT, TinyEngine

import workbench as wb
from workbench.app.progress import PROGRESS_SECONDS, Live
from workbench.app.session import Session
from workbench.app.shelf import Shelf
from workbench.app.state import Work
from workbench.app.worker import TaskState
from workbench.generation import Step
from workbench.images import decode_image, encode_png
from workbench.store import RunFolder
from workbench.study import StudyError
from workbench.sweep import Progress

PATIENCE = 300.0


def table(run: wb.Run) -> pd.DataFrame:
    return run.table.set_index(["cell", "metric"])[["value", "chance", "ceiling"]].sort_index()


def test_source_and_map_are_shown_before_any_model_is_loaded(session: Session) -> None:
    session.show()
    screen = session.wait(PATIENCE)
    assert screen.preview is not None and screen.preview_status == ""
    assert screen.preview.source.shape == screen.preview.control_map.shape == (64, 64, 3)
    assert "models" not in session.engine.__dict__


def test_a_picture_is_a_trial_that_its_study_file_makes_again(
    session: Session, engine: TinyEngine, tmp_path: Path
) -> None:
    session.choose(scale=0.5, seed=7, kept=PROMPT[:2])
    job = session.make()
    screen = session.wait(PATIENCE)
    assert job is not None and job.state is TaskState.DONE, job and job.error
    assert screen.sheet is not None and screen.sheet.folder.name == "workbench-1"
    run = wb.open_run(screen.sheet.folder)
    (trial,) = run.records
    assert screen.sheet.newest == trial and screen.runs == (screen.sheet.folder,)
    record = run.records[trial].trial
    assert (record.scale, record.seed, record.prompt) == (0.5, 7, "a girl, long hair")
    again = wb.run(screen.sheet.folder / "study.yaml", tmp_path / "again", manager=engine.manager)
    assert np.array_equal(again.picture(trial), run.picture(trial))
    assert threading.get_ident() not in engine.threads


def test_pictures_extend_the_run_and_nothing_is_made_twice(session: Session) -> None:
    session.make()
    first = session.wait(PATIENCE).sheet
    assert first is not None
    (old,) = wb.open_run(first.folder).records
    stamp = (first.folder / "trials" / old / "record.json").stat().st_mtime_ns
    session.choose(scale=0.25, kept=PROMPT[:1])
    session.make()
    session.make({"scale": [0.25, 1.0], "length": [1, 3]})
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None and sheet.folder == first.folder
    run = wb.open_run(sheet.folder)
    assert len(run.records) == 4 and run.study.scales == (0.25, 1.0)
    assert run.study.lengths == (1, 3)
    assert (first.folder / "trials" / old / "record.json").stat().st_mtime_ns == stamp


def test_a_strip_is_a_sweep_of_one_axis_and_the_twin_is_the_text_alone(
    session: Session, engine: TinyEngine
) -> None:
    assert set(session.strips) == {"scale", "seed", "base"}, "this family has one control type"
    session.choose(seed=2**32 - 2, kept=PROMPT[1:])
    assert max(session.strips["seed"]) == 2**32 - 1
    with pytest.raises(ValueError, match="no strip of 'control'"):
        session.make_strip("control")
    session.make_twin()
    session.make_strip("base")
    session.make_strip("scale")
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None and engine.made == [2, 2, 5]
    trials = [record.trial for record in wb.open_run(sheet.folder).records.values()]
    assert {trial.prompt for trial in trials} == {", ".join(PROMPT[1:])}
    places = {(trial.base, trial.scale) for trial in trials}
    first = session.state.now.choice.base
    assert places == {(first, scale) for scale in (0, 0.4, 0.8, 1, 1.2, 1.6)} | {("ink", 1.0)}


def test_the_text_alone_is_shown_beside_the_picture(session: Session) -> None:
    session.make_twin()
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None
    records = wb.open_run(sheet.folder).records
    assert [records[one].trial.scale for one in (sheet.newest, sheet.beside)] == [1.0, 0.0]


def test_a_picture_is_seen_in_the_making_and_is_none_the_other_for_it(
    session: Session, engine: TinyEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.app.progress.LOOK_SHARE", 0)  # on a busy machine, too
    seen: list[Work] = []
    session.state.observe(
        lambda names: seen.append(session.state.now.work) if "work" in names else None
    )
    engine.pause = PROGRESS_SECONDS  # so that each step is told
    session.choose(steps=4)
    session.make()
    sheet = session.wait(PATIENCE).sheet
    steps = [(work.step, work.look) for work in seen if work.steps == 4]
    assert [step for step, _ in steps] == sorted(step for step, _ in steps)
    looks = {look for _, look in steps if look}
    assert len(looks) > 1
    assert {decode_image(look).shape for look in looks} == {(64, 64, 3)}
    assert sheet is not None
    alone = wb.run(sheet.folder / "study.yaml", tmp_path / "alone", manager=engine.manager)
    assert np.array_equal(
        alone.picture(sheet.newest), wb.open_run(sheet.folder).picture(sheet.newest)
    )

    seen.clear()
    session.make({"seed": [2, 3]})
    session.wait(PATIENCE)
    assert any(work.steps for work in seen) and not any(work.look for work in seen)


def test_a_picture_is_made_though_it_cannot_be_seen_in_the_making() -> None:
    told: list[dict[str, Any]] = []

    def broken(_: int) -> np.ndarray:
        raise RuntimeError("no decoder")

    live = Live(told.append, lambda: None, look_at="a")
    step = Step((SimpleNamespace(id="a"),), 1, 4, broken)  # type: ignore[arg-type]
    live(Progress(0, 1, None, "generating", step=step))
    assert (told[0]["step"], told[0]["steps"], told[0]["look"]) == (1, 4, b"")


def test_another_prompt_begins_another_run(session: Session) -> None:
    session.make()
    one = session.wait(PATIENCE).sheet
    session.choose(prompt="a boy, snow")
    session.make()
    other = session.wait(PATIENCE).sheet
    assert one and other and (one.folder.name, other.folder.name) == ("workbench-1", "workbench-2")
    assert [path.name for path in session.find_runs()] == ["workbench-2", "workbench-1"]


def test_a_tag_in_the_middle_can_be_left_out(session: Session) -> None:
    session.choose(kept=(PROMPT[2], PROMPT[0]))
    session.make()
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None
    (record,) = wb.open_run(sheet.folder).records.values()
    assert record.trial.prompt == f"{PROMPT[0]}, {PROMPT[2]}"


def test_a_picture_goes_between_two_pictures_of_a_sweep(
    session: Session, engine: TinyEngine
) -> None:
    engine.pause = 0.2
    sweep = session.make({"scale": [0, 0.25, 0.5, 0.75, 1], "seed": [1, 2, 3]})
    assert sweep is not None
    started(session, 2)
    session.choose(seed=99)
    picture = session.make()
    assert picture is not None and picture.ended.wait(PATIENCE)
    assert picture.state is TaskState.DONE and not sweep.ended.is_set()
    engine.pause = 0.0
    sheet = session.wait(PATIENCE).sheet
    assert sweep.state is TaskState.DONE and sheet is not None
    run = wb.open_run(sheet.folder)
    assert len(run.records) == 15 + 1
    assert {record.trial.seed for record in run.records.values()} == {1, 2, 3, 99}


def started(session: Session, pictures: int) -> None:
    end = time.monotonic() + PATIENCE
    while session.state.now.work.done < pictures and time.monotonic() < end:
        time.sleep(0.02)


def test_an_interrupted_sweep_goes_on_in_its_own_run(session: Session, engine: TinyEngine) -> None:
    engine.pause = 0.2
    sweep = session.make({"scale": [0, 0.5, 1], "seed": [1, 2]})
    started(session, 1)
    session.choose(prompt="a boy, snow")
    picture = session.make()
    assert sweep is not None and picture is not None and picture.ended.wait(PATIENCE)
    engine.pause = 0.0
    screen = session.wait(PATIENCE)
    assert sweep.state is TaskState.DONE and screen.sheet is not None
    assert screen.sheet.folder.name == "workbench-2", "the screen stays where the person is"
    counts = {path.name: len(wb.open_run(path).records) for path in session.find_runs()}
    assert counts == {"workbench-1": 6, "workbench-2": 1}


def test_a_picture_that_extends_the_run_of_a_sweep_stays_in_it(
    session: Session, engine: TinyEngine
) -> None:
    engine.pause = 0.2
    session.make({"seed": [1, 2]})
    session.wait(PATIENCE)
    session.choose(scale=0.5)
    session.make()
    session.wait(PATIENCE)
    complete = session.complete()
    session.choose(scale=0.25, seed=1)
    session.make()
    engine.pause = 0.0
    sheet = session.wait(PATIENCE).sheet
    assert complete is not None and complete.state is TaskState.DONE and sheet is not None
    run = wb.open_run(sheet.folder)
    assert run.study.scales == (0.25, 0.5, 1.0)
    assert {0.25, 0.5, 1.0} == set(run.table["scale"])


def test_stop_keeps_what_is_made_and_complete_goes_on(
    session: Session, engine: TinyEngine, tmp_path: Path
) -> None:
    engine.pause = 0.2
    sweep = session.make({"scale": [0, 0.5, 1], "source": ["paperdoll:1", "paperdoll:2"]})
    assert sweep is not None
    started(session, 1)
    waiting = session.make({"seed": [4, 5]})
    session.stop()
    screen = session.wait(PATIENCE)
    assert waiting is not None and waiting.state is TaskState.CANCELLED
    assert sweep.state is TaskState.CANCELLED and screen.status.startswith("Stopped.")
    assert screen.sheet is not None
    made = len(wb.open_run(screen.sheet.folder).records)
    assert 1 <= made < 5
    engine.pause = 0.0
    session.complete()
    session.wait(PATIENCE)
    run = wb.open_run(screen.sheet.folder)
    assert run.status.sentence == "" and len(run.records) == 5
    whole = wb.run(run.study, tmp_path / "whole", manager=engine.manager)
    pd.testing.assert_frame_equal(table(run), table(whole))


def test_where_pictures_are_kept_is_told_of_their_own_run(
    session: Session, engine: TinyEngine
) -> None:
    """Whatever is on the screen by the time they are made."""
    engine.pause = 0.2
    for end, told in (
        (session.stop, "Stopped. What is made is kept in"),
        (int, "Done. It is kept"),
    ):
        session.make({"scale": [0, 0.5, 1], "seed": [1, 2]})
        started(session, 1)
        sheet = session.state.now.sheet
        session.new_run()
        end()
        assert sheet is not None
        status = session.wait(PATIENCE).status
        assert status.startswith(told) and str(sheet.folder) in status


def test_an_empty_place_of_the_sheet_is_made(session: Session) -> None:
    session.make()
    session.choose(scale=0.5, seed=2)
    session.make()
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None and sheet.plan is not None
    there = wb.open_run(sheet.folder).records
    missing = [trial.id for trial in sheet.plan.trials if trial.id not in there]
    assert len(missing) == 2
    session.make_trial(missing[0])
    assert session.wait(PATIENCE).sheet is not None
    assert set(wb.open_run(sheet.folder).records) == {*there, missing[0]}
    assert session.make_trial("nobody") is None


def test_the_price_counts_what_is_there(session: Session) -> None:
    session.make()
    session.wait(PATIENCE)
    session.ask_price({"scale": [0, 0.5, 1], "seed": [1, 2]})
    assert session.wait(PATIENCE).price.startswith("6 pictures, 1 of them there already")
    session.ask_price({"length": [9]})
    assert session.wait(PATIENCE).price == (
        "This sweep cannot be made: lengths: 9 is longer than the prompt; allowed is 0 to 3."
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"kept": ("a cat",)},
        {"source": "paperdoll:99"},
        {"control": "smell"},
        {"base": "oil"},
        {"scale": 50},
        {"scale": math.nan},
        {"scale": "x"},
        {"seed": 1.5},
        {"seed": -1},
        {"steps": 0},
        {"guidance_scale": 0.5},
        {"control_start": 1.0},
        {"control_end": 1.5},
        {"control_start": 0.5, "control_end": 0.5},
        {"scheduler": "dice"},
        {"prompt": " , "},
        {"settings": {"low": 300, "high": 100}},
        {"settings": {"colour": 1}},
    ],
)
def test_what_cannot_be_chosen_is_refused_and_the_choice_stays(
    session: Session, wrong: dict[str, Any]
) -> None:
    before = session.state.now.choice
    with pytest.raises(ValueError):
        session.choose(**wrong)
    assert session.state.now.choice == before


def test_a_refusal_is_a_sentence_that_names_the_setting(session: Session) -> None:
    for wrong, told in (
        ({"settings": {"low": 300, "high": 100}}, "high: must not lie below low (300)"),
        ({"settings": {"colour": 1}}, "colour: unknown key (did you mean "),
        ({"settings": "{"}, 'settings are names and values such as {"low": 50}, not {'),
        ({"settings": "[1]"}, 'settings are names and values such as {"low": 50}, not [1]'),
        ({"more": {"dtype": "float8"}}, "dtype: 'float8' is not known (did you mean "),
        ({"scale": 99}, "scale must be a number from 0 to 10, not 99"),
    ):
        with pytest.raises(ValueError) as error:
            session.choose(**wrong)
        assert str(error.value).startswith(told) and "\n" not in str(error.value)


def test_another_control_type_forgets_the_settings(session: Session) -> None:
    session.choose(settings={"low": 50})
    assert '"low":50.0' in session.state.now.choice.settings
    study = session.engine.study(session.state.now.choice)
    assert study.controls[0].settings["low"] == 50  # type: ignore[union-attr]
    session.choose(settings={"low": 100.0})
    assert session.state.now.choice.settings == "", "the usual value is no setting of its own"


def test_only_the_newest_map_is_shown(session: Session) -> None:
    seen: list[Any] = []
    session.state.observe(
        lambda names: seen.append(session.state.now.preview) if "preview" in names else None
    )
    for source in ("paperdoll:2", "paperdoll:1", "paperdoll:2"):
        session.choose(source=source)
    screen = session.wait(PATIENCE)
    expected = session.engine.preview(screen.choice)
    assert screen.preview is not None
    assert np.array_equal(screen.preview.source, expected.source)


def test_a_failure_is_a_sentence_and_work_goes_on(session: Session, engine: TinyEngine) -> None:
    engine.fail_with = RuntimeError("out of memory")
    session.make()
    assert session.wait(PATIENCE).status == "That failed: out of memory"
    engine.fail_with = None
    session.make()
    assert session.wait(PATIENCE).status.startswith("Done.")


@pytest.mark.parametrize("when", ["before the models", "in the middle of loading"])
def test_a_job_that_makes_nothing_leaves_no_folder(
    session: Session, engine: TinyEngine, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if when == "before the models":
        engine.fail_with = RuntimeError("out of memory")
    else:
        monkeypatch.setattr("workbench.families.manager.ModelManager.pipeline", _out_of_memory)
    session.make()
    screen = session.wait(PATIENCE)
    assert "out of memory" in screen.status
    assert list(session.shelf.root.iterdir()) == [] and screen.sheet is None
    engine.fail_with = None
    monkeypatch.undo()
    session.make()
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None and len(wb.open_run(sheet.folder).records) == 1


def _out_of_memory(*_: object) -> None:
    raise RuntimeError("out of memory")


def test_a_job_that_fails_leaves_what_others_made_or_wait_to_make(
    session: Session, engine: TinyEngine
) -> None:
    session.make()
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None
    engine.fail_with = RuntimeError("out of memory")
    session.make({"seed": [2, 3]})
    session.wait(PATIENCE)
    assert len(wb.open_run(sheet.folder).records) == 1
    session.new_run()
    engine.gate.clear()
    session.make({"seed": [1]})
    second = session.make({"seed": [2]})
    while engine.made[-1:] != [1] or second is None:
        time.sleep(0.01)
    engine.gate.set()
    session.wait(PATIENCE)
    assert second.state is TaskState.FAILED
    assert {path.name for path in session.shelf.root.iterdir()} == {sheet.folder.name}


def test_missing_models_are_said_and_nothing_is_queued(models: Path, tmp_path: Path) -> None:
    empty = tmp_path / "nothing"
    empty.mkdir()
    session = Session(TinyEngine(empty, tmp_path / "engine"), runs=tmp_path / "runs")
    assert session.make() is None
    assert session.state.now.status.startswith("No pictures can be made yet: ")
    assert not (tmp_path / "runs").exists()
    session.close()


def test_a_folder_that_another_process_works_on_is_a_sentence(session: Session) -> None:
    session.make()
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None
    with RunFolder.open(sheet.folder).claim():
        session.choose(seed=5)
        session.make()
        assert "another process is working" in session.wait(PATIENCE).status


def test_an_own_picture_is_kept_beside_the_runs(session: Session, tmp_path: Path) -> None:
    picture = np.tile(np.linspace(0, 255, 96, dtype=np.uint8)[:, None, None], (1, 64, 3))
    choice = session.upload("my picture!.png", encode_png(picture))
    assert Path(choice.source).parent == (tmp_path / "runs" / "sources").resolve()
    assert choice.source in session.state.now.offer.sources
    screen = session.wait(PATIENCE)
    assert screen.preview is not None and "has seen nothing but" in screen.preview_status
    session.make()
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None
    assert list(wb.open_run(sheet.folder).sources) == [choice.source]
    assert session.find_runs() == (sheet.folder,), "the folder of sources is no run"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", b"text", "not one of"),
        ("a.png", b"text", "a.png"),
        ("big.png", b"x" * (32 * 2**20 + 1), "larger than 32 MB"),
    ],
)
def test_an_upload_that_is_no_picture_is_refused(
    session: Session, tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    before = session.state.now
    with pytest.raises(ValueError, match=said):
        session.upload(name, data)
    assert session.state.now.choice == before.choice and session.state.now.offer == before.offer
    assert not (tmp_path / "runs").exists()


def test_a_run_is_opened_without_a_model_and_gone_on_with(
    session: Session, engine: TinyEngine, models: Path, tmp_path: Path
) -> None:
    session.choose(
        prompt="a boy, snow, rain", steps=3, seed=9, control_start=0.25, control_end=0.75
    )
    session.make({"scale": [0.5, 1.5]})
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None
    later = Session(TinyEngine(models, tmp_path / "later"), runs=tmp_path / "runs")
    later.open(later.state.now.runs[0])
    screen = later.wait(PATIENCE)
    assert "models" not in later.engine.__dict__
    choice = screen.choice
    assert choice.prompt == ("a boy", "snow", "rain")
    assert (choice.steps, choice.seed) == (3, 9)
    assert (choice.control_start, choice.control_end) == (0.25, 0.75)
    later.choose(scale=0.5, seed=10)
    later.make()
    done = later.wait(PATIENCE)
    assert done.sheet is not None and done.sheet.folder == sheet.folder
    assert len(wb.open_run(sheet.folder).records) == 3
    later.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"family": "sd15", "base": ("v1-5",)},
        {"family": "sd15", "base": ("one that is gone",)},
        {"unit": "words"},
        {"negative_prompt": "(rain:1.3)"},
    ],
)
def test_a_run_of_what_cannot_be_chosen_can_be_looked_at_only(
    session: Session, tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    study = session.engine.study(session.state.now.choice)
    other = study.model_copy(update=changes)
    (folder / "study.yaml").write_text(other.to_yaml())
    session.open(folder)
    screen = session.wait(PATIENCE)
    assert screen.sheet is not None and screen.sheet.plan is None
    assert "not gone on with" in screen.status and session.complete() is None
    session.make()
    after = session.wait(PATIENCE).sheet
    assert after is not None and after.folder != folder, "the picture begins a run of its own"
    session.open(tmp_path / "nowhere")
    assert "cannot be opened" in session.wait(PATIENCE).status


def test_the_python_lines_make_the_same_pictures(session: Session) -> None:
    session.choose(kept=PROMPT[:1], scale=0.5, settings={"low": 50}, negative_prompt="blue")
    session.choose(control_end=0.5)
    session.wait(PATIENCE)
    axes = {"scale": [0, 0.5], "seed": [1, 2]}
    names: dict[str, Any] = {}
    exec(session.code(axes).partition("run = ")[0], names)
    choice = session.state.now.choice
    plan = session.engine.plan(names["study"])
    assert {trial.id for trial in plan.trials} == set(session.engine.asked(choice, axes))


def test_a_run_is_renamed_duplicated_and_deleted_after_a_question(session: Session) -> None:
    session.make()
    first = session.wait(PATIENCE).sheet
    assert first is not None
    session.rename(" winter, one".replace(",", ""))
    screen = session.wait(PATIENCE)
    assert screen.sheet is not None and screen.sheet.folder.name == "winter one"
    assert not first.folder.exists() and screen.runs == (screen.sheet.folder,)
    session.choose(scale=0.5)
    session.make()
    named = session.wait(PATIENCE).sheet
    assert named is not None and len(wb.open_run(named.folder).records) == 2, "it goes on"
    session.duplicate()
    copy = session.wait(PATIENCE).sheet
    assert copy is not None and copy.folder.name == "winter one-copy-1"
    assert table(wb.open_run(copy.folder)).equals(table(wb.open_run(named.folder)))
    with pytest.raises(ValueError, match="ask first"):
        session.delete()
    session.ask_delete()
    assert session.wait(PATIENCE).doomed == (copy.folder, 2)
    session.delete()
    screen = session.wait(PATIENCE)
    assert screen.sheet is None and screen.doomed is None and screen.runs == (named.folder,)
    assert [path.name for path in named.folder.parent.iterdir()] == ["winter one"]


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "sources", "x" * 81, "end.", "<b>"])
def test_a_name_that_is_no_plain_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a run"):
        Shelf(tmp_path).rename(tmp_path / "run", name)


def test_a_run_at_work_or_elsewhere_stays_as_it_is(
    session: Session, engine: TinyEngine, tmp_path: Path
) -> None:
    session.make()
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None
    with RunFolder.open(sheet.folder).claim():
        session.rename("other")
        assert "another process is working" in session.wait(PATIENCE).status
    (sheet.folder.parent / "taken").mkdir()
    session.rename("taken")
    assert "take another name" in session.wait(PATIENCE).status
    with pytest.raises(ValueError, match="does not lie in"):
        Shelf(tmp_path).delete(sheet.folder)
    engine.gate.clear()
    session.make({"seed": [5]})
    for change in (session.duplicate, session.ask_delete, session.delete):
        with pytest.raises(ValueError, match="pictures are being made"):
            change()
    session.stop()
    assert session.wait(PATIENCE).sheet is not None and sheet.folder.is_dir()


def test_a_run_is_taken_away_beside_its_folder(session: Session) -> None:
    with pytest.raises(ValueError, match="no run on the screen"):
        session.take_away("csv")
    session.make()
    sheet = session.wait(PATIENCE).sheet
    assert sheet is not None
    taken = sheet.folder.with_name("workbench-1-taken")
    for form, written in (
        ("csv", "table.csv"),
        ("parquet", "table.parquet"),
        ("imagefolder", "pictures-1"),
        ("imagefolder", "pictures-2"),
    ):
        session.take_away(form)
        assert session.wait(PATIENCE).status == f"Written: {taken / written}"
    readings = wb.open_run(sheet.folder).table
    assert len(pd.read_csv(taken / "table.csv")) == len(readings)
    assert len(pd.read_parquet(taken / "table.parquet")) == len(readings)
    assert len(list((taken / "pictures-2").glob("*.png"))) == 1
    assert session.find_runs() == (sheet.folder,), "what was taken away is no run"
    with pytest.raises(ValueError, match="no form 'xls'"):
        session.take_away("xls")


def test_a_sweep_of_nothing_sensible_is_refused(session: Session) -> None:
    with pytest.raises(StudyError, match="scales"):
        session.make({"scale": [-1]})
    with pytest.raises(StudyError, match="lengths"):
        session.make({"length": [44]})


def test_closing_frees_the_models(models: Path, tmp_path: Path) -> None:
    session = Session(TinyEngine(models, tmp_path / "engine"), runs=tmp_path / "runs")
    session.make()
    session.wait(PATIENCE)
    manager = weakref.ref(session.engine.manager)  # type: ignore[attr-defined]
    session.close()
    gc.collect()
    assert manager() is None


def test_only_a_folder_in_which_nothing_is_kept_and_nobody_works_is_dropped(
    tmp_path: Path,
) -> None:
    shelf, run = Shelf(tmp_path), RunFolder.prepare(tmp_path / "run")
    with run.claim():
        assert not shelf.drop_empty(run.path) and (run.path / "trials").is_dir()
    note = run.path / "sources.json"
    note.write_text("{}")
    assert not shelf.drop_empty(run.path)
    assert note.exists() and (run.path / "trials").is_dir(), "it can be used again"
    note.unlink()
    (run.path / ".write.lock").touch()
    assert shelf.drop_empty(run.path) and not run.path.exists()
    assert shelf.drop_empty(run.path), "there is nothing to drop"
    other = RunFolder.prepare(tmp_path / "elsewhere" / "run").path
    assert not shelf.drop_empty(other) and other.exists()
