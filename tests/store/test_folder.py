"""Protects the run folder: what is written comes back, what is broken counts as absent, and
several processes may write at once."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_folders import begin_run, keep_table

from workbench.images import encode_png, read_image, read_png, sha256_image
from workbench.store import RunFolder, StoreError
from workbench.study import Cell, Choices, Plan, Study, Trial, make_plan
from workbench.sweep.steps import Work, work_left

Image = Callable[[Trial], np.ndarray]
Readings = Callable[[Cell], list[dict[str, Any]]]
Fill = Callable[..., None]


def work(run: RunFolder, plan: Plan) -> Work:
    """What is left to do, where one reading counts as all of a cell."""

    def unmeasured(trial_id: str, rows: Sequence[Mapping[str, Any]]) -> tuple[Cell, ...]:
        have = {row["cell"] for row in rows}
        return tuple(cell for cell in plan.cells_by_trial[trial_id] if cell.id not in have)

    return work_left(run.scan().records, plan, unmeasured)


def test_a_trial_comes_back(run: RunFolder, plan: Plan, image: Image, fill: Fill) -> None:
    trial = plan.trials[0]
    assert not run.has(trial.id)
    fill(run, (trial,))
    assert run.has(trial.id)
    record = run.read_record(trial.id)
    assert record.trial == trial and record.made_by["batch_size"] == 4
    assert set(record.cells) == {cell.id for cell in plan.cells_by_trial[trial.id]}
    assert record.sample_sha256 == sha256_image(image(trial))
    np.testing.assert_array_equal(run.read_sample(trial.id), image(trial))
    files = {p.name for p in run.trial_folder(trial.id).iterdir()}
    assert files == {"sample.png", "record.json"}


def test_the_record_is_strict_json_with_the_agreed_keys(
    run: RunFolder, plan: Plan, fill: Fill
) -> None:
    fill(run, plan.trials[:1])

    def no_constants(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    text = (run.trial_folder(plan.trials[0].id) / "record.json").read_text(encoding="utf-8")
    raw = json.loads(text, parse_constant=no_constants)
    assert raw["schema"] == 1
    assert {"trial", "made_by", "sample_sha256", "failed", "rows"} <= set(raw)
    assert raw["rows"][1]["value"] is None
    assert raw["rows"][1]["reason"] == "the prompt is empty"


@pytest.mark.parametrize("chunks", [(), ("workbench",), ("parameters",), None])
def test_text_chunks_can_be_left_out(
    tmp_path: Path, plan: Plan, image: Image, chunks: tuple[str, ...] | None
) -> None:
    options = {} if chunks is None else {"chunks": chunks}
    run = RunFolder(tmp_path / "r", **options)
    trial = plan.trials[-1]
    run.write_trial(trial, image(trial), {}, [])
    text = read_png(run.sample_path(trial.id))[1]
    assert set(text) == set(("workbench", "parameters") if chunks is None else chunks)
    if "workbench" in text:
        assert Trial.from_dict(json.loads(text["workbench"])) == trial


def test_a_failed_trial_has_a_reason_and_no_picture(run: RunFolder, plan: Plan) -> None:
    trial = plan.trials[0]
    run.write_trial(trial, None, {"device": "cpu"}, [], failed="the picture is a single colour")
    assert run.has(trial.id)
    assert run.read_record(trial.id).failed == "the picture is a single colour"
    assert not run.sample_path(trial.id).exists()
    with pytest.raises(StoreError, match="single colour"):
        run.read_sample(trial.id)
    assert trial.id not in work(run, plan).trials


def test_picture_and_failure_exclude_each_other(run: RunFolder, plan: Plan, image: Image) -> None:
    trial = plan.trials[0]
    with pytest.raises(StoreError):
        run.write_trial(trial, None, {}, [])
    with pytest.raises(StoreError):
        run.write_trial(trial, image(trial), {}, [], failed="bad")
    assert run.trial_ids() == ()


@pytest.mark.parametrize("row", [{"metric": "a"}, {"cell": "c"}, {"cell": "c", "metric": "a",
                                                                 "trial": "another"}])  # fmt: skip
def test_a_reading_without_its_place_is_refused(
    run: RunFolder, plan: Plan, image: Image, row: dict[str, str]
) -> None:
    with pytest.raises(StoreError):
        run.write_trial(plan.trials[0], image(plan.trials[0]), {}, [row])
    assert not run.has(plan.trials[0].id)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


DAMAGE: dict[str, Callable[[Path], None]] = {
    "no record": lambda folder: (folder / "record.json").unlink(),
    "no sample": lambda folder: (folder / "sample.png").unlink(),
    "cut record": lambda folder: _cut(folder / "record.json"),
    "cut sample": lambda folder: _cut(folder / "sample.png"),
    "empty record": lambda folder: (folder / "record.json").write_bytes(b""),
    "record is a list": lambda folder: (folder / "record.json").write_bytes(b"[]"),
    "record of another kind": lambda folder: (folder / "record.json").write_bytes(b'{"x":9}'),
    "another picture": lambda folder: (folder / "sample.png").write_bytes(
        encode_png(np.zeros((4, 4, 3), np.uint8))
    ),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_half_a_trial_is_absent_with_a_message(
    run: RunFolder, plan: Plan, fill: Fill, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    fill(run)
    before = keep_table(run)
    broken = plan.trials[1]
    DAMAGE[how](run.trial_folder(broken.id))
    with caplog.at_level(logging.WARNING):
        assert not run.has(broken.id)
    assert broken.id in caplog.text and "absent" in caplog.text
    with pytest.raises(StoreError, match=broken.id):
        run.read_record(broken.id)
    assert work(run, plan).trials == (broken.id,)
    assert set(keep_table(run)["trial"]) == {t.id for t in plan.trials} - {broken.id}
    fill(run, (broken,))
    pd.testing.assert_frame_equal(keep_table(run), before)


def test_a_record_in_the_wrong_folder_is_absent(run: RunFolder, plan: Plan, fill: Fill) -> None:
    fill(run, plan.trials[:1])
    run.trial_folder(plan.trials[0].id).rename(run.trial_folder(plan.trials[1].id))
    assert not run.has(plan.trials[1].id)


@pytest.mark.parametrize("stop_at", [1, 2])
def test_a_crash_while_a_trial_is_committed(
    run: RunFolder, plan: Plan, fill: Fill, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """The first replace puts the sample in place, the second the record."""
    trial = plan.trials[0]
    count = 0
    replace = os.replace

    def crash(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == stop_at:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            fill(run, (trial,))
    assert not run.has(trial.id)
    assert trial.id in work(run, plan).trials
    fill(run, (trial,))
    assert run.has(trial.id)


def test_a_crash_while_a_trial_is_replaced_never_mixes_two(
    run: RunFolder, plan: Plan, fill: Fill, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = plan.trials[0]
    fill(run, (trial,))
    replace = os.replace

    def crash(source: Path, target: Path) -> None:
        if Path(target).name == "record.json":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        run.write_trial(trial, 255 - image(trial), {}, [])
    assert not run.has(trial.id)


def test_a_larger_study_asks_only_for_what_is_new(
    run: RunFolder, plan: Plan, fill: Fill, study: Callable[..., Study], choices: Choices,
    readings: Readings,
) -> None:  # fmt: skip
    fill(run)
    assert work(run, plan) == Work()
    more_scales = make_plan(study(scales=[0, 0.5, 1]), resolution=16, choices=choices)
    left = work(run, more_scales)
    assert {more_scales.trials_by_id[trial].scale for trial in left.trials} == {0.5} and len(
        left.trials
    ) == 4
    assert left.unmeasured == {}

    more_sources = make_plan(
        study(sources=["paperdoll:1", "paperdoll:2"], scales=[0]), resolution=16, choices=choices
    )
    left = work(run, more_sources)
    assert left.trials == ()  # text-only pictures are shared
    wanted = {cell for missing in left.unmeasured.values() for cell in missing}
    cells = [cell for cell in more_sources.cells if cell.id in wanted]
    assert {cell.source for cell in cells} == {"paperdoll:2"} and len(cells) == 4
    for cell in cells:
        run.add_rows(cell.trial_id, readings(cell), cells=[cell])
    assert work(run, more_sources) == Work()
    frame = keep_table(run)
    assert set(frame["source"]) == {"paperdoll:1", "paperdoll:2"}
    assert len(frame) == 2 * (len(plan.cells) + 4)


def test_added_readings_replace_the_same_metric_only(
    run: RunFolder, plan: Plan, fill: Fill
) -> None:
    fill(run)
    cell = plan.cells[0]
    count = len(keep_table(run))
    run.add_rows(cell.trial_id, [{"cell": cell.id, "metric": "canny_f1", "value": 0.25}])
    run.add_rows(cell.trial_id, [{"cell": cell.id, "metric": "diversity_looks", "value": 0.5}],
                 extra={"embedding": "AAAA"})  # fmt: skip
    frame = keep_table(run)
    assert len(frame) == count + 1
    mine = frame[frame["cell"] == cell.id].set_index("metric")
    assert mine.loc["canny_f1", "value"] == 0.25 and mine.loc["diversity_looks", "value"] == 0.5
    assert mine.loc["diversity_looks", "source"] == "paperdoll:1"
    assert run.read_record(cell.trial_id).extra == {"embedding": "AAAA"}


@pytest.mark.parametrize("name", ["../../etc", "ABCDEF0123456789", "", "0" * 15, "0" * 16 + "/.."])
def test_only_trial_ids_become_paths(run: RunFolder, name: str) -> None:
    with pytest.raises(StoreError, match="not the id"):
        run.has(name)


@pytest.mark.parametrize("name", ["../a.json", "a.txt", ".json", "a/b.json"])
def test_only_plain_names_become_json_files(run: RunFolder, name: str) -> None:
    with pytest.raises(StoreError):
        run.write_json(name, {})


def test_json_files_come_back_and_damage_is_reported(run: RunFolder) -> None:
    assert run.read_json("references.json") is None
    run.write_json("references.json", {"a": [np.float32(0.5), float("nan")], "b": np.arange(2)})
    assert run.read_json("references.json") == {"a": [0.5, None], "b": [0, 1]}
    (run.path / "references.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        run.read_json("references.json")


def test_the_study_in_the_run_can_be_run_again_without_the_files(
    tmp_path: Path, study: Callable[..., Study], choices: Choices
) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (40, 30, 3), np.uint8)
    file = tmp_path / "photos" / "a.png"
    file.parent.mkdir()
    file.write_bytes(encode_png(picture))
    mine = study(sources=["photos/a.png", "paperdoll:5"])
    plan = make_plan(mine, resolution=16, folder=tmp_path, choices=choices)
    run = begin_run(tmp_path / "run", mine)
    run.write_sources(plan.sources)
    file.unlink()
    again = RunFolder.open(tmp_path / "run").study(choices)
    assert again == mine
    assert make_plan(again, resolution=16, choices=choices).trials == plan.trials
    kept = run.read_sources()
    assert list(kept) == list(plan.sources)
    for label, source in plan.sources.items():
        np.testing.assert_array_equal(kept[label].image, source.image)
        assert (kept[label].sha256, kept[label].tags) == (source.sha256, source.tags)


def test_a_changed_source_picture_is_noticed(run: RunFolder, plan: Plan) -> None:
    run.write_sources(plan.sources)
    (file,) = (run.path / "sources").iterdir()
    file.write_bytes(encode_png(255 - read_image(file)))
    with pytest.raises(StoreError, match="changed"):
        run.read_sources()


def test_nothing_is_written_over_links_in_a_run(
    run: RunFolder, plan: Plan, fill: Callable[..., None], tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name, write in (
        ("trials", lambda: fill(run)),
        ("sources", lambda: run.write_sources(plan.sources)),
        ("maps", lambda: run.write_maps({plan.cells[0].map_key: np.zeros((8, 8, 3), np.uint8)})),
        (f"trials/{plan.trials[0].id}", lambda: fill(run)),
    ):
        path = run.path / name
        if path.is_dir():
            path.rmdir()
        path.symlink_to(elsewhere, target_is_directory=True)
        with pytest.raises(StoreError, match=f"{name} is a link"):
            write()
        path.unlink()
        if name == "trials":
            path.mkdir()
    assert not list(elsewhere.iterdir())


def test_a_run_may_itself_be_reached_over_a_link(
    run: RunFolder, fill: Callable[..., None], plan: Plan, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(run.path, target_is_directory=True)
    fill(RunFolder.open(tmp_path / "link"))
    assert len(run.trial_ids()) == len(plan.trials)


@pytest.mark.parametrize("harm", ["renamed", "removed", "replaced"])
def test_a_folder_that_is_gone_is_not_made_again(
    run: RunFolder, plan: Plan, fill: Callable[..., None], harm: str
) -> None:
    fill(run, plan.trials[:1])
    run.path.rename(run.path.with_name("moved"))
    if harm == "removed":
        shutil.rmtree(run.path.with_name("moved"))
    elif harm == "replaced":
        run.path.mkdir()
    with pytest.raises(StoreError, match="renamed, removed or replaced"):
        fill(run, plan.trials[1:])
    assert not run.path.exists() or not list(run.path.iterdir())


def test_a_folder_with_other_things_is_left_alone(
    tmp_path: Path, study: Callable[..., Study]
) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(StoreError, match="something else"):
        begin_run(tmp_path, study())
    with pytest.raises(StoreError, match="is a file"):
        begin_run(tmp_path / "thesis.txt", study())
    with pytest.raises(StoreError, match="not a run folder"):
        RunFolder.open(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_create_continues_a_run(run: RunFolder, plan: Plan, fill: Fill,
                                study: Callable[..., Study]) -> None:  # fmt: skip
    fill(run)
    again = begin_run(run.path, study(scales=[0, 0.5, 1]))
    assert work(again, plan).trials == ()
    assert "0.5" in again.study_path.read_text()


def test_only_one_coordinator_at_a_time(run: RunFolder) -> None:
    other = RunFolder.open(run.path)
    with run.claim(), pytest.raises(StoreError, match="another process"), other.claim():
        pass
    with other.claim():
        pass


@pytest.mark.parametrize("hashes", [False, True])
def test_a_trial_that_is_replaced_while_it_is_read_is_whole(
    hashes: bool, run: RunFolder, plan: Plan, fill: Fill, image: Callable[[Trial], np.ndarray],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Another process replaces both files after the reader has opened the record."""
    fill(run)
    trial = plan.trials[0]
    other, read = RunFolder.open(run.path), RunFolder._read_record
    grey = np.full_like(image(trial), 128)

    def replaced(self: RunFolder, trial_id: str, *more: Any) -> Any:
        found = read(self, trial_id, *more)
        if self is run and trial_id == trial.id and not written:
            written.append(other.write_trial(trial, grey, {"device": "another"}, []))
        return found

    monkeypatch.setattr(RunFolder, "_read_record", replaced)
    written: list[Any] = []
    found = run.scan(hashes=hashes).records[trial.id]
    assert found.file_sha256 == written[0].file_sha256
    written.clear()
    fill(other, (trial,))
    np.testing.assert_array_equal(run.read_sample(trial.id), grey)
    assert written and caplog.text == ""


def test_a_trial_whose_record_is_still_to_come_is_waited_for(
    run: RunFolder, plan: Plan, image: Callable[[Trial], np.ndarray],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """The writer stands between its two files until the reader asks for the lock."""
    trial, writer = plan.trials[0], RunFolder.open(run.path)
    half, asked = threading.Event(), threading.Event()
    write, acquire = writer._write, run._lock.acquire

    def slowly(path: Path, data: bytes) -> None:
        if path.name == "record.json":
            half.set()
            assert asked.wait(60), "the reader did not ask for the lock"
        write(path, data)

    def ask(*arguments: Any, **keywords: Any) -> Any:
        asked.set()
        return acquire(*arguments, **keywords)

    monkeypatch.setattr(writer, "_write", slowly)
    monkeypatch.setattr(run._lock, "acquire", ask)
    for device in ("new", "replaced"):
        half.clear()
        asked.clear()
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(writer.write_trial, trial, image(trial), {"device": device}, [])
            assert half.wait(60)
            try:
                assert run.has(trial.id) and caplog.text == ""
            finally:
                asked.set()
            assert run.read_record(trial.id).file_sha256 == work.result().file_sha256


def test_who_only_reads_takes_no_lock_where_all_is_well(
    run: RunFolder, plan: Plan, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(run)
    monkeypatch.setattr(run._lock, "acquire", lambda *_: pytest.fail("a reader took the lock"))
    assert len(run.scan(hashes=True).records) == len(plan.trials)
    run.read_sample(plan.trials[0].id)


WRITER = """
import sys
import threading
import numpy as np
from workbench.store import RunFolder
from workbench.study import Trial

folder, seed = sys.argv[1], int(sys.argv[2])
run = RunFolder(folder)
for k in range(12):
    trial = Trial("paperdoll", "render", None, "", None, f"tag {k}", "", 1, 20, 5.0, "unipc",
                  0.0, 0.0, 1.0, 16)
    # Two machines never give quite the same pixels: each writer has pictures of its own.
    image = np.random.default_rng(seed * 100 + k).integers(0, 256, (64, 64, 3), np.uint8)
    run.write_trial(trial, image, {"writer": seed}, [{"cell": f"c{k}", "metric": f"m{seed}"}])
    run.add_rows(trial.id, [{"cell": f"x{k}", "metric": f"m{seed}"}])
print("done")
"""


def test_processes_writing_the_same_trials_leave_whole_trials(run: RunFolder) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(run.path), str(seed)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2, 3)
    ]
    for writer in writers:
        out, err = writer.communicate(timeout=120)
        assert out.strip() == "done", err
        assert "absent" not in err, err
    scan = run.scan(hashes=True)
    assert len(scan.records) == 12 and scan.damaged == {}
    for trial_id, record in scan.records.items():
        assert record.sample_sha256 == sha256_image(run.read_sample(trial_id))
    left = list(run.path.rglob("*.tmp"))
    assert left == []
