"""Protects against false runs that fit together: each forgery is made for real, and is found.

What is edited here is edited wherever a hash or a copy would give it away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from run_folders import keep_table
from tiny_run import TinyManager, make_study

from workbench.explorer import RunPictures
from workbench.images import encode_png, read_image, read_png
from workbench.measuring.across import FAILED, LOOKS
from workbench.store import RunFolder, StoreError
from workbench.store.pngtext import PARAMETERS, STUDY, WORKBENCH
from workbench.store.schema import decode_record
from workbench.store.table import encode_table
from workbench.study import make_plan
from workbench.sweep import run_study
from workbench.verify import Verification

Verify = Callable[..., Verification]
SOURCES = ["paperdoll:900001", "paperdoll:900002"]


def details(result: Verification, group: str, outcome: str = "different") -> list[str]:
    found = result.group(group)
    assert found is not None
    return [f"{item.name}: {item.detail}" for item in found.items if item.outcome == outcome]


def outcomes(result: Verification) -> dict[str, str]:
    return {group.name: group.outcome for group in result.groups if group.outcome != "identical"}


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), "utf-8")


def edit_record(run: RunFolder, name: str, change: Callable[[Any], None]) -> None:
    """Edit a record, and build the table to fit."""
    edit_json(run.trial_folder(name) / "record.json", change)
    keep_table(run)


def test_doubled_readings_in_the_table_are_found(run: RunFolder, verify: Verify) -> None:
    """The false ones stand first: whoever looks up a reading finds the true one."""
    table = run.measurements()
    false = table[table["metric"] == "canny_f1"].assign(value=0.99, adherence=0.99)
    run.table_path.write_bytes(encode_table(pd.concat([false, table], ignore_index=True)))
    result = verify(run)
    assert outcomes(result) == {"table": "different"}
    lines = details(result, "table")
    assert len(lines) == len(false) == 16
    assert all("canny_f1" in line and "the table has it 2 times" in line for line in lines)


def test_doubled_readings_in_record_and_table_are_found(run: RunFolder, verify: Verify) -> None:
    name = run.trial_ids()[0]

    def double(values: Any) -> None:
        false = [{**row, "value": 0.99} for row in values["rows"] if row["metric"] == "canny_f1"]
        values["rows"] = false + values["rows"]

    edit_record(run, name, double)
    result = verify(run)
    assert result.exit_code == 1
    (line,) = details(result, "pictures")
    assert name in line and "canny_f1" in line and "twice" in line


def test_nobody_can_write_or_read_a_doubled_reading(run: RunFolder) -> None:
    name = run.trial_ids()[0]
    row = dict(run.read_record(name).rows[0])
    with pytest.raises(StoreError, match="twice"):
        run.add_rows(name, [row, {**row, "value": 0.5}])
    path = run.trial_folder(name) / "record.json"
    edit_json(path, lambda values: values["rows"].append(row))
    with pytest.raises(StoreError, match=r"damaged .*twice"):
        decode_record(path.read_bytes())


def as_failed(run: RunFolder, name: str) -> None:
    """Rewrite a good trial as one that gave no picture, its readings included."""
    run.sample_path(name).unlink()

    def change(values: Any) -> None:
        values.update(failed="it is black", sample_sha256="", file_sha256="", extra={})
        for row in values["rows"]:
            across = row["metric"].startswith("diversity")
            row.update(value=None, adherence=None)
            row["reason"] = FAILED if across else "the sample failed: it is black"

    edit_record(run, name, change)


def test_a_good_picture_put_on_record_as_failed_is_found(run: RunFolder, verify: Verify) -> None:
    name = run.trial_ids()[0]
    as_failed(run, name)
    result = verify(run, trials=12)
    (line,) = details(result, "trials")
    assert line == f"trial {name}: it was recorded as failed, but can be made"
    group = result.group("trials")
    assert group is not None and "1 failed" in group.note and len(group.items) == 12


def test_a_trial_that_failed_by_an_error_is_not_passed_over(run: RunFolder, verify: Verify) -> None:
    name = run.trial_ids()[0]
    as_failed(run, name)
    edit_record(run, name, lambda values: values["made_by"].update(retry=True))
    result = verify(run, trials=0)
    (line,) = details(result, "trials", "not checked")
    assert line.startswith(f"trial {name}: it is black; it failed by an error")


def test_a_kept_control_map_that_is_not_the_sources_is_found(
    run: RunFolder, verify: Verify
) -> None:
    first, second = sorted((run.path / "maps").glob("*.png"))
    image = read_image(first)
    first.write_bytes(encode_png(255 - image))
    second.unlink()
    result = verify(run)
    assert outcomes(result) == {"maps": "different"}
    (line,) = details(result, "maps")
    assert line.startswith("canny of paperdoll:90000") and "the kept map was edited" in line
    assert len(details(result, "maps", "not checked")) == 1


@pytest.mark.parametrize("kept", [0, 1])
def test_weights_taken_out_of_the_manifest_are_missed(
    run: RunFolder, verify: Verify, kept: int
) -> None:
    """Those of the base model: all of them, or all but one."""

    def take_out(values: Any) -> None:
        hashes = values["weight_hashes"]
        for name in [name for name in hashes if name.startswith("tiny/base/")][kept:]:
            del hashes[name]

    before = run.read_json("manifest.json")["weight_hashes"]
    edit_json(run.path / "manifest.json", take_out)
    lost = before.keys() - run.read_json("manifest.json")["weight_hashes"].keys()
    result = verify(run)
    assert outcomes(result) == {"weights": "not checked"} and result.exit_code == 2
    told = details(result, "weights", "not checked")
    assert {line.partition(":")[0] for line in told} == lost != set()
    assert all("does not say which" in line for line in told)


def test_a_manifest_without_any_weights_cannot_be_vouched_for(
    run: RunFolder, verify: Verify
) -> None:
    files = run.read_json("manifest.json")["weight_hashes"]
    weights = [name for name in files if name.endswith(".safetensors")]
    edit_json(run.path / "manifest.json", lambda values: values.update(weight_hashes={}))
    assert len(details(verify(run), "weights", "not checked")) == len(weights) == 5


def test_an_edited_reason_is_found(run: RunFolder, verify: Verify) -> None:
    name = run.trial_ids()[0]

    def change(values: Any) -> None:
        row = next(row for row in values["rows"] if row["metric"] == LOOKS)
        row["reason"] = "the judge was not there"

    edit_record(run, name, change)
    result = verify(run)
    assert outcomes(result) == {"readings": "different"}
    (line,) = details(result, "readings")
    assert name in line and f"the reason of {LOOKS} is “the judge was not there”" in line


@pytest.mark.parametrize("step", [1e-4, None])
def test_an_adherence_that_its_own_figures_do_not_give_is_found(
    run: RunFolder, verify: Verify, step: float | None
) -> None:
    """However little it is moved; also where it is taken away."""
    name = next(
        record.trial.id
        for record in run.records()
        if any(row.get("adherence") is not None for row in record.rows)
    )

    def change(values: Any) -> None:
        row = next(row for row in values["rows"] if row["adherence"] is not None)
        row["adherence"] = None if step is None else row["adherence"] + step

    edit_record(run, name, change)
    result = verify(run)
    assert outcomes(result) == {"readings": "different"}
    (line,) = details(result, "readings")
    assert name in line and "its value, chance and ceiling give" in line


def rewrite_text(run: RunFolder, name: str, change: Callable[[dict[str, str]], object]) -> None:
    """Other text in a picture, its pixels as they were and its hash renewed."""
    path = run.sample_path(name)
    image, text = read_png(path)
    change(text)
    path.write_bytes(encode_png(image, text))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_record(run, name, lambda values: values.update(file_sha256=digest))


@pytest.mark.parametrize(
    ("chunk", "what"),
    [
        (WORKBENCH, "trial"),
        (STUDY, "study"),
        (PARAMETERS, "line of settings"),
        ("Comment", "text"),
    ],
)
def test_text_replaced_in_a_picture_is_found(
    run: RunFolder, verify: Verify, chunk: str, what: str
) -> None:
    one, other = run.trial_ids()[:2]
    text = read_png(run.sample_path(other))[1].get(chunk, "made with something else")
    rewrite_text(run, one, lambda own: own.update({chunk: text}))
    result = verify(run)
    assert outcomes(result) == {"pictures": "different"}
    (line,) = details(result, "pictures")
    assert line == f"trial {one}: its text was edited: the {what} in it is not its own"


def test_a_picture_without_its_text_is_none_the_worse(run: RunFolder, verify: Verify) -> None:
    one, other = run.trial_ids()[:2]
    rewrite_text(run, one, lambda own: own.pop(STUDY))
    rewrite_text(run, other, lambda own: own.clear())
    assert outcomes(verify(run)) == {}


def test_text_of_an_earlier_form_of_the_study_is_no_forgery(
    manager: TinyManager, tmp_path: Path, verify: Verify
) -> None:
    """A text-only picture, and one of a shorter prompt, carry the study of a cell that is gone."""
    run_study(make_study(), tmp_path / "run", manager=manager)
    changed = make_study(prompt="a girl, snow, red coat", lengths=[1, 2], sources=SOURCES[1:])
    run = run_study(changed, tmp_path / "run", manager=manager)
    assert details(verify(run), "pictures") == []
    now = make_plan(changed, resolution=64).trials
    name, other = (next(t.id for t in now if t.control and t.seed == seed) for seed in (1, 2))
    text = read_png(run.sample_path(other))[1]
    rewrite_text(run, name, lambda own: own.update({STUDY: text[STUDY]}))
    assert "the study in it is not its own" in " ".join(details(verify(run), "pictures"))


def test_a_source_that_no_study_had_is_found_and_hides_no_other(
    run: RunFolder, verify: Verify, tmp_path: Path
) -> None:
    entry = {"file": "0123456789abcdef.png", "sha256": "0" * 64, "tags": []}
    edit_json(run.path / "sources.json", lambda values: values.update(foreign=entry))
    result = verify(run)
    (line,) = details(result, "sources")
    assert line.startswith("foreign: ") and "no study of this run has such a source" in line
    assert list(RunPictures(run, run.measurements()).sources) == SOURCES


def test_a_source_of_an_earlier_study_is_no_forgery(
    manager: TinyManager, run: RunFolder, verify: Verify
) -> None:
    run_study(make_study(sources=SOURCES[:1]), run.path, manager=manager)
    result = verify(run)
    found = result.group("sources")
    assert found is not None and [item.outcome for item in found.items] == ["identical"] * 2
