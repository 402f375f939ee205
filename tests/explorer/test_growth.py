"""Protects a run that is watched while it grows: what came is shown as a new look would show it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from written_run import SIDE, write_run

import workbench as wb
from workbench.explorer import View, ViewChoice, grow, unmade
from workbench.store import RunFolder
from workbench.study.plan import make_plan

TAGS = ("a girl", "long hair", "blond hair", "black eyes", "black coat", "winter", "snow")
BLACK = "it came out black"
CHOICE = ViewChoice(at_once=False)


@pytest.fixture(scope="module")
def whole(demo_frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run; two of its pictures failed."""
    frame = demo_frame[(demo_frame["length"] > 0) & (demo_frame["seed"] == 1)]
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return write_run(folder, frame, TAGS, failed=dict.fromkeys((2, 30), BLACK))


def half_of(whole: RunFolder, folder: Path, *, kept: int) -> RunFolder:
    """The same run when it had only so many pictures, one of them failed."""
    shutil.copytree(whole.path, folder)
    half = RunFolder.open(folder)
    half.table_path.unlink()
    failed = [record.trial.id for record in whole.records() if record.failed][:kept]
    for trial in [t for t in half.trial_ids() if t not in failed[:1]][kept:]:
        shutil.rmtree(half.trial_folder(trial))
    return half


def cells_of(view: View) -> dict[str, Any]:
    """Cell -> all that is shown of it, in names in place of numbers."""
    data, pictures, found = view.shown.data, view.catalogue.pictures, {}
    words = data["tags"]["names"]
    for i, cell in enumerate(view.shown.cells):
        numbers = [data["cells"][kind][i] for kind in ("sample", "read")]
        read = {}
        for name, metric in data["metrics"].items():
            if metric["at"][i] >= 0:
                ends = metric["references"][metric["at"][i]]
                read[name] = (metric["values"][i], ends, metric["reasons"].get(str(i), ""))
        found[cell] = {
            "pictures": [pictures[n] if n >= 0 else None for n in numbers],
            "failed": data["cells"]["failed"][i] if data["cells"]["failed"] else "",
            "read": read,
            "tags": {words[row[0]]: row[1:] for row in data["tags"]["cells"][i]},
        }
    return found


def test_what_grew_is_what_a_new_look_shows(whole: RunFolder, tmp_path: Path) -> None:
    cells = make_plan(wb.open_run(whole.path).study, resolution=SIDE).cells
    half = half_of(whole, tmp_path / "half", kept=10)
    view = wb.open_run(half.path).view(CHOICE, planned=cells)
    places = unmade(view)
    assert set(places) == set(whole.trial_ids()) - set(half.trial_ids()) and len(places) > 20
    before = cells_of(view)
    for start in range(0, len(places), 7):
        some = sorted(places)[start : start + 7]
        put = grow(view, map(whole.read_record, some), places, view.pictures.readable())
        assert put is not None
        assert sorted(one["cell"] for one in put) == sorted(c for t in some for c in places[t])
    assert unmade(view) == {}
    after, anew = cells_of(view), cells_of(wb.open_run(whole.path).view(CHOICE))
    assert before != after == anew
    black = [sum(one["failed"] == BLACK for one in found.values()) for found in (before, after)]
    assert 0 < black[0] < black[1]


def test_a_new_metric_or_word_asks_for_a_new_look(whole: RunFolder, tmp_path: Path) -> None:
    cells = make_plan(wb.open_run(whole.path).study, resolution=SIDE).cells
    none = half_of(whole, tmp_path / "none", kept=0)
    view = wb.open_run(none.path).view(CHOICE, planned=cells)
    places, before = unmade(view), cells_of(view)
    assert grow(view, [whole.read_record(whole.trial_ids()[0])], places, ()) is None
    assert cells_of(view) == before
