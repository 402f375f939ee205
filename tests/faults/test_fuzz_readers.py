"""Protects what reads reports, pictures and run folders from files that are broken or hostile.

Over 400 seeded ones: each is read rightly, refused in a sentence that names the file, or (by
`workbench verify`) called different, within two seconds of processor time and 1 GiB of memory.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from run_folders import begin_run
from scripts import GIB, result_of
from tiny_run import TinyManager, make_study

from workbench.report import render_report, write_report
from workbench.store import Manifest, RunFolder, StoreError
from workbench.store.manifest import merge_manifests
from workbench.store.schema import decode_record
from workbench.study.jsontext import parse_json
from workbench.sweep import run_study
from workbench.verify.recover import RecoveryError, recover_study

COUNT = 420
SEED = 1


@pytest.fixture(scope="module")
def sound(manager: TinyManager, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of two pictures with its report. Not to be changed."""
    study = make_study(sources=["paperdoll:900001"], lengths=[2], seeds=[1])
    run = run_study(study, tmp_path_factory.mktemp("sound") / "run", manager=manager)
    write_report(run, run.path / "report.html")
    return run


@pytest.mark.slow
def test_malformed_reports_pictures_and_runs_are_read_rightly_or_refused(
    sound: RunFolder, models: Path, tmp_path: Path
) -> None:
    report = sound.path / "report.html"
    result = result_of("fuzz_readers.py", SEED, COUNT, tmp_path, sound.path, report, models)
    counts: dict[str, int] = result["counts"]
    assert result["faults"] == []
    assert result["cases"] == COUNT
    assert result["peak"] < GIB

    def seen(start: str, end: str) -> int:
        return sum(n for name, n in counts.items() if name.startswith(start) and name.endswith(end))

    # They really are of all kinds: sound ones are read, others are mostly refused.
    for what in ("report", "picture"):
        assert counts[f"{what} unharmed read"] > 8
        assert f"{what} unharmed refused" not in counts
        for kind in ("study", "truncated", "flipped"):
            assert seen(f"{what} {kind}", "refused") > seen(f"{what} {kind}", "read"), kind
    for kind in ("picture bomb", "picture chunk", "report base64", "report decompression_bomb"):
        assert seen(kind, "refused") > 0, kind
    assert seen("file", "refused") > COUNT // 40 // 2
    assert seen("run unharmed", "refused") == 0 < seen("run unharmed", "table read")
    for kind in ("json value", "json text", "displaced", "nonsense", "truncated", "study", "table"):
        assert seen(f"run {kind}", "") > 12, kind
    assert seen("run", "records read") > seen("run", "records refused")
    assert seen("run", "sources refused") > 8 and seen("run", "sample refused") > 8
    assert seen("run", "verify different") > seen("run", "verify identical") > 0
    assert seen("run", "verify refused") == 0
    assert seen("run", "report read") > 1


@pytest.fixture
def run(sound: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the sound run's study and manifest, without pictures."""
    copy = begin_run(tmp_path / "copy", sound.study())
    (copy.path / "manifest.json").write_bytes((sound.path / "manifest.json").read_bytes())
    return copy


def test_a_link_inside_of_the_run_is_followed_one_that_leads_out_is_not(run: RunFolder) -> None:
    manifest = run.path / "manifest.json"
    wanted = run.read_json("manifest.json")
    for target, allowed in ((run.path / "kept.json", True), (run.path.parent / "out.json", False)):
        os.replace(manifest, target)
        manifest.symlink_to(target)
        if allowed:
            assert run.read_json("manifest.json") == wanted
        else:
            with pytest.raises(StoreError, match=r"manifest\.json leads out of the run"):
                run.read_json("manifest.json")
            with pytest.raises(RecoveryError, match="leads out of the run"):
                recover_study(run.path)
        manifest.unlink()
        os.replace(target, manifest)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 51 + "]" * 51, "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ("[NaN]", "NaN is no value in JSON"),
        ("[-Infinity]", "Infinity is no value"),
        ('["\\ud800"]', "surrogates"),
        ("[" + "1," * 600_000 + "1]", "more than 500,000 values"),
        ("9" * 5_000, "limit"),
        ("\xff", "utf-8"),
    ],
)
def test_hostile_json_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_json(text.encode("latin-1"))
    assert parse_json(b'{"a": [1.5, "\\ud83d\\ude00", null]}') == {"a": [1.5, "\U0001f600", None]}


@pytest.mark.parametrize("folder", ["trials", "sources", "maps"])
def test_no_folder_leads_out_of_the_run(sound: RunFolder, tmp_path: Path, folder: str) -> None:
    run, away = RunFolder(shutil.copytree(sound.path, tmp_path / "run")), tmp_path / "away"
    os.replace(run.path / folder, away)
    (run.path / folder).symlink_to(away)
    file = next(path for path in sorted((run.path / folder).rglob("*")) if path.is_file())
    with pytest.raises(StoreError, match="leads out of the run"):
        run.contents(file)
    if folder == "sources":
        with pytest.raises(StoreError, match="leads out of the run"):
            run.read_sources()


@pytest.mark.parametrize("odd", [{"runtime": None}, {"runtime": {"asked": None}}, {"models": None}])
def test_empty_parts_of_a_manifest_are_no_crash(run: RunFolder, odd: dict[str, object]) -> None:
    manifest = Manifest.model_validate(run.read_json("manifest.json") | odd)
    assert merge_manifests(manifest, manifest).dtype == manifest.dtype
    run.write_json("manifest.json", manifest.as_json())
    assert "<html" in render_report(run)


@pytest.mark.parametrize("odd", [[], {"a": 1}, 7])
def test_a_study_hash_that_is_none_is_named(run: RunFolder, odd: object) -> None:
    run.write_json("manifest.json", run.read_json("manifest.json") | {"study_hash": odd})
    with pytest.raises(StoreError, match="hash of the study"):
        run.read_manifest()


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_trial_whose_number_is_none_counts_as_damaged(sound: RunFolder, number: str) -> None:
    trial_id = sound.trial_ids()[0]
    raw = json.loads((sound.trial_folder(trial_id) / "record.json").read_bytes())
    raw["trial"]["guidance_scale"] = number
    with pytest.raises(StoreError, match="its record is damaged"):
        decode_record(json.dumps(raw).encode())


def test_json_may_be_nested_fifty_deep_beside_whatever_else() -> None:
    deepest = "[" * 50 + "]" * 50
    assert parse_json(deepest.encode()) == json.loads(deepest)
    beside = "[" * 49 + "[],[]" + "]" * 49
    assert parse_json(beside.encode()) == json.loads(beside)
