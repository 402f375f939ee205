"""Protects verification: a run as it was made passes, and every tampering is named, with its cause.

Nobody should be able to change a number, a picture or the study of a run, by accident or on
purpose, without `workbench verify` saying so; and it must not change the run itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from run_folders import keep_table
from tiny_run import TinyManager, make_manager, make_study

from workbench.generation import CancelToken
from workbench.store import RunFolder, StoreError
from workbench.sweep import Progress, run_study
from workbench.verify import Verification
from workbench.verify.run import verify_run

Verify = Callable[..., Verification]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def details(result: Verification, group: str, outcome: str = "different") -> list[str]:
    found = result.group(group)
    assert found is not None
    return [f"{item.name}: {item.detail}" for item in found.items if item.outcome == outcome]


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), "utf-8")


def outcomes(result: Verification) -> dict[str, str]:
    return {group.name: group.outcome for group in result.groups if group.outcome != "identical"}


def test_a_run_as_it_was_made_is_identical_and_left_alone(run: RunFolder, verify: Verify) -> None:
    before = contents(run.path)
    reports: list[Progress] = []
    result = verify(run, trials=12, progress=reports.append)
    assert outcomes(result) == {} and result.exit_code == 0
    sizes = {group.name: len(group.items) for group in result.groups}
    assert sizes == {
        "study": 1, "weights": 17, "sources": 2, "pictures": 12, "cells": 16, "table": 256,
        "maps": 2, "readings": 12, "trials": 12,
    }  # fmt: skip
    assert contents(run.path) == before
    assert reports[-1].phase == "done" and reports[-1].done == reports[-1].total == 24
    assert any(report.seconds_left for report in reports[:-1])


def test_a_flipped_byte_in_a_picture_is_found(run: RunFolder, verify: Verify) -> None:
    name = run.trial_ids()[3]
    data = bytearray(run.sample_path(name).read_bytes())
    data[-40] ^= 1
    run.sample_path(name).write_bytes(bytes(data))
    result = verify(run, trials=12)
    assert result.exit_code == 1
    (line,) = details(result, "pictures")
    assert name in line and "its sample has changed" in line
    assert details(result, "readings", "not checked") != []


def test_a_picture_replaced_together_with_its_file_hash_is_found(
    run: RunFolder, verify: Verify
) -> None:
    """The hash of the pixels stands beside the hash of the file."""
    one, other = run.trial_ids()[:2]
    data = run.sample_path(other).read_bytes()
    run.sample_path(one).write_bytes(data)
    digest = run.read_record(other).file_sha256
    record = run.trial_folder(one) / "record.json"
    edit_json(record, lambda values: values.update(file_sha256=digest))
    (line,) = details(verify(run), "pictures")
    assert one in line and "its pixels have another hash" in line


def test_a_number_edited_in_a_record_is_found_twice(run: RunFolder, verify: Verify) -> None:
    """The table no longer fits the record, and the picture does not give the number."""
    name = run.trial_ids()[0]

    def change(values: Any) -> None:
        row = next(row for row in values["rows"] if row["metric"] == "clip_used")
        row["value"] += 5.0

    edit_json(run.trial_folder(name) / "record.json", change)
    result = verify(run)
    assert outcomes(result) == {"table": "different", "readings": "different"}
    (line,) = details(result, "readings")
    assert name in line and "value of clip_used" in line and "the record was edited" in line
    assert result.group("readings").largest == pytest.approx(0.05, rel=1e-3)
    (line,) = details(result, "table")
    assert "clip_used" in line and "in the table" in line


def test_a_number_edited_in_record_and_table_alike_is_found(run: RunFolder, verify: Verify) -> None:
    name = run.trial_ids()[0]

    def change(values: Any) -> None:
        row = next(row for row in values["rows"] if row["metric"] == "canny_f1")
        row["chance"] = 0.001

    edit_json(run.trial_folder(name) / "record.json", change)
    keep_table(run)
    assert outcomes(verify(run)) == {"readings": "different"}


def test_a_reading_taken_out_of_a_record_is_missed(run: RunFolder, verify: Verify) -> None:
    name = run.trial_ids()[0]
    edit_json(run.trial_folder(name) / "record.json", lambda values: values["rows"].pop(0))
    keep_table(run)
    (line,) = details(verify(run), "readings")
    assert "lacks canny_f1" in line


def test_a_reading_between_bases_in_a_study_of_one_is_found(run: RunFolder, verify: Verify) -> None:
    name = run.trial_ids()[0]

    def add(values: Any) -> None:
        row = next(row for row in values["rows"] if row["metric"] == "diversity_structure")
        values["rows"].append({**row, "metric": "bases_structure"})

    edit_json(run.trial_folder(name) / "record.json", add)
    keep_table(run)
    (line,) = details(verify(run), "readings")
    assert "has readings nobody asked for: bases_structure" in line


def test_an_edited_table_is_found(run: RunFolder, verify: Verify) -> None:
    path = run.path / "measurements.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("value")
    better = pc.add(table.column("value"), pa.scalar(0.25))
    pq.write_table(table.set_column(place, "value", better).slice(1), path)
    result = verify(run)
    assert outcomes(result) == {"table": "different"}
    lines = details(result, "table")
    assert any("value is" in line and "in the record" in line for line in lines)
    assert any("the table has not" in line for line in lines)


def test_scales_swapped_in_every_record_and_the_table_are_found(
    run: RunFolder, verify: Verify
) -> None:
    """Every number is right then, and is said of another scale."""

    def swap(values: Any) -> None:
        for facts in values["cells"].values():
            facts["scale"] = 1.0 - facts["scale"]

    for path in run.path.glob("trials/*/record.json"):
        edit_json(path, swap)
    keep_table(run)
    result = verify(run)
    assert outcomes(result) == {"cells": "different"}
    lines = details(result, "cells")
    assert len(lines) == 16
    assert any("scale is 1.0 in its record, 0.0 in the study" in line for line in lines)


def test_a_scale_that_a_reading_claims_itself_is_found(run: RunFolder, verify: Verify) -> None:
    name = run.trial_ids()[0]
    edit_json(
        run.trial_folder(name) / "record.json", lambda values: values["rows"][0].update(scale=7.0)
    )
    keep_table(run)
    (line,) = details(verify(run), "cells")
    assert name in line and "has a scale of its own" in line


def invent_source(run: RunFolder) -> str:
    """A source that nobody ran, in a record and in the table; the name of its cell."""
    made_up = "0123456789abcdef"

    def add(values: Any) -> None:
        cell, facts = next(iter(values["cells"].items()))
        values["cells"][made_up] = {**facts, "source": "a photo.png"}
        rows = [row for row in values["rows"] if row["cell"] == cell]
        values["rows"] += [{**row, "cell": made_up, "value": 0.99} for row in rows]

    edit_json(run.trial_folder(run.trial_ids()[0]) / "record.json", add)
    keep_table(run)
    return made_up


def test_an_invented_source_is_found(run: RunFolder, verify: Verify) -> None:
    made_up = invent_source(run)
    result = verify(run)
    assert outcomes(result) == {"cells": "different", "table": "different"}
    assert all(made_up in line for group in ("cells", "table") for line in details(result, group))
    assert "the study has no such cell" in details(result, "table")[0]


def test_cells_of_an_earlier_study_are_no_tampering_but_cannot_be_checked(
    run: RunFolder, verify: Verify
) -> None:
    """Where the run's own history has such a study."""
    invent_source(run)
    edit_json(
        run.path / "manifest.json",
        lambda values: values.update(earlier=[{**values, "study_hash": "of another study"}]),
    )
    result = verify(run)
    assert outcomes(result) == {"table": "not checked"}
    assert "earlier form" in details(result, "table", "not checked")[0]
    assert "1 more belong to an earlier form" in result.group("cells").note


@pytest.mark.parametrize(("name", "value"), [("tokens", 77), ("truncated", True)])
def test_edited_token_counts_are_found(
    run: RunFolder, verify: Verify, name: str, value: object
) -> None:
    trial = run.trial_ids()[0]
    record = run.trial_folder(trial) / "record.json"
    edit_json(record, lambda values: values["made_by"].update({name: value}))
    keep_table(run)
    result = verify(run)
    assert outcomes(result) == {"readings": "different"}
    (line,) = details(result, "readings")
    assert trial in line and "tokens and truncated are" in line and "counted again" in line


@pytest.mark.parametrize("data", [b"", b"PAR1 nonsense PAR1"])
def test_a_table_that_cannot_be_read_is_found(run: RunFolder, verify: Verify, data: bytes) -> None:
    (run.path / "measurements.parquet").write_bytes(data)
    assert outcomes(verify(run)) == {"table": "different"}


def test_an_edited_study_is_found(run: RunFolder, verify: Verify) -> None:
    text = run.study_path.read_text("utf-8")
    run.study_path.write_text(text.replace("guidance_scale: 5.0", "guidance_scale: 6.0"))
    result = verify(run)
    assert result.exit_code == 1
    (line,) = details(result, "study")
    assert "edited after the run" in line


def test_a_study_written_in_another_way_is_the_same_study(run: RunFolder, verify: Verify) -> None:
    text = run.study_path.read_text("utf-8")
    run.study_path.write_text("# a note\n" + text.replace("5.0", "5"))
    assert outcomes(verify(run)) == {}


def test_where_the_study_cannot_be_read_pictures_are_still_held_against_their_hashes(
    run: RunFolder, verify: Verify
) -> None:
    run.study_path.write_text("name: [")
    first, second = run.trial_ids()[:2]
    run.sample_path(first).write_bytes(run.sample_path(second).read_bytes())
    result = verify(run)
    assert result.exit_code == 1
    assert "cannot be read" in details(result, "study")[0]
    assert first in " ".join(details(result, "pictures"))


def test_which_trials_are_made_again_cannot_be_known_beforehand(
    run: RunFolder, verify: Verify
) -> None:
    run.study_path.write_text("name: [")  # it is quick so
    seeds = {verify(run).seed for _ in range(4)}
    assert len(seeds) > 1
    assert verify(run, seed=7).seed == 7


def test_a_changed_kept_source_is_found(run: RunFolder, verify: Verify) -> None:
    first, second = sorted((run.path / "sources").glob("*.png"))
    first.write_bytes(second.read_bytes())
    result = verify(run)
    assert outcomes(result) == {"sources": "different"}
    assert "the kept picture is not the one" in details(result, "sources")[0]


def test_other_weights_are_named_as_the_cause(
    run: RunFolder, models: Path, tmp_path: Path, verify: Verify
) -> None:
    other = tmp_path / "models"
    shutil.copytree(models, other)
    shutil.copy(other / "tiny/ink/unet/diffusion_pytorch_model.safetensors",
                other / "tiny/base/unet/diffusion_pytorch_model.safetensors")  # fmt: skip
    result = verify(run, trials=2, manager=make_manager(other))
    assert result.exit_code == 1
    assert outcomes(result) == {"weights": "different", "trials": "different"}
    assert "tiny/base/unet" in details(result, "weights")[0]
    for line in details(result, "trials"):
        assert "/255" in line and "the weights have changed (tiny/base/unet" in line


def test_missing_models_leave_pictures_unchecked(
    run: RunFolder, tmp_path: Path, verify: Verify
) -> None:
    result = verify(run, manager=make_manager(tmp_path))
    assert result.exit_code == 2
    assert {"weights", "maps", "readings", "trials"} == set(outcomes(result))


def test_a_removed_trial_is_missed(run: RunFolder, verify: Verify) -> None:
    shutil.rmtree(run.trial_folder(run.trial_ids()[5]))
    keep_table(run)
    result = verify(run)
    assert result.exit_code == 2
    assert "never made, or removed" in details(result, "pictures", "not checked")[0]


def test_a_run_without_manifest_cannot_be_vouched_for(run: RunFolder, verify: Verify) -> None:
    (run.path / "manifest.json").unlink()
    result = verify(run)
    assert result.exit_code == 2
    assert {"manifest", "study", "weights"} <= set(outcomes(result))


def replace_picture(run: RunFolder, manager: TinyManager, step: int, every: int = 1) -> str:
    """Commit a trial anew with pixels moved by `step`, its record fitting in every respect.

    every: one row of pixels in so many is moved.
    """
    from workbench.measuring import Measurer
    from workbench.study import make_plan

    plan = make_plan(make_study(), resolution=64)
    name = next(trial.id for trial in plan.trials if trial.control)
    record = run.read_record(name)
    image = run.read_sample(name).copy()
    image[::every] = np.clip(image[::every].astype(int) + step, 0, 255)
    (measured,) = Measurer(plan, manager).measure([(name, image)])
    kept = [row for row in record.rows if row["metric"].startswith("diversity")]
    rows = [*measured.rows, *kept]
    run.write_trial(record.trial, image, record.made_by, rows, cells=plan.cells_by_trial[name],
                    extra=measured.extra)  # fmt: skip
    return name


def test_a_rounding_is_within_tolerance(
    run: RunFolder, manager: TinyManager, verify: Verify
) -> None:
    name = replace_picture(run, manager, 1, every=16)
    result = verify(run, trials=12)
    (line,) = details(result, "trials", "within tolerance")
    assert name in line and "largest difference 1/255" in line
    assert result.group("trials").largest == 1


def test_a_picture_that_was_not_made_so_is_different(
    run: RunFolder, manager: TinyManager, verify: Verify
) -> None:
    name = replace_picture(run, manager, 30)
    result = verify(run, trials=12)
    (line,) = details(result, "trials")
    assert name in line and "picture and record were replaced" in line
    assert result.exit_code == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("a fault"), MemoryError()])
def test_a_picture_that_fails_when_made_again_is_different(
    run: RunFolder, verify: Verify, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*args: Any) -> np.ndarray:
        raise error

    monkeypatch.setattr("workbench.generation.sampler._run_pipeline", broken)
    result = verify(run, trials=1)
    (line,) = details(result, "trials")
    assert "it fails when made again" in line
    assert result.exit_code == 1


def test_the_seed_names_the_trials_that_are_made_again(run: RunFolder, verify: Verify) -> None:
    def chosen(seed: int) -> set[str]:
        group = verify(run, trials=3, seed=seed).group("trials")
        assert group is not None and len(group.items) == 3
        return {item.name for item in group.items}

    assert chosen(1) == chosen(1) != chosen(2)


def spoil_picture(monkeypatch: pytest.MonkeyPatch, trial: Any) -> None:
    """From now on this one trial comes out black, and fails."""
    from workbench.generation import sampler

    make_result = sampler._result

    def black(made: Any, *args: Any) -> Any:
        result = make_result(made, *args)
        failed = replace(result, image=None, failed_reason="it is black")
        return failed if made.id == trial.id else result

    monkeypatch.setattr(sampler, "_result", black)


def test_a_failed_trial_is_not_measured_and_must_fail_again(
    manager: TinyManager, run: RunFolder, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.measuring import Measurer
    from workbench.study import make_plan

    plan = make_plan(make_study(), resolution=64)
    name = plan.trials[0].id
    failed = Measurer(plan, manager).failed(name, "it is black")
    record = run.read_record(name)
    shutil.rmtree(run.trial_folder(name))
    run.write_trial(record.trial, None, {}, failed.rows, cells=failed.cells, failed="it is black")
    run_study(make_study(), run.path, manager=manager)
    result = verify(run, trials=12)
    assert outcomes(result) == {"trials": "different"}
    assert details(result, "trials") == [
        f"trial {name}: it was recorded as failed, but can be made"
    ]

    spoil_picture(monkeypatch, run.read_record(name).trial)
    result = verify(run, trials=12)
    trials = result.group("trials")
    assert outcomes(result) == {} and len(trials.items) == 12 and "1 failed" in trials.note


def test_a_cancel_gives_nothing(run: RunFolder, manager: TinyManager) -> None:
    cancel = CancelToken()

    def stop(progress: Progress) -> None:
        if progress.phase == "measuring again":
            cancel.cancel()

    assert verify_run(run.path, manager=manager, progress=stop, cancel=cancel) is None


def test_a_run_that_is_still_going_on_is_refused(run: RunFolder, manager: TinyManager) -> None:
    def meddle(progress: Progress) -> None:
        if progress.phase == "measuring again":
            (run.path / "sources.json").write_text("{}")

    with pytest.raises(StoreError, match="changed while it was verified"):
        verify_run(run.path, trials=0, manager=manager, progress=meddle)


def test_a_run_is_verified_on_its_own_device_where_there_is_one() -> None:
    """And on the CPU elsewhere, where models cannot wait beside a GPU."""
    from workbench.families import Runtime
    from workbench.study import Study
    from workbench.verify.run import _computed_on, _device

    assert _device({"device": "cpu"}) == _device({}) == "cpu"
    assert _device({"device": "cuda:77"}) == "cpu"
    study = Study(
        name="x",
        sources=["paperdoll:1"],
        controls=["canny"],
        prompt=["snow"],
        runtime=Runtime(offload="model", vae_tiling=True),
    )
    here = _computed_on(study, "cpu").runtime
    assert (here.offload, here.vae_tiling) == ("none", True)
    assert _computed_on(study, "cuda") is study


def test_a_swapped_tokenizer_is_named_as_the_cause_and_ends_a_continuation(
    run: RunFolder, models: Path, tmp_path: Path, verify: Verify
) -> None:
    other = tmp_path / "models"
    shutil.copytree(models, other)
    (path,) = (other / "tiny/base/tokenizer").glob("tokenizer.json")
    values = json.loads(path.read_text("utf-8"))
    vocabulary = values["model"]["vocab"]
    first, second = (key for key, number in vocabulary.items() if number in (3, 4))
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(values), "utf-8")
    swapped = make_manager(other)
    result = verify(run, trials=0, manager=swapped)
    (line,) = details(result, "weights")
    assert line.startswith("tiny/base/tokenizer/tokenizer.json: another file than")
    with pytest.raises(StoreError, match=r"other settings or tokenizers .*tokenizer\.json"):
        run_study(make_study(seeds=[5]), run.path, manager=swapped)


def test_a_manifest_of_weights_alone_is_that_of_an_older_version(
    run: RunFolder, verify: Verify
) -> None:
    path = run.path / "manifest.json"
    values = json.loads(path.read_text("utf-8"))
    hashes = values["weight_hashes"]
    assert {name.rpartition("/")[2] for name in hashes} >= {
        *("config.json", "scheduler_config.json", "tokenizer.json", "model_index.json")
    }
    values["weight_hashes"] = {k: v for k, v in hashes.items() if k.endswith(".safetensors")}
    path.write_text(json.dumps(values), "utf-8")
    assert "weights" not in outcomes(verify(run))
