"""Protects runs of the first version of this program: they are read, tabled and continued.

`tests/data/run-of-version-1` is a part of its demo run as it was written then: 6 of 198 pictures.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench import analysis
from workbench.controls import MapKey
from workbench.images import sha256_image
from workbench.report.content import _warnings
from workbench.report.usable import usable
from workbench.store import RunFolder, StoreError
from workbench.store.schema import decode_record, encode_record
from workbench.sweep import run_study

KEPT = Path(__file__).parents[1] / "data" / "run-of-version-1"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    shutil.copytree(KEPT, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


def _pictures(run: RunFolder) -> dict[str, bytes]:
    return {name: run.sample_path(name).read_bytes() for name in run.trial_ids()}


def test_every_file_of_an_old_run_is_read(run: RunFolder) -> None:
    scan = run.scan(hashes=True)
    assert len(scan.records) == 6 and scan.damaged == {}
    manifest = run.read_manifest()
    assert manifest is not None and manifest.as_json() == run.read_json("manifest.json")
    sources = run.read_sources()
    assert manifest.sources == {label: source.sha256 for label, source in sources.items()}
    assert run.study().hash == manifest.study_hash
    for trial_id, record in scan.records.items():
        assert record.file_bytes is None and record.made_by["start"] == manifest.start_id
        assert sha256_image(run.read_sample(trial_id)) == record.sample_sha256
        data = run.record_path(trial_id).read_bytes()
        assert decode_record(encode_record(record)) == decode_record(data) == record
        for facts in record.cells.values():
            if facts["control"] == "canny":  # the maps of the other control were left out
                source = sources[facts["source"]].sha256
                assert run.read_map(MapKey(source, "canny", facts["control_settings"])) is not None
    planned = run.read_cells()
    assert planned is not None and planned.trials is None


def test_an_old_table_is_read_and_built_anew_as_it_was(run: RunFolder) -> None:
    """The table is that of all 198 pictures."""
    stored = run.measurements()
    assert stored["trial"].nunique() == 198
    built = run.build_table()
    mine = stored[stored["trial"].isin(run.trial_ids())].reset_index(drop=True)
    pd.testing.assert_frame_equal(built, mine)
    run.remove_table()
    pd.testing.assert_frame_equal(run.measurements(), built)
    assert run.status().sentence == "" and run.status().planned is None


def test_an_old_run_is_analysed_by_its_own_metric(run: RunFolder) -> None:
    """It knows no edges that are paired one to one, and its report says what to do about that."""
    frame = usable(run.measurements())
    assert "canny_f1_matched" not in set(frame["metric"])
    assert analysis.primary_metrics(frame)["canny"] == "canny_f1"
    points = analysis.tradeoff(frame)
    assert points.loc[points["control"] == "canny", "control_adherence"].notna().any()
    assert any(finding.metric == "canny_f1" for finding in analysis.findings(frame))
    (said,) = _warnings(frame, {}, Counter())
    assert said.startswith("Canny edges: adherence is that of canny_f1, for this run was measured")
    new = frame[frame["metric"] == "canny_f1"].assign(metric="canny_f1_matched")
    half, whole = (pd.concat([frame, part], ignore_index=True) for part in (new[::2], new))
    assert analysis.primary_metrics(half)["canny"] == "canny_f1"
    assert analysis.primary_metrics(whole)["canny"] == "canny_f1_matched"
    assert _warnings(whole, {}, Counter()) == ()


@pytest.mark.slow
@pytest.mark.models
def test_an_old_run_is_continued_with_its_pictures(run: RunFolder) -> None:
    study = run.study()
    part = study.model_copy(
        update={
            "sources": study.sources[:2],
            "controls": study.controls[1:],
            "lengths": (7,),
            "scales": (0.0, 0.8),
        }
    )
    before, pictures = run.build_table(), _pictures(run)
    again = run_study(part, run.path)
    assert _pictures(again) == pictures  # nothing was made anew
    after = again.measurements()
    assert after["trial"].nunique() == 6 == again.status().planned
    keys = ["cell", "metric"]
    both = before.merge(after, on=keys, suffixes=("_old", "_new"))
    assert len(both) > 100
    tags = both["metric"].str.startswith("tag")  # other questions are asked about them now
    scores = both["metric"].str.startswith("clip")  # read anew, as they are no longer cut off at 0
    structure = both["metric"] == "diversity_structure"  # edges are paired one to one now
    same = ~tags & ~scores & ~structure
    np.testing.assert_array_equal(both["value_old"][same], both["value_new"][same])
    np.testing.assert_allclose(both["value_old"][scores], both["value_new"][scores], atol=1e-4)
    for anew in (tags, structure):
        assert (both["value_old"][anew] != both["value_new"][anew]).any()
    manifest = again.read_manifest()
    assert set(analysis.primary_metrics(after).values()) == {"canny_f1_matched"}
    assert after.loc[after["metric"] == "canny_f1_matched", "value"].notna().all()
    assert manifest is not None and manifest.earlier is not None
    assert manifest.earlier[-1].study_hash == study.hash


def test_an_old_run_refuses_what_its_pictures_cannot_be_compared_with(run: RunFolder) -> None:
    manifest = run.read_manifest()
    assert manifest is not None
    for change, said in (
        ({"dtype": "float16"}, "made in float32, not in float16: use another folder"),
        ({"safety_checker": True}, "made with the safety checker off, not on"),
        ({"weight_hashes": dict.fromkeys(manifest.weight_hashes or {}, "0")}, "other weights"),
    ):
        with pytest.raises(StoreError, match=said):
            run.write_manifest(manifest.model_copy(update=change))
    assert run.read_manifest() == manifest
